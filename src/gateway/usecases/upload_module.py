"""Takes a module into the registry: verified, admitted, compiled in a jail, stored, then told."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gateway.authorizer import Authorizer
from gateway.services import Services
from registry.trust import check_denied, count_signers
from registry.verification import VerifiedModule, trusted_names
from stockade.core.actions import Action
from stockade.core.authorization import Question, module_resource
from stockade.core.errors import StockadeError
from stockade.core.modules import ModuleFacts, Signer, StoredModule
from stockade.core.principals import Principal


@dataclass(frozen=True, slots=True)
class Uploaded:
    """What an upload says: `created` is False when the tenant had the module."""

    digest: str
    signers: tuple[str, ...]
    facts: ModuleFacts
    created: bool


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
    tenant = caller.tenant
    signers = await services.catalog.signers(tenant)
    now_ms = services.clock.now_ms()
    verified, facts = await services.judge.judge(tenant, content, detached, signers, now_ms)
    stored = StoredModule(tenant, verified.digest, facts, (verified.signature,), now_ms)
    check_denied(services.trust_rules.current, verified.digest)
    counting = count_signers(services.policies, stored, signers, verified.signers)
    resource = module_resource(stored, counting.names)
    authorizer.check_question(Question(caller, Action.ADMIT, resource))
    known = await services.catalog.module(tenant, verified.digest)
    if known is None:
        await services.compiler.compile(verified.body, tenant)
    # Also when it is known: an upload mends a lost or damaged blob.
    if await services.blobs.put(verified.body) != verified.digest:
        raise RuntimeError("the blob store names content by another digest")
    if known is not None and not _adds_a_signer(verified, known, signers):
        stored = replace(stored, signatures=())
    created = await services.catalog.add_module(stored)
    if created:
        await services.hints.tell(tenant, verified.digest)
    return Uploaded(verified.digest, counting.names, facts, created)


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
    if module is None:
        raise StockadeError(
            "module.not_found", "There is no such module in this tenant. Upload it first."
        )
    return module
