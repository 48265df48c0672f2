"""Compares versions of a function, and a deploy with what is there, before anybody decides."""

from dataclasses import dataclass, replace
from functools import partial

from gateway.authorizer import Authorizer
from gateway.numbers import read_number
from gateway.services import Services
from gateway.usecases.deploy_function import (
    Candidate,
    DeployRequest,
    plan_deploy,
    stored_candidate,
)
from gateway.usecases.keep_aliases import find_alias
from gateway.usecases.refusals import Refusals
from gateway.usecases.resolve_function import FunctionResolver
from gateway.usecases.upload_module import judge_upload
from stockade.core.actions import Action
from stockade.core.errors import StockadeError
from stockade.core.function_diff import Diff, content_diff, facts_diff
from stockade.core.modules import FunctionContent, FunctionVersion, ModuleFacts
from stockade.core.names import check_name
from stockade.core.principals import Principal


class RehearsalRequest(DeployRequest, frozen=True, forbid_unknown_fields=True):
    """What a deploy would ask for; the module itself may come along, in base64, not yet uploaded.

    `signature_base64` is the module's signature when that is detached.
    """

    module: str = ""
    wasm_base64: bytes | None = None
    signature_base64: bytes | None = None


LATEST = "latest"


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What a deploy would do: `version` is the number that it would have or has.

    `base` is what it was compared with; None for a function that is new. `refusals` are all that
    could be found; with any of them the deploy would be refused.
    """

    version: int
    creates: bool
    base: FunctionVersion | None
    changes: Diff
    refusals: tuple[StockadeError, ...]


async def find_version(
    services: Services, resolver: FunctionResolver, tenant: str, name: str, which: str
) -> FunctionVersion:
    """The version that a number, an alias or `latest` means; of several the one with most weight.

    Raises:
        StockadeError: `function.…`, `version.not_found`, `alias.…`.
    """
    if which == LATEST:
        return await resolver.resolve(tenant, name, None, None, draw="")
    if which.isascii() and which.isdecimal():
        return await resolver.resolve(tenant, name, None, read_number(which) or 0, draw="")
    await resolver.resolve(tenant, name, None, None, draw="")  # for the right refusal
    alias = await find_alias(services, tenant, name, check_name("alias", which))
    heaviest = max(alias.weights, key=lambda share: (share[1], -share[0]))[0]
    return await resolver.resolve(tenant, name, None, heaviest, draw="")


async def compare(services: Services, before: FunctionVersion, after: FunctionVersion) -> Diff:
    """What differs."""
    facts = await _facts(services, after.tenant, after.content.digest)
    return await _difference(services, before, after.content, facts)


async def rehearse_deploy(
    services: Services,
    authorizer: Authorizer,
    resolver: FunctionResolver,
    caller: Principal,
    name: str,
    asked: RehearsalRequest,
    against: str | None,
) -> Rehearsal:
    """What the deploy would change, and all that it would be refused for; writes nothing.

    A module that comes along is checked as an upload would.

    Raises:
        StockadeError: `alias.not_found` or `version.not_found` when there is nothing of what
            `against` names.
    """
    refusals = Refusals(gather=True)
    candidate = partial(_candidate, services, authorizer, caller, asked)
    planned = await plan_deploy(services, authorizer, caller, name, asked, candidate, refusals)
    tenant, catalog = caller.tenant, services.catalog
    latest = await catalog.function_version(tenant, name, None)
    base = latest
    if against is not None:
        base = await find_version(services, resolver, tenant, name, against)
    creates = planned is None or latest is None or latest.content != planned[0]
    changes: Diff = {}
    if planned is not None and base is not None:
        changes = await _difference(services, base, planned[0], planned[1].facts)
    number = 0 if latest is None else latest.version
    return Rehearsal(number + creates, creates, base, changes, tuple(refusals.found))


async def _candidate(
    services: Services, authorizer: Authorizer, caller: Principal, asked: RehearsalRequest
) -> Candidate | None:
    if asked.wasm_base64 is None:
        return await stored_candidate(services, caller.tenant, asked.module)
    authorizer.check(caller, Action.UPLOAD)
    content, detached = asked.wasm_base64, asked.signature_base64
    judged = await judge_upload(services, authorizer, caller, content, detached)
    known = judged.known
    earlier = () if known is None else known.signatures
    merged = tuple(dict.fromkeys((*earlier, judged.verified.signature)))
    stored = known is not None and known.deleted_ms is None
    return Candidate(replace(judged.module, signatures=merged), judged.verified.body, stored)


async def _difference(
    services: Services, before: FunctionVersion, after: FunctionContent, facts: ModuleFacts | None
) -> Diff:
    changes = content_diff(before.content, after)
    earlier = await _facts(services, before.tenant, before.content.digest)
    if facts is not None and earlier is not None:
        changes |= facts_diff(earlier, facts)
    return changes


async def _facts(services: Services, tenant: str, digest: str) -> ModuleFacts | None:
    """None when the tenant deleted the module since."""
    module = await services.catalog.module(tenant, digest)
    return None if module is None else module.facts
