"""Logs: one JSON line per event on stderr, ours and the libraries' alike.

Credentials that some text holds after all are hidden (`stockade.core.redaction`).

An event has a static name and fields. What a library formats itself (`logging`) becomes an event
named after its logger, its text in `message`. Private fields are dropped here, whoever logged them.
A line says what its task works on (`stockade.core.log_context`). Everything but printable ASCII is
escaped and long values are cut, so that no text of a caller or guest forges or splits a line.
"""

import itertools
import logging
import sys
from collections.abc import Mapping, MutableMapping
from types import TracebackType
from typing import Any

import structlog
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import EventDict, Processor, WrappedLogger

from stockade.core.log_context import current_work
from stockade.core.redaction import redact

_PRIVATE = (
    "input",
    "output",
    "secret",
    "authorization",
    "body",
    "password",
    "token",
    "api_key",
    "cookie",
)
_OUR_OWN = ("gateway", "registry", "sandbox_worker", "stockade")
_MOST_CHARACTERS = 4096
"""Of one value. Whatever collects the lines may split those that are much longer."""
_MOST_ITEMS = 64
_FRAMES = 16
_DELETE = {0x7F: "\\u007f"}
"""JSON lets it stand for itself."""


def configure_logging(process: str, level: str) -> None:
    """Sends everything from `level` up to stderr; call once at the start of a process.

    Start uvicorn with `log_config=None`, or it puts its own handlers beside this one.

    Args:
        process: Which process this is, such as `gateway`; a field of every line.
        level: `debug`, `info`, `warning` or `error`.
    """
    number = logging.getLevelNamesMapping()[level.upper()]
    shared = _shared(process)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_formatter(shared))
    root = logging.getLogger()
    root.handlers = [handler]
    # What libraries say for their own debugging holds queries with their values.
    root.setLevel(max(number, logging.INFO))
    for name in _OUR_OWN:
        logging.getLogger(name).setLevel(number)
    logging.captureWarnings(capture=True)
    sys.excepthook = _tell_uncaught
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        library = logging.getLogger(name)
        library.handlers, library.propagate = [], True


def drop_private(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Drops every field, at any depth, whose name tells that it holds a tenant's data or a secret.

    The size of an input is no secret: a number under a name that ends in `_bytes` stays.
    """
    return _public(event)


def _tell_uncaught(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """The end of the process is a line too: a plain traceback may hold any text."""
    structlog.get_logger().critical("process_failed", exc_info=(kind, error, trace))


def _shared(process: str) -> list[Processor]:
    def add_process(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event["process"] = process
        return event

    return [
        structlog.contextvars.merge_contextvars,
        _add_work,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        add_process,
    ]


def _formatter(shared: list[Processor]) -> structlog.stdlib.ProcessorFormatter:
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*shared, _name_after_logger],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.ExceptionRenderer(
                ExceptionDictTransformer(show_locals=False, max_frames=_FRAMES)
            ),
            drop_private,
            structlog.processors.JSONRenderer(),
            _escape_delete,
        ],
    )


def _add_work(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    for name, value in current_work().fields.items():
        event.setdefault(name, value)
    return event


def _escape_delete(_logger: WrappedLogger, _method: str, line: EventDict) -> str:
    return str(line).translate(_DELETE)


def _name_after_logger(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    event["message"] = event["event"]
    event["event"] = event["_record"].name
    return event


def _public(fields: Mapping[str, Any]) -> MutableMapping[str, Any]:
    return {name: _shown(value) for name, value in fields.items() if not _is_private(name, value)}


def _shown(value: object) -> object:
    if isinstance(value, Mapping):
        return _public(value)
    if isinstance(value, list | tuple):
        return [_shown(item) for item in itertools.islice(value, _MOST_ITEMS)]
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value)} bytes>"
    return _cut(redact(value)) if isinstance(value, str) else value


def _cut(text: str) -> str:
    more = len(text) - _MOST_CHARACTERS
    return text if more <= 0 else f"{text[:_MOST_CHARACTERS]}… {more} characters more"


def _is_private(name: object, value: object) -> bool:
    folded = str(name).lower().replace("-", "_")
    if folded.endswith("_bytes") and isinstance(value, int):
        return False
    return any(word in folded for word in _PRIVATE)
