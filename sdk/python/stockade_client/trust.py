"""Whose signatures count: signers, and how many of them a function's module needs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import httpx

from stockade_client import readers
from stockade_client.calls import Call, path_part
from stockade_client.fields import Fields


@dataclass(frozen=True, slots=True)
class Signer:
    """A key that the tenant trusts. Times are Unix milliseconds; `None` leaves that end open.

    `replaces` names the signer whose place it took: the two count as one.
    """

    name: str
    public_key: str
    not_before_ms: int | None = None
    not_after_ms: int | None = None
    revoked_ms: int | None = None
    revoked_reason: str | None = None
    replaces: str | None = None


@dataclass(frozen=True, slots=True)
class FunctionTrust:
    """How many signers a function's module needs; no names means any of the tenant's."""

    function: str
    threshold: int
    signers: tuple[str, ...] = ()


def add_signer(
    name: str, public_key: str, not_before: str | None, not_after: str | None
) -> Call[Signer]:
    """POST /v1/signers."""
    validity = {"not_before": not_before, "not_after": not_after}
    content = {"name": name, "public_key": public_key, **_given(validity)}
    return Call("POST", "/v1/signers", _read_signer, json=content)


def signers() -> Call[tuple[Signer, ...]]:
    """GET /v1/signers."""
    return Call("GET", "/v1/signers", _read_signers)


def signer(name: str) -> Call[Signer]:
    """GET /v1/signers/{name}."""
    return Call("GET", _path(name), _read_signer)


def rotate_signer(
    name: str,
    public_key: str,
    new_name: str | None,
    overlap_seconds: int | None,
    not_after: str | None,
) -> Call[Signer]:
    """POST /v1/signers/{name}/rotate; the same key again makes no other successor."""
    options = {"name": new_name, "overlap_seconds": overlap_seconds, "not_after": not_after}
    content = {"public_key": public_key, **_given(options)}
    return Call("POST", f"{_path(name)}/rotate", _read_signer, json=content)


def revoke_signer(name: str, reason: str | None) -> Call[None]:
    """POST /v1/signers/{name}/revoke."""
    content = _given({"reason": reason})
    return Call("POST", f"{_path(name)}/revoke", readers.nothing, json=content)


def put_function_trust(function: str, threshold: int, names: Sequence[str]) -> Call[FunctionTrust]:
    """PUT /v1/functions/{name}/trust."""
    content = {"threshold": threshold, "signers": list(names)}
    return Call("PUT", _trust_path(function), _read_trust, json=content)


def function_trust(function: str) -> Call[FunctionTrust]:
    """GET /v1/functions/{name}/trust."""
    return Call("GET", _trust_path(function), _read_trust)


def _path(name: str) -> str:
    return f"/v1/signers/{path_part(name)}"


def _trust_path(function: str) -> str:
    return f"/v1/functions/{path_part(function)}/trust"


def _given(options: Mapping[str, str | int | None]) -> dict[str, str | int]:
    return {key: value for key, value in options.items() if value is not None}


def _read_signer(response: httpx.Response) -> Signer:
    return _signer(Fields(response.json()))


def _read_signers(response: httpx.Response) -> tuple[Signer, ...]:
    return tuple(map(_signer, Fields(response.json()).objects("signers")))


def _read_trust(response: httpx.Response) -> FunctionTrust:
    fields = Fields(response.json())
    return FunctionTrust(
        fields.text("function"), fields.count("threshold"), fields.texts("signers")
    )


def _signer(fields: Fields) -> Signer:
    return Signer(
        name=fields.text("name"),
        public_key=fields.text("public_key"),
        not_before_ms=fields.maybe_count("not_before_ms"),
        not_after_ms=fields.maybe_count("not_after_ms"),
        revoked_ms=fields.maybe_count("revoked_ms"),
        revoked_reason=fields.maybe_text("revoked_reason"),
        replaces=fields.maybe_text("replaces"),
    )
