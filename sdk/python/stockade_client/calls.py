"""Every call as a value: what to send, how to read the answer, whether it may be sent twice.

Both clients send these; neither knows a path or a header.
"""

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Literal, TypeVar
from urllib.parse import quote

import httpx

from stockade_client import readers
from stockade_client.errors import InvocationPending, StockadeApiError
from stockade_client.types import (
    Invocation,
    InvokeResult,
    Logs,
    Module,
    Secret,
)

_Answer = TypeVar("_Answer")
AskedLimits = Mapping[str, int | Literal["auto"]] | Literal["auto"]
"""Limits by name; `"auto"` follows what runs needed, for one limit or for all that can."""
_WASM = {"Content-Type": "application/wasm"}
_BYTES = {"Content-Type": "application/octet-stream"}
_NDJSON = {"Content-Type": "application/x-ndjson"}


@dataclass(frozen=True, slots=True)
class Call(Generic[_Answer]):
    """One call.

    `repeatable`: sending it twice does no more than sending it once. `invocation`: whose end it
    asks for, if any.
    """

    method: str
    path: str
    read: Callable[[httpx.Response], _Answer]
    repeatable: bool = True
    params: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    json: object = None
    content: bytes | None = None
    wait_seconds: float = 0.0
    invocation: str = ""

    def answer(self, response: httpx.Response) -> _Answer:
        """The answer, or the right error."""
        try:
            return readers.read(response, self.read)
        except StockadeApiError as error:
            if self.invocation and error.code == "invocation.not_done":
                raise InvocationPending(self.invocation) from error
            raise


def upload_module(wasm: bytes, detached_signature: bytes | None) -> Call[Module]:
    """POST /v1/modules."""
    headers = dict(_WASM)
    if detached_signature is not None:
        headers["Stockade-Signature"] = base64.b64encode(detached_signature).decode()
    return Call("POST", "/v1/modules", readers.module, headers=headers, content=wasm)


def module_from_oci(reference: str) -> Call[Module]:
    """POST /v1/modules:from-oci."""
    return Call("POST", "/v1/modules:from-oci", readers.module, json={"reference": reference})


def module_to_oci(digest: str, reference: str) -> Call[str]:
    """POST /v1/modules:to-oci."""
    asked = {"module": digest, "reference": reference}
    return Call("POST", "/v1/modules:to-oci", readers.manifest, json=asked)


def invoke(
    name: str,
    content: bytes,
    alias: str | None,
    version: int | None,
    options: Mapping[str, str | float | None],
) -> Call[InvokeResult]:
    """POST /v1/functions/{name}/invoke; options are headers by name."""
    wait_seconds = options.get("Stockade-Wait-Seconds") or 0.0
    return Call(
        "POST",
        f"/v1/functions/{path_part(name)}/invoke",
        readers.invoke_result,
        repeatable=options.get("Idempotency-Key") is not None,
        params=_target(alias, version),
        headers=_BYTES | _headers(options),
        content=content,
        wait_seconds=float(wait_seconds),
    )


def submit(
    name: str,
    content: bytes,
    alias: str | None,
    version: int | None,
    options: Mapping[str, str | float | None],
) -> Call[str]:
    """POST /v1/functions/{name}/invocations; options are headers by name."""
    return Call(
        "POST",
        f"/v1/functions/{path_part(name)}/invocations",
        readers.invocation_id,
        repeatable=options.get("Idempotency-Key") is not None,
        params=_target(alias, version),
        headers=_BYTES | _headers(options),
        content=content,
    )


def submit_batch(
    name: str,
    lines: Sequence[bytes],
    alias: str | None,
    version: int | None,
    options: Mapping[str, str | float | None],
) -> Call[tuple[str | StockadeApiError, ...]]:
    """POST /v1/functions/{name}/invocations:batch; options are headers by name.

    Raises:
        ValueError: When an input is more than one line, which would shift all answers behind it.
    """
    if any(b"\n" in line or not line.strip() for line in lines):
        raise ValueError("each input of a batch is one JSON value on one line")
    return Call(
        "POST",
        f"/v1/functions/{path_part(name)}/invocations:batch",
        readers.batch_answers,
        repeatable=options.get("Idempotency-Key") is not None,
        params=_target(alias, version),
        headers=_NDJSON | _headers(options),
        content=b"\n".join(lines),
    )


