"""The process environment: the one file of the command line that reads it."""

import os
import sys

_COMMAND_LINE_ONLY = ("STOCKADE_API_KEY", "STOCKADE_URL")


def api_key_from_environment() -> str | None:
    """The API key in `STOCKADE_API_KEY`, if any."""
    return os.environ.get("STOCKADE_API_KEY", "").strip() or None  # noqa: TID251 - see above


def environment_for_child(settings: dict[str, str]) -> dict[str, str]:
    """This process's environment for a child: without the user's API key, with these settings.

    The module search path comes along, so that a child of a checkout finds the same code.
    """
    inherited = {
        name: value
        for name, value in os.environ.items()  # noqa: TID251 - see above
        if name not in _COMMAND_LINE_ONLY
    }
    search_path = os.pathsep.join(entry for entry in sys.path if entry)
    return inherited | {"PYTHONPATH": search_path} | settings
