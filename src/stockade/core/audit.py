"""The audit log: who did what, and who was refused what; a hash chain for each tenant.

Entries of actions that change something come in pairs: `begun` before, `done` with how it ended.
Canonical form, hashes and what they show: `stockade.core.audit_chain`, docs/reference/audit.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from stockade.core.redaction import redact

PLATFORM = "_platform"
"""The chain of what belongs to no tenant, such as wrong keys. No tenant can have this name."""

_MAX_TEXT = 256
_MAX_POLICIES = 32


class EntryKind(StrEnum):
    """What an entry tells of."""

    BEGUN = "begun"
    DONE = "done"
    REFUSED = "refused"
    SUPPRESSED = "suppressed"
    PRUNED = "pruned"


@dataclass(frozen=True, slots=True)
class AuditFacts:
    """What an entry says.

    Attributes:
        time_ms: Unix time.
        kind: What it tells of, an `EntryKind`.
        request: The request's id, as its answer and the logs have it.
        principal_kind: `key` or `workload`; empty when the caller is not known.
        principal: The key's id or the workload's `issuer|subject`.
        role: The principal's role.
        action: As policies call it; empty when none was reached.
        call: Method and path template of the HTTP call.
        object_kind: Of what was acted on, such as `function`.
        object: Its name, digest or id.
        code: The code of a refusal or failure; empty when it was done.
        policies: Ids of the policies that decided: that refused, or else that permitted.
        reason: What the caller gave as its reason.
        source: The address that the request counts for.
        count: Of how many entries `suppressed` and `pruned` tell.
    """

    time_ms: int
    kind: str
    request: str = ""
    principal_kind: str = ""
    principal: str = ""
    role: str = ""
    action: str = ""
    call: str = ""
    object_kind: str = ""
    object: str = ""
    code: str = ""
    policies: tuple[str, ...] = ()
    reason: str = ""
    source: str = ""
    count: int = 1


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """An entry at its place: `previous` is the hash of the one before, in 64 hexadecimal digits."""

    chain: str
    sequence: int
    previous: str
    facts: AuditFacts
    hash: str


@dataclass(frozen=True, slots=True)
class AuditHead:
    """Where a chain begins and ends, signed by the operator's key.

    `first_sequence` is the oldest entry that is kept, `first_previous` the hash before it.
    """

    chain: str
    first_sequence: int
    first_previous: str
    sequence: int
    hash: str
    time_ms: int
    public_key: str
    signature: str


@dataclass(frozen=True, slots=True)
class AuditQuery:
    """Which entries, newest first. Empty texts and None leave open."""

    action: str = ""
    principal: str = ""
    object: str = ""
    since_ms: int | None = None
    until_ms: int | None = None
    before: int | None = None
    most: int = 100


class HeadSigner(Protocol):
    """Signs heads with a key that is not in the database."""

    @property
    def public_key(self) -> bytes:
        """The 32 bytes of the Ed25519 public key."""

    def sign(self, statement: bytes) -> bytes:
        """The signature."""

    def verifies(self, public_key: bytes, statement: bytes, signature: bytes) -> bool:
        """Whether one of the operator's keys, this one, made the signature."""


class AuditLog(Protocol):
    """Chains of entries that only grow. Every write checks the head that it goes on from."""

    async def append(self, entries: Sequence[tuple[str, AuditFacts]]) -> None:
        """Adds to chains, each named beside its facts: all or none.

        Raises:
            StockadeError: `audit.chain_broken` when the chain is not as it was left.
        """

    async def find(self, chain: str, query: AuditQuery) -> Sequence[AuditEntry]:
        """Entries that the query asks for, newest first."""

    async def walk(self, chain: str, after: int, most: int) -> Sequence[AuditEntry]:
        """Entries with higher numbers than `after`, oldest first."""

    async def head(self, chain: str) -> AuditHead | None:
        """The head; None of an empty chain."""

    async def chains(self) -> Sequence[str]:
        """The names of all chains, in order."""

    async def prune(self, chain: str, before_ms: int, most: int, now_ms: int) -> int:
        """Deletes entries from the old end on, up to the first that is not older than this.

        The last entry stays. An entry says that it was done. Returns how many were deleted, at most
        `most`.

        Raises:
            StockadeError: `audit.chain_broken`.
        """


def bounded(text: str, most: int = _MAX_TEXT) -> str:
    """Text that every store gives back unchanged: valid Unicode without NUL, of bounded length.

    Credentials in it are hidden.
    """
    return redact(text)[:most].replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def bounded_policies(policies: object) -> tuple[str, ...]:
    """The policies' ids out of a refusal's facts."""
    named = policies if isinstance(policies, list | tuple) else ()
    return tuple(bounded(str(name)) for name in named[:_MAX_POLICIES])
