"""Errors in words: message, code and a hint instead of a traceback; the exit code says whose fault.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | the platform failed, or could not be reached |
| 2 | refused: the request, or the command itself, is wrong |
| 3 | the invocation ended without an output, mostly because the guest failed |
| 4 | still running |
| 5 | the audit log is not as it was written |
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import NoReturn, ParamSpec

from stockade.cli.words import EXIT_GUEST, EXIT_PENDING, EXIT_PLATFORM, EXIT_REFUSED, fail, say
from stockade.core.errors import StockadeError

P = ParamSpec("P")
_FIRST_SERVER_ERROR = 500
_HINTS = {
    "auth.denied": "What policies say to whom: stockade policy simulate --help",
    "auth.": "Give the key with --api-key-file or STOCKADE_API_KEY.",
    "module.signer_unknown": "Trust the key: stockade signers add NAME PUBKEY_FILE",
    "module.signers_missing": "See what it asks for: stockade functions trust NAME",
    "module.not_found": "Upload it first: stockade modules push FILE",
    "alias.changed": "Look again: stockade functions aliases NAME",
    "function.deleted": "Take that back: stockade functions restore NAME",
    "function.not_found": "See what there is: stockade functions list",
    "invocation.not_found": "Records are kept for some days; check the id and the tenant's key.",
    "schedule.not_found": "See what there is: stockade schedules list",
    "client.unexpected_answer": "Check --url: something else may be listening there.",
}
_UNREACHABLE = "Is it running? Start one with 'stockade dev', or name another with --url."


def reported(command: Callable[P, None]) -> Callable[P, None]:
    """Makes a command tell its errors in words."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        with errors_in_words():
            command(*args, **kwargs)

    return run


@contextmanager
def errors_in_words() -> Iterator[None]:
    """Ends the command with a message for what it may meet outside of a gateway."""
    try:
        yield
    except StockadeError as error:
        status = EXIT_PLATFORM if error.retryable else EXIT_REFUSED
        fail(error.message, error.code, hint_for(error.code), status=status)
    except BrokenPipeError:
        raise
    except ExceptionGroup as group:
        # What ends a process within its tasks comes out bundled.
        cause = _only_one_of(group)
        if isinstance(cause, ExceptionGroup):
            raise
        with errors_in_words():
            raise cause from None
    except OSError as error:
        name = f" ({error.filename})" if error.filename else ""
        fail(f"{error.strerror or error}{name}", "cli.file", status=EXIT_REFUSED)


def _only_one_of(group: Exception) -> Exception:
    while isinstance(group, ExceptionGroup) and len(group.exceptions) == 1:
        group = group.exceptions[0]
    return group


@contextmanager
def client_errors_in_words(url: str) -> Iterator[None]:
    """Ends the command with a message for what a gateway may answer."""
    from stockade_client import errors  # noqa: PLC0415 - httpx takes longer than --help should

    try:
        yield
    except errors.StockadeApiError as error:
        _refused(error.message, error.code, error.status, error.retry_after_seconds)
    except errors.GuestFailed as error:
        limit = f" limit={error.limit}" if error.limit else ""
        say(f"{error.outcome}{limit} attempts={error.attempts} id={error.invocation_id}")
        reason = error.detail or "There is no output."
        fail(reason, f"invocation.{error.outcome}", status=EXIT_GUEST)
    except errors.InvocationPending as error:
        hint = f"Look again: stockade runs show {error.invocation_id}"
        fail("It is still running.", "invocation.pending", hint, status=EXIT_PENDING)
    except errors.ConnectionFailed as error:
        message = f"No gateway answers at {url} ({error})."
        fail(message, "client.unreachable", _UNREACHABLE, status=EXIT_PLATFORM)
    except ValueError as error:
        fail(f"{error}.", "cli.usage", status=EXIT_REFUSED)


def hint_for(code: str) -> str | None:
    """What to do about an error of this code, where there is more to say than the message does."""
    return next((hint for start, hint in _HINTS.items() if code.startswith(start)), None)


def retry_hint(retry_after_seconds: float | None) -> str | None:
    """When to try again, if that was said."""
    if retry_after_seconds is None:
        return None
    return f"Try again in {math.ceil(retry_after_seconds * 10) / 10:g} seconds."


def _refused(message: str, code: str, status: int, retry_after_seconds: float | None) -> NoReturn:
    platform = status >= _FIRST_SERVER_ERROR or code.startswith("client.")
    hint = hint_for(code) or retry_hint(retry_after_seconds)
    fail(message, code, hint, status=EXIT_PLATFORM if platform else EXIT_REFUSED)
