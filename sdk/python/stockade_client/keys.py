"""API keys: what they look like, every call about them, and how its answer is read."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import httpx

from stockade_client import readers
from stockade_client.calls import Call, path_part
from stockade_client.fields import Fields


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key without its secret. Times are Unix milliseconds.

    `kind` is `key`, or `workload` for one that a CI job got; then `subject` says which job.
    """

    id: str
    name: str
    role: str
    scopes: tuple[str, ...]
    created_ms: int
    expires_ms: int | None = None
    revoked_ms: int | None = None
    last_used_ms: int | None = None
    kind: str = "key"
    subject: str | None = None


@dataclass(frozen=True, slots=True)
class NewApiKey:
    """A key that was just made: `key` is its text, which the gateway tells this once."""

    facts: ApiKey
    key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class WorkloadKey:
    """The short-lived key of a CI job, and the operator's rule that gave it."""

    id: str
    tenant: str
    role: str
    scopes: tuple[str, ...]
    subject: str
    rule: str
    expires_ms: int
    key: str = field(repr=False)


def api_keys() -> Call[tuple[ApiKey, ...]]:
    """GET /v1/keys."""
    return Call("GET", "/v1/keys", _read_all)


def create_api_key(
    name: str, role: str | None, scopes: Sequence[str] | None, expires_in_seconds: int | None
) -> Call[NewApiKey]:
    """POST /v1/keys; what is None takes the default."""
    asked = {
        "name": name,
        "role": role,
        "scopes": None if scopes is None else list(scopes),
        "expires_in_seconds": expires_in_seconds,
    }
    given = {part: value for part, value in asked.items() if value is not None}
    return Call("POST", "/v1/keys", _read_new, repeatable=False, json=given)


def rotate_api_key(key_id: str, overlap_seconds: int | None) -> Call[NewApiKey]:
    """POST /v1/keys/{id}/rotate."""
    given = {} if overlap_seconds is None else {"overlap_seconds": overlap_seconds}
    path = f"/v1/keys/{path_part(key_id)}/rotate"
    return Call("POST", path, _read_new, repeatable=False, json=given)


def revoke_api_key(key_id: str) -> Call[None]:
    """DELETE /v1/keys/{id}."""
    return Call("DELETE", f"/v1/keys/{path_part(key_id)}", readers.nothing)


def exchange_token(token: str, rule: str | None) -> Call[WorkloadKey]:
    """POST /v1/oidc/token; may be sent again, since a token counts once."""
    given = {"token": token} | ({} if rule is None else {"rule": rule})
    return Call("POST", "/v1/oidc/token", _read_workload, json=given)


def _read_all(response: httpx.Response) -> tuple[ApiKey, ...]:
    return tuple(map(_key, Fields(response.json()).objects("keys")))


def _read_new(response: httpx.Response) -> NewApiKey:
    fields = Fields(response.json())
    return NewApiKey(_key(fields), fields.text("key"))


def _read_workload(response: httpx.Response) -> WorkloadKey:
    fields = Fields(response.json())
    return WorkloadKey(
        id=fields.text("id"),
        tenant=fields.text("tenant"),
        role=fields.text("role"),
        scopes=fields.texts("scopes"),
        subject=fields.text("subject"),
        rule=fields.text("rule"),
        expires_ms=fields.count("expires_ms"),
        key=fields.text("key"),
    )


def _key(fields: Fields) -> ApiKey:
    return ApiKey(
        id=fields.text("id"),
        name=fields.text("name"),
        role=fields.text("role"),
        scopes=fields.texts("scopes"),
        created_ms=fields.count("created_ms"),
        expires_ms=fields.maybe_count("expires_ms"),
        revoked_ms=fields.maybe_count("revoked_ms"),
        last_used_ms=fields.maybe_count("last_used_ms"),
        kind=fields.maybe_text("kind") or "key",
        subject=fields.maybe_text("subject"),
    )
