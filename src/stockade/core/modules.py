"""Modules, signers and functions: what may be stored and run, as plain facts."""

from dataclasses import dataclass, field
from enum import StrEnum

from stockade.core.limits import LEARNED_LIMITS, Limits


class Abi(StrEnum):
    """How host and guest speak; see `sdk/abi/ABI.md`."""

    STOCKADE_V1 = "stockade:v1"
    WASI_PREVIEW1 = "wasi:preview1"


@dataclass(frozen=True, slots=True)
class ModuleFacts:
    """What the bounded reader saw in a module. Imports read `module.name`; names are guest text."""

    abi: Abi
    imports: tuple[str, ...]
    exports: tuple[str, ...]
    deterministic: bool
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Signer:
    """A public key that a tenant trusts. Times are Unix milliseconds; `None` leaves that end open.

    `public_key` is the 32 raw bytes of an Ed25519 key; `replaces` names the signer whose place it
    took: the two are one party.
    """

    name: str
    public_key: bytes
    not_before_ms: int | None = None
    not_after_ms: int | None = None
    revoked_ms: int | None = None
    revoked_reason: str | None = None
    replaces: str | None = None


@dataclass(frozen=True, slots=True)
class StoredModule:
    """A module as the catalog knows it: `signatures` are the payloads it was uploaded with.

    One with `deleted_ms` only runs what was submitted before.
    """

    tenant: str
    digest: str
    facts: ModuleFacts
    signatures: tuple[bytes, ...]
    created_ms: int
    deleted_ms: int | None = None


RETRY_POLICIES = ("fixed", "learned", "never")


@dataclass(frozen=True, slots=True)
class RetrySettings:
    """When a failed attempt may be tried again: `policy` is one of `RETRY_POLICIES`."""

    policy: str = "fixed"
    max_attempts: int = 3
    base_delay_ms: int = 200
    max_delay_ms: int = 30_000


@dataclass(frozen=True, slots=True)
class FunctionContent:
    """What a deploy fixes; two deploys with equal content are one version.

    `grants` are names of capabilities (host calls such as `log`); `env` is read by WASI guests as
    environment. `auto_limits` names those of `LEARNED_LIMITS` that follow what runs needed; until
    enough is known, what stands in `limits` counts. `record` keeps what a run can be replayed from:
    its input, and what varied.
    """

    digest: str
    abi: Abi
    deterministic: bool
    limits: Limits = field(default_factory=Limits)
    grants: tuple[str, ...] = ()
    retry: RetrySettings = field(default_factory=RetrySettings)
    concurrency: int | None = None
    env: tuple[tuple[str, str], ...] = ()
    auto_limits: tuple[str, ...] = ()
    record: bool = False


def may_rise(content: FunctionContent) -> tuple[str, ...]:
    """The limits that an attempt may have more of than the content says, up to their ceilings."""
    return LEARNED_LIMITS if content.retry.policy == "learned" else content.auto_limits


@dataclass(frozen=True, slots=True)
class VersionNote:
    """Who deployed a version (a principal's id), and what they said of it."""

    by: str = ""
    message: str = ""
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class FunctionVersion:
    """Immutable version `version` (1, 2, …) of a tenant's function; no number is used again."""

    tenant: str
    name: str
    version: int
    content: FunctionContent
    created_ms: int
    note: VersionNote = field(default_factory=VersionNote)


@dataclass(frozen=True, slots=True)
class Alias:
    """A name for versions of one function; `weights` maps version to a positive share.

    `revision` counts its changes from 1, who made the last one stands in `changed_by`.
    """

    name: str
    weights: tuple[tuple[int, int], ...]
    revision: int = 1
    changed_ms: int = 0
    changed_by: str = ""


@dataclass(frozen=True, slots=True)
class SecretEntry:
    """That a secret exists, and when it was last set; never what it holds."""

    name: str
    updated_ms: int
