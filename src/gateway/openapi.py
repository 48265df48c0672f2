"""What the OpenAPI document says beyond the routes' own words: bodies, headers, refusals, keys."""

from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from gateway.problems import STATUS

_Schema = dict[str, Any]
_PLACE = "#/components/schemas/{name}"
_BINARY: _Schema = {"schema": {"type": "string", "format": "binary"}}
_PROBLEM: _Schema = {
    "type": "object",
    "description": "A refusal (RFC 9457). What belongs to another tenant reads as not found.",
    "required": ["type", "title", "status", "code", "detail", "retryable"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string", "enum": sorted(STATUS), "description": "Stable."},
        "detail": {"type": "string", "description": "What is wrong, and what to do."},
        "retryable": {"type": "boolean", "description": "The same request may succeed later."},
        "facts": {"type": "object", "description": "Further public facts."},
    },
}
REFUSALS: dict[int | str, _Schema] = {
    "default": {
        "description": "A refusal.",
        "content": {
            "application/problem+json": {"schema": {"$ref": _PLACE.format(name="Problem")}}
        },
    }
}
"""The answer that every call may give instead of its own."""

OUTPUT: dict[int | str, _Schema] = {
    200: {
        "description": "The output, as the guest returned it.",
        "content": {"application/octet-stream": _BINARY},
        "headers": {
            f"Stockade-{name}": {"description": text, "schema": {"type": "string"}}
            for name, text in (
                ("Invocation-Id", "The invocation."),
                ("Outcome", "`completed`."),
                ("Attempts", "How many attempts it took."),
                ("Fuel", "Fuel that the last attempt used."),
                ("Peak-Memory-Bytes", "The most memory that it held."),
                ("Wall-Ms", "How long it ran."),
                ("Queue-Ms", "How long it waited."),
            )
        },
    },
    422: {**REFUSALS["default"], "description": "The guest failed: `invocation.<outcome>`."},
}
"""The answers of calls that return an output."""

BYTES: dict[int | str, _Schema] = {
    200: {"description": "The bytes.", "content": {"application/octet-stream": _BINARY}}
}
"""The answer of calls that return bytes as they were given."""

_SIZE_WARNING: _Schema = {
    "description": "Sent with an input above 80 % of the bytes that the function takes.",
    "schema": {"type": "string"},
}
OUTPUT[200]["headers"]["Stockade-Size-Warning"] = _SIZE_WARNING
ACCEPTED: dict[int | str, _Schema] = {
    202: {
        "description": "Acknowledged and kept; `Location` names the invocation.",
        "headers": {"Stockade-Size-Warning": _SIZE_WARNING},
        "content": {
            "application/json": {
                "schema": {"type": "object", "properties": {"id": {"type": "string"}}}
            }
        },
    }
}
"""The answer of calls that do not wait, or not any longer."""

INVOCATION: dict[int | str, _Schema] = {
    200: {
        "description": "The invocation, with every attempt and why it was or was not retried.",
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "id": {"type": "string"},
                        "state": {"type": "string", "enum": ["queued", "running", "done"]},
                        "outcome": {"type": ["string", "null"]},
                        "attempts": {
                            "type": "array",
                            "items": {"$ref": _PLACE.format(name="Attempt")},
                        },
                        "usage": {"$ref": _PLACE.format(name="Usage")},
                    },
                }
            }
        },
    }
}
"""The answer of calls that tell of one invocation."""

RECORDING: dict[int | str, _Schema] = {
    200: {
        "description": "What the attempt ran from, how it ended, and what varied in it.",
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "id": {"type": "string"},
                        "attempt": {"type": "integer"},
                        "module": {"type": "string", "description": "Its digest."},
                        "deterministic": {"type": "boolean"},
                        "limits": {"type": "object", "description": "Those that it had."},
                        "engine": {"type": "string"},
                        "input_digest": {"type": "string"},
                        "ending": {"$ref": _PLACE.format(name="Ending")},
                        "recording": {
                            "anyOf": [
                                {"$ref": _PLACE.format(name="Recording")},
                                {"type": "null"},
                            ]
                        },
                    },
                }
            }
        },
    }
}
"""The answer of the call that tells what an attempt can be run again from."""

EVENTS: dict[int | str, _Schema] = {
    200: {
        "description": "Events as they come: `state`, `log`, `event`, `progress`, `dropped`, and"
        " `error` when it ends before the invocation does.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
}
"""The answer of a call that goes on."""


def json_body(shape: type[msgspec.Struct]) -> _Schema:
    """Says that a call takes this shape as JSON."""
    place = _PLACE.format(name=shape.__name__)
    return {
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": place}}},
        }
    }


def binary_body(*media_types: str, required: bool = True) -> _Schema:
    """Says that a call takes bytes."""
    content = dict.fromkeys(media_types, _BINARY)
    return {"requestBody": {"required": required, "content": content}}


def optional(where: str, names: dict[str, str]) -> list[_Schema]:
    """Optional headers or query parameters, with what each says."""
    return [
        {"name": name, "in": where, "description": text, "schema": {"type": "string"}}
        for name, text in names.items()
    ]


def describe(app: FastAPI, shapes: tuple[type, ...]) -> None:
    """Makes the application's document whole; `shapes` are what schemas refer to."""

    def document() -> _Schema:
        if app.openapi_schema is None:
            made = get_openapi(
                title=app.title, version=app.version, summary=app.description, routes=app.routes
            )
            app.openapi_schema = _completed(made, shapes)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def _completed(document: _Schema, shapes: tuple[type, ...]) -> _Schema:
    _, schemas = msgspec.json.schema_components(shapes, ref_template=_PLACE)
    document["components"] = {
        "schemas": {**schemas, "Problem": _PROBLEM},
        "securitySchemes": {
            "key": {"type": "http", "scheme": "bearer", "description": "An API key, `stk_…`."}
        },
    }
    document["security"] = [{"key": []}]
    for path, calls in document["paths"].items():
        for call in () if path.startswith("/v1/") else calls.values():
            call["security"] = []
    return document
