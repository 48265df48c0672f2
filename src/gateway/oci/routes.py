"""`/v2/`: the OCI Distribution API.

Repository names have slashes in them, so one route takes every path and `_PLACES` reads it from its
end. What is no path of the specification is not found.
"""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from fastapi import APIRouter, Request, Response

from gateway.json_response import JSONResponse
from gateway.oci import blobs, listings, manifests, uploads
from gateway.oci.access import with_bearer
from gateway.oci.errors import COMMON_HEADERS
from gateway.routes.context import caller_of
from stockade.core.actions import Action
from stockade.core.errors import StockadeError

Handler = Callable[[Request, str, str], Awaitable[Response]]
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_ESCAPE = re.compile(rb"%(?!3[aA])")

router = APIRouter(tags=["oci"], include_in_schema=False)


@dataclass(frozen=True, slots=True)
class _Place:
    path: re.Pattern[str]
    handlers: dict[str, Handler]


async def _ping(request: Request, _name: str, _tail: str) -> Response:
    await caller_of(with_bearer(request), Action.READ)
    return JSONResponse({})


def _place(path: str, **handlers: Handler) -> _Place:
    return _Place(re.compile(path, re.DOTALL), handlers)


_PLACES = (
    _place("()()", GET=_ping, HEAD=_ping),
    _place("()(_catalog)", GET=listings.get_catalog),
    _place("(.+)/blobs/uploads(/?)", POST=uploads.post_upload),
    _place(
        "(.+)/blobs/uploads/([^/]+)",
        GET=uploads.get_upload,
        PATCH=uploads.patch_upload,
        PUT=uploads.put_upload,
        DELETE=uploads.delete_upload,
    ),
    _place("(.+)/blobs/([^/]+)", GET=blobs.get_blob, HEAD=blobs.get_blob, DELETE=blobs.delete_blob),
    _place(
        "(.+)/manifests/([^/]+)",
        GET=manifests.get_manifest,
        HEAD=manifests.get_manifest,
        PUT=manifests.put_manifest,
        DELETE=manifests.delete_manifest,
    ),
    _place("(.+)/tags/(list)", GET=listings.get_tags),
    _place("(.+)/referrers/([^/]+)", GET=listings.get_referrers),
)


async def serve(request: Request) -> Response:
    """Answers one request of an OCI client."""
    handler, name, tail = _find(request)
    answer = await handler(request, name, tail)
    for header, value in COMMON_HEADERS.items():
        answer.headers.setdefault(header, value)
    return answer


def _find(request: Request) -> tuple[Handler, str, str]:
    missing = StockadeError("request.not_found", "There is nothing at this path.")
    if _ESCAPE.search(request.scope.get("raw_path", b"")):
        raise missing  # no name has a character that would need it
    path = request.scope["path"].removeprefix("/v2").removeprefix("/")
    for place in _PLACES:
        found = place.path.fullmatch(path)
        if found is None:
            continue
        if request.method not in place.handlers:
            raise StockadeError(
                "request.method_not_allowed", "This path does not take this method."
            )
        return place.handlers[request.method], found[1], found[2]
    raise missing


for _path in ("/v2", "/v2/{path:path}"):
    router.add_route(_path, serve, methods=list(METHODS), include_in_schema=False)
