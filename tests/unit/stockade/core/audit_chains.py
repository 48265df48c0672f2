"""Chains to verify, and a signer."""

from stockade.core.audit import AuditEntry, AuditFacts, AuditHead, EntryKind
from stockade.core.audit_chain import entry_line, extended, head_is_signed, head_line
from stockade.infra.audit_key import Ed25519HeadSigner

SIGNER = Ed25519HeadSigner((b"a" * 32,))


def facts(number: int = 0, **changes: object) -> AuditFacts:
    said = {
        "time_ms": 1_800_000_000_000 + number,
        "kind": EntryKind.DONE,
        "request": f"request-{number}",
        "principal_kind": "key",
        "principal": "abc",
        "role": "admin",
        "action": "deploy",
        "call": "PUT /v1/functions/{name}",
        "object_kind": "function",
        "object": f"grüße-{number}",
        "code": "auth.denied",
        "policies": ("one", "two"),
        "reason": 'said "so" \u202e\n',
        "source": "192.0.2.1",
    }
    return AuditFacts(**said | changes)  # type: ignore[arg-type]


def chain(count: int, name: str = "acme") -> tuple[list[AuditEntry], AuditHead]:
    entries, head = extended(name, None, [facts(number) for number in range(count)], SIGNER)
    return list(entries), head


def export(entries: list[AuditEntry], head: AuditHead | None) -> list[str]:
    lines = [entry_line(entry) for entry in entries]
    return lines if head is None else [*lines, head_line(head)]


def is_signed(head: AuditHead) -> bool:
    return head_is_signed(head, SIGNER)
