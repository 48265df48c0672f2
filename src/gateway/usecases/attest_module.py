"""Takes attestations of modules, shows them, and tells policies what those say that count now."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from gateway.services import Services
from gateway.usecases.upload_module import find_module
from registry.provenance import VerifiedAttestation, merged, verify_attestation
from registry.trust import count_signers
from stockade.core.attestations import MAX_ATTESTATIONS, Provenance, StoredAttestation
from stockade.core.digests import digest_of
from stockade.core.errors import StockadeError, not_found
from stockade.core.modules import Signer, StoredModule


@dataclass(frozen=True, slots=True)
class ShownAttestation:
    """An attestation, and what it says now, or why it does not count."""

    stored: StoredAttestation
    verified: VerifiedAttestation | None
    refusal: StockadeError | None


async def attest_module(
    services: Services, tenant: str, digest: str, content: bytes
) -> tuple[ShownAttestation, bool]:
    """Stores an attestation that counts now; False when the module has it already.

    Raises:
        StockadeError: `module.not_found`, `attestation.…`, `module.signer_denied`.
    """
    module = await find_module(services, tenant, digest)
    signers = await services.catalog.signers(tenant)
    verified = await _judged(services, module, signers, content)
    now_ms = services.clock.now_ms()
    stored = StoredAttestation(
        tenant, digest, digest_of(verified.envelope), verified.envelope, now_ms
    )
    created = await services.catalog.add_attestation(stored, MAX_ATTESTATIONS)
    return ShownAttestation(stored, verified, None), created


async def show_attestations(
    services: Services, tenant: str, digest: str
) -> Sequence[ShownAttestation]:
    """The attestations of a module, each judged as it stands now.

    Raises:
        StockadeError: `module.not_found`.
    """
    module = await find_module(services, tenant, digest)
    stored = await services.catalog.attestations(tenant, digest)
    signers = await services.catalog.signers(tenant) if stored else ()
    return [await _shown(services, module, signers, one) for one in stored]


async def find_attestation(
    services: Services, tenant: str, digest: str, attestation_id: str
) -> StoredAttestation:
    """One attestation, whether it counts or not.

    Raises:
        StockadeError: `module.not_found`, `attestation.not_found`.
    """
    await find_module(services, tenant, digest)
    for stored in await services.catalog.attestations(tenant, digest):
        if stored.id == attestation_id:
            return stored
    raise not_found("attestation", attestation_id[:80])


async def provenance_of(services: Services, module: StoredModule) -> Provenance:
    """What the attestations that count now say of a module; the others say nothing.

    Raises:
        StockadeError: `catalog.…`.
    """
    shown = await show_attestations(services, module.tenant, module.digest)
    return merged(one.verified.provenance for one in shown if one.verified is not None)


async def _shown(
    services: Services, module: StoredModule, signers: Sequence[Signer], stored: StoredAttestation
) -> ShownAttestation:
    try:
        verified = await _judged(services, module, signers, stored.envelope)
    except StockadeError as error:
        return ShownAttestation(stored, None, error)
    return ShownAttestation(stored, verified, None)


async def _judged(
    services: Services, module: StoredModule, signers: Sequence[Signer], content: bytes
) -> VerifiedAttestation:
    """The attestation, by signers that stand and for whom the policies vouch."""
    now_ms = services.clock.now_ms()

    def judge() -> VerifiedAttestation:
        verified = verify_attestation(content, module.digest, signers, now_ms)
        counting = count_signers(services.policies, module, signers, verified.signers)
        return replace(verified, signers=counting.names)

    # Curves and policies would hold up every other request.
    return await asyncio.to_thread(judge)