def get(invocation_id: str) -> Call[Invocation]:
    """GET /v1/invocations/{id}."""
    return Call("GET", f"/v1/invocations/{path_part(invocation_id)}", readers.invocation)


def result(invocation_id: str) -> Call[bytes]:
    """GET /v1/invocations/{id}/result."""
    path = f"/v1/invocations/{path_part(invocation_id)}/result"
    return Call("GET", path, readers.body, invocation=invocation_id)


def logs(invocation_id: str) -> Call[Logs]:
    """GET /v1/invocations/{id}/logs."""
    return Call("GET", f"/v1/invocations/{path_part(invocation_id)}/logs", readers.logs)


def cancel(invocation_id: str) -> Call[None]:
    """POST /v1/invocations/{id}/cancel."""
    return Call("POST", f"/v1/invocations/{path_part(invocation_id)}/cancel", readers.nothing)


def put_secret(name: str, value: bytes) -> Call[None]:
    """PUT /v1/secrets/{name}."""
    path = f"/v1/secrets/{path_part(name)}"
    return Call("PUT", path, readers.nothing, headers=_BYTES, content=value)


def secrets() -> Call[tuple[Secret, ...]]:
    """GET /v1/secrets."""
    return Call("GET", "/v1/secrets", readers.secrets)


def delete_secret(name: str) -> Call[None]:
    """DELETE /v1/secrets/{name}."""
    return Call("DELETE", f"/v1/secrets/{path_part(name)}", readers.nothing)


def dead_letters(limit: int | None, after: str | None) -> Call[tuple[Invocation, ...]]:
    """GET /v1/dead-letters."""
    given = {"limit": None if limit is None else str(limit), "after": after}
    params = {name: value for name, value in given.items() if value is not None}
    return Call("GET", "/v1/dead-letters", readers.dead_letters, params=params)


def redrive(invocation_id: str) -> Call[None]:
    """POST /v1/invocations/{id}/redrive."""
    path = f"/v1/invocations/{path_part(invocation_id)}/redrive"
    return Call("POST", path, readers.nothing, repeatable=False)


def redrive_all() -> Call[tuple[str, ...]]:
    """POST /v1/dead-letters/redrive for all of them."""
    path = "/v1/dead-letters/redrive"
    return Call("POST", path, readers.redriven, repeatable=False, json={"all": True})


def probe(path: str) -> Call[None]:
    """GET /healthz or /readyz."""
    return Call("GET", path, readers.nothing)


def function_content(
    module_digest: str,
    limits: AskedLimits | None,
    grants: Sequence[str] | None,
    env: Mapping[str, str] | None,
    retry: Mapping[str, object] | None,
    concurrency: int | None,
    record: bool | None = None,  # noqa: FBT001 - as it stands in the body
) -> dict[str, object]:
    """The body of a deploy."""
    return {
        "module": module_digest,
        "limits": limits,
        "grants": None if grants is None else list(grants),
        "env": env,
        "retry": retry,
        "concurrency": concurrency,
        "record": record,
    }


def path_part(text: str) -> str:
    """One path segment, whatever it holds; `.` and `..` are no names and must not walk."""
    if text in {"", ".", ".."}:
        raise ValueError(f"{text!r} names nothing")
    return quote(text, safe=":")


def _target(alias: str | None, version: int | None) -> dict[str, str]:
    if alias is not None and version is not None:
        raise ValueError("give an alias or a version, not both")
    given = {"alias": alias, "version": None if version is None else str(version)}
    return {name: value for name, value in given.items() if value is not None}


def _headers(values: Mapping[str, str | float | None]) -> dict[str, str]:
    given = {name: str(value) for name, value in values.items() if value is not None}
    for name, value in given.items():
        if not (value.isascii() and value.isprintable()):
            raise ValueError(f"{name} takes printable ASCII only")
    return given
