"""JSON in ASCII: what guests and callers name things cannot reverse or move what a reader sees."""

import json

from starlette.responses import Response


class JSONResponse(Response):
    """An answer in JSON; characters beyond ASCII, and controls, are escaped."""

    media_type = "application/json"

    def render(self, content: object) -> bytes:
        """The body's bytes."""
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")
