"""Takes a module into the registry: verified, admitted, compiled in a jail, stored, then told."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from gateway.authorizer import Authorizer
from gateway.blob_steps import within
from gateway.services import Services
from registry.trust import check_denied, count_signers
from registry.verification import VerifiedModule, trusted_names
from stockade.core.actions import Action
from stockade.core.authorization import Question, module_resource
from stockade.core.errors import StockadeError
from stockade.core.module_store import StorageUsage
from stockade.core.modules import ModuleFacts, Signer, StoredModule
from stockade.core.principals import Principal

_TRIES = 3


@dataclass(frozen=True, slots=True)
class Uploaded:
    """What an upload says: `created` is False when the tenant had the module."""

    digest: str
    signers: tuple[str, ...]
    facts: ModuleFacts
    created: bool


@dataclass(frozen=True, slots=True)
class Judged:
    """A module that may be stored: `known` is what the tenant has of it already.

    `signers` are the tenant's, `names` those of them that signed it now and count.
    """

    module: StoredModule
    verified: VerifiedModule
    signers: Sequence[Signer]
    names: tuple[str, ...]
    known: StoredModule | None


async def upload_module(
    services: Services,
    authorizer: Authorizer,
    caller: Principal,
    content: bytes,
    detached: bytes | None,
) -> Uploaded:
    """Stores a module that the tenant's signers vouch for.

    Raises:
        StockadeError: why the module is not taken (`module.…`, `auth.…`), or a store's own trouble.
    """
    judged = await judge_upload(services, authorizer, caller, content, detached)
    stored, verified = judged.module, judged.verified
    known, signers = judged.known, judged.signers
    if known and not await asyncio.to_thread(_adds_a_signer, verified, known, signers):
        stored = replace(stored, signatures=())
    created = await _store(services, stored, verified.body)
    if created:
        await services.hints.tell(caller.tenant, verified.digest)
    return Uploaded(verified.digest, judged.names, stored.facts, created)


async def judge_upload(
    services: Services,
    authorizer: Authorizer,
    caller: Principal,
    content: bytes,
    detached: bytes | None,
) -> Judged:
    """Checks all that an upload checks, and stores nothing.

    Raises:
        StockadeError: as `upload_module`.
    """
    tenant = caller.tenant
    signers = await services.catalog.signers(tenant)
    now_ms = services.clock.now_ms()
    verified, facts = await services.judge.judge(tenant, content, detached, signers, now_ms)
    stored = StoredModule(tenant, verified.digest, facts, (verified.signature,), now_ms)
    check_denied(services.trust_rules.current, verified.digest)
    # Curves and policies take milliseconds that every other request would wait for.
    counting = await asyncio.to_thread(
        count_signers, services.policies, stored, signers, verified.signers
    )
    resource = module_resource(stored, counting.names)
    authorizer.check_question(Question(caller, Action.ADMIT, resource))
    known = await services.catalog.module(tenant, verified.digest)
    if known is None:
        await _check_quota(services, stored)
        await services.compiler.compile(verified.body, tenant)
    return Judged(stored, verified, signers, counting.names, known)


def _adds_a_signer(
    verified: VerifiedModule, known: StoredModule, signers: Sequence[Signer]
) -> bool:
    """Whether one signed who had not; a key makes signatures without end, of which one will do."""
    stored = trusted_names(verified.hashes, known.signatures, signers)
    return not trusted_names(verified.hashes, (verified.signature,), signers) <= stored


async def find_module(services: Services, tenant: str, digest: str) -> StoredModule:
    """The tenant's module.

    Raises:
        StockadeError: `module.not_found`.
    """
    module = await services.catalog.module(tenant, digest)
    if module is None or module.deleted_ms is not None:
        raise StockadeError(
            "module.not_found", "There is no such module in this tenant. Upload it first."
        )
    return module


async def _check_quota(services: Services, module: StoredModule) -> None:
    """Before anything is compiled or stored; what comes at once is counted when it is added."""
    used = await services.catalog.storage_usage(module.tenant)
    wanted_bytes = used.module_bytes + module.facts.size_bytes
    services.storage.quota(module.tenant).check(StorageUsage(wanted_bytes, used.modules + 1))


async def _store(services: Services, module: StoredModule, body: bytes) -> bool:
    """Stores the blob, also when it is known: an upload mends a lost or damaged one."""
    quota = services.storage.quota(module.tenant)
    for tries_left in reversed(range(_TRIES)):
        if await services.blobs.put(body) != module.digest:
            raise RuntimeError("the blob store names content by another digest")
        try:
            return await services.catalog.add_module(module, quota, partial(_is_stored, services))
        except StockadeError as error:
            # A collector may have taken an old blob of these bytes right behind the put.
            if error.code != "blobs.missing" or not tries_left:
                raise
    raise RuntimeError("the last try returns or raises")


async def _is_stored(services: Services, digest: str) -> bool:
    async def look() -> bool:
        return await services.blobs.size_bytes(digest) is not None

    return await within(look())
