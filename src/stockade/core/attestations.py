"""Attestations of modules: who built them, out of which source; and where they are kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from stockade.core.errors import StockadeError

MAX_ATTESTATIONS = 16
"""Of one module."""
MAX_ENVELOPE_BYTES = 128 * 1024


@dataclass(frozen=True, slots=True)
class Provenance:
    """What attestations say of a module.

    Attributes:
        builders: Ids of who built it, mostly URLs.
        sources: `repository@commit` of what it was built of, and `repository` alone.
    """

    builders: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StoredAttestation:
    """A signed envelope beside a module; `id` is the digest of the envelope's bytes."""

    tenant: str
    digest: str
    id: str
    envelope: bytes
    created_ms: int


class AttestationStore(Protocol):
    """Attestations by module. They go with it."""

    async def add_attestation(self, attestation: StoredAttestation, most: int) -> bool:
        """Stores one beside its module; False when the module has it.

        Raises:
            StockadeError: `module.not_found`; `attestation.too_many` when it has `most` others.
        """

    async def attestations(self, tenant: str, digest: str) -> Sequence[StoredAttestation]:
        """Those of the tenant's module, in the order of their arrival."""


def too_many_attestations(most: int) -> StockadeError:
    """The refusal of one attestation more than a module may have."""
    return StockadeError(
        "attestation.too_many",
        f"This module has {most} attestations, as many as it may.",
        detail={"most": most},
    )
