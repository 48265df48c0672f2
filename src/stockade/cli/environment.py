"""The process environment: the one file of the command line that reads it."""

import os
import sys

_COMMAND_LINE_ONLY = ("STOCKADE_API_KEY", "STOCKADE_API_KEY_FILE", "STOCKADE_URL")


def api_key_from_environment() -> str | None:
    """The API key in `STOCKADE_API_KEY`, if any."""
    return os.environ.get("STOCKADE_API_KEY", "").strip() or None  # noqa: TID251 - see above


def variable(name: str) -> str | None:
    """A variable that belongs to others, such as a CI service."""
    return os.environ.get(name)  # noqa: TID251 - see above


def environment_for_child(settings: dict[str, str]) -> dict[str, str]:
    """This process's environment for a child: without the user's API key, with these settings."""
    inherited = {
        name: value
        for name, value in os.environ.items()  # noqa: TID251 - see above
        if name not in _COMMAND_LINE_ONLY
    }
    return inherited | settings


def own_program(*words: str) -> tuple[str, ...]:
    """The command line that starts this very `stockade` with these words.

    `-P`: a folder named like one of our packages in the current directory is not imported.
    """
    return (sys.executable, "-P", "-m", "stockade.cli.main", *words)
