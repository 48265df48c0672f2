"""The audit log: what it looks like, every call about it, and how its answer is read."""

from dataclasses import dataclass

import httpx

from stockade_client.calls import Call
from stockade_client.fields import Fields


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """What the log says of one action, or refusal. `code` is empty when it was done.

    `kind`: `begun` and `done` before and after an action, `refused`, `suppressed` (`count` more
    refusals), `pruned` (`count` old entries were deleted). `principal`, `object` and `reason` may
    be anybody's words.
    """

    sequence: int
    time_ms: int
    kind: str
    request: str
    principal_kind: str
    principal: str
    role: str
    action: str
    call: str
    object_kind: str
    object: str
    code: str
    policies: tuple[str, ...]
    reason: str
    source: str
    count: int
    previous: str
    hash: str


@dataclass(frozen=True, slots=True)
class AuditHead:
    """The newest entry's number and hash, signed; kept elsewhere it shows what is missing later."""

    chain: str
    first_sequence: int
    first_previous: str
    sequence: int
    hash: str
    time_ms: int
    public_key: str
    signature: str


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which entries; what is None is left open. Times are RFC 3339."""

    action: str | None = None
    principal: str | None = None
    object: str | None = None
    since: str | None = None
    until: str | None = None


def audit(
    wanted: AuditFilter, limit: int | None, before: int | None
) -> Call[tuple[AuditEntry, ...]]:
    """GET /v1/audit."""
    given = {
        "action": wanted.action,
        "principal": wanted.principal,
        "object": wanted.object,
        "since": wanted.since,
        "until": wanted.until,
        "limit": limit,
        "before": before,
    }
    return Call("GET", "/v1/audit", _entries, params=_texts(given))


def audit_head() -> Call[AuditHead | None]:
    """GET /v1/audit/head."""
    return Call("GET", "/v1/audit/head", _head)


def audit_lines(after: int | None, limit: int | None) -> Call[tuple[str, ...]]:
    """GET /v1/audit/export."""
    params = _texts({"after": after, "limit": limit})
    return Call("GET", "/v1/audit/export", _lines, params=params)


def _texts(given: dict[str, str | int | None]) -> dict[str, str]:
    return {name: str(value) for name, value in given.items() if value is not None}


def _entries(response: httpx.Response) -> tuple[AuditEntry, ...]:
    return tuple(map(_entry, Fields(response.json()).objects("entries")))


def _entry(fields: Fields) -> AuditEntry:
    return AuditEntry(
        sequence=fields.count("sequence"),
        time_ms=fields.count("time_ms"),
        kind=fields.text("kind"),
        request=fields.text("request"),
        principal_kind=fields.text("principal_kind"),
        principal=fields.text("principal"),
        role=fields.text("role"),
        action=fields.text("action"),
        call=fields.text("call"),
        object_kind=fields.text("object_kind"),
        object=fields.text("object"),
        code=fields.text("code"),
        policies=fields.texts("policies"),
        reason=fields.text("reason"),
        source=fields.text("source"),
        count=fields.count("count"),
        previous=fields.text("previous"),
        hash=fields.text("hash"),
    )


def _head(response: httpx.Response) -> AuditHead | None:
    fields = Fields(response.json()).nested("head")
    if not fields.names():
        return None
    return AuditHead(
        chain=fields.text("chain"),
        first_sequence=fields.count("first_sequence"),
        first_previous=fields.text("first_previous"),
        sequence=fields.count("sequence"),
        hash=fields.text("hash"),
        time_ms=fields.count("time_ms"),
        public_key=fields.text("public_key"),
        signature=fields.text("signature"),
    )


def _lines(response: httpx.Response) -> tuple[str, ...]:
    return tuple(response.text.splitlines())
