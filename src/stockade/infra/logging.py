"""Logs: one JSON line per event on stderr, ours and the libraries' alike.

Credentials that some text holds after all are hidden (`stockade.core.redaction`).

An event has a static name and fields. What a library formats itself (`logging`) becomes an event
named after its logger, its text in `message`. Private fields are dropped here, whoever logged them.
"""

import logging
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any

import structlog
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import EventDict, Processor, WrappedLogger

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
    root.setLevel(number)
    logging.captureWarnings(capture=True)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        library = logging.getLogger(name)
        library.handlers, library.propagate = [], True


def drop_private(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Drops every field, at any depth, whose name tells that it holds a tenant's data or a secret.

    The size of an input is no secret: a number under a name that ends in `_bytes` stays.
    """
    return _public(event)


def _shared(process: str) -> list[Processor]:
    def add_process(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event["process"] = process
        return event

    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        add_process,
    ]


def _formatter(shared: list[Processor]) -> structlog.stdlib.ProcessorFormatter:
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*shared, _name_after_logger],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False)),
            drop_private,
            structlog.processors.JSONRenderer(),
        ],
    )


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
        return [_shown(item) for item in value]
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value)} bytes>"
    return redact(value) if isinstance(value, str) else value


def _is_private(name: object, value: object) -> bool:
    folded = str(name).lower().replace("-", "_")
    if folded.endswith("_bytes") and isinstance(value, int):
        return False
    return any(word in folded for word in _PRIVATE)
