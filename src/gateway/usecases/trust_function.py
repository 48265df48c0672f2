"""What a function asks of signers: said by its tenant, and checked before a version is pointed to.

Workers check the same again before each run, so what changes later needs no deploy.
"""

import asyncio
from collections.abc import Iterable

from gateway.services import Services
from gateway.usecases.upload_module import find_module
from registry.trust import (
    Counting,
    check_denied,
    check_threshold,
    count_signers,
    named_parties,
    parties,
)
from registry.verification import verify_stored
from stockade.core.errors import StockadeError, not_found
from stockade.core.modules import StoredModule
from stockade.core.trust import MAX_NAMED_SIGNERS, MAX_THRESHOLD, FunctionTrust


async def trusted_signers(
    services: Services, module: StoredModule, body: bytes | None = None
) -> Counting:
    """The signers that vouch for a module now: a stored one, unless its body is given.

    Stored ones are read whole, one of a tenant at a time: many at once would fill the memory.

    Raises:
        StockadeError: why nobody does (`module.…`), or a store's own trouble.
    """
    check_denied(services.trust_rules.current, module.digest)
    if body is not None:
        return await _counted(services, module, body)
    async with services.rereading.turn(module.tenant):
        stored = await services.blobs.get(module.digest)
        if stored is None:
            raise StockadeError(
                "module.not_found", "The module is not in the blob store any more. Upload it again."
            )
        return await _counted(services, module, stored)


async def _counted(services: Services, module: StoredModule, body: bytes) -> Counting:
    signers = await services.catalog.signers(module.tenant)
    now_ms = services.clock.now_ms()

    def count() -> Counting:
        names = verify_stored(body, module.digest, module.signatures, signers, now_ms)
        return count_signers(services.policies, module, signers, names)

    # Hashing megabytes would hold up every other request.
    return await asyncio.to_thread(count)


async def check_function_trust(
    services: Services, function: str, module: StoredModule, body: bytes | None = None
) -> Counting:
    """The signers that vouch for a module, as many as its tenant's function asks for.

    Raises:
        StockadeError: as `trusted_signers`, and `module.signers_missing`.
    """
    counting = await trusted_signers(services, module, body)
    check_threshold(await services.catalog.function_trust(module.tenant, function), counting)
    return counting


async def check_versions_trusted(
    services: Services, tenant: str, function: str, versions: Iterable[int]
) -> None:
    """Passes when every one of these versions may run now; those that do not exist are left out.

    Raises:
        StockadeError: as `check_function_trust`.
    """
    found = [await services.catalog.function_version(tenant, function, one) for one in versions]
    for digest in sorted({one.content.digest for one in found if one is not None}):
        module = await find_module(services, tenant, digest)
        await check_function_trust(services, function, module)


async def put_function_trust(
    services: Services, tenant: str, function: str, threshold: int, names: tuple[str, ...]
) -> bool:
    """Says what the function asks of signers from now on; True when nothing was said before.

    Raises:
        StockadeError: `trust.threshold_invalid`, `trust.signers_invalid`, `signer.not_found`.
    """
    if not 1 <= threshold <= MAX_THRESHOLD:
        raise StockadeError(
            "trust.threshold_invalid", f"threshold is how many must sign, 1 to {MAX_THRESHOLD}."
        )
    if len(names) > MAX_NAMED_SIGNERS or len(set(names)) != len(names):
        raise StockadeError(
            "trust.signers_invalid",
            f"signers are at most {MAX_NAMED_SIGNERS} names, each once; none means any signer.",
        )
    known = parties(await services.catalog.signers(tenant))
    for name in names:
        if name not in known:
            raise not_found("signer", name)
    if names and len(named_parties(names, known)) < threshold:
        raise StockadeError(
            "trust.threshold_invalid",
            f"Of the named signers {threshold} can never sign: those that replaced one another"
            " count once. Name more, or lower the threshold.",
        )
    return await services.catalog.put_function_trust(
        tenant, function, FunctionTrust(threshold, names)
    )
