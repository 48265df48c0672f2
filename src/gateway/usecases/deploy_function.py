"""Makes an immutable version of a function out of a module, limits and settings."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import msgspec

from gateway.authorizer import Authorizer
from gateway.services import Services
from gateway.usecases.attest_module import provenance_of
from gateway.usecases.clamp_limits import most_limits
from gateway.usecases.refusals import Refusals
from gateway.usecases.trust_function import check_function_trust
from gateway.usecases.upload_module import find_module
from stockade.core.actions import Action
from stockade.core.attestations import Provenance
from stockade.core.authorization import Question, Resource, ResourceKind, module_resource
from stockade.core.digests import check_digest
from stockade.core.egress import EgressPolicy, HttpGrant, parse_url
from stockade.core.errors import StockadeError
from stockade.core.functions import check_note, is_deleted
from stockade.core.grants import MAX_GRANTS, Grants, missing_grants, parse_grants
from stockade.core.host_functions import STOCKADE_MODULE
from stockade.core.limits import Limits, split_auto
from stockade.core.modules import (
    RETRY_POLICIES,
    Abi,
    FunctionContent,
    FunctionVersion,
    ModuleFacts,
    RetrySettings,
    StoredModule,
    VersionNote,
)
from stockade.core.names import check_name, check_new_name
from stockade.core.plans import Plan
from stockade.core.policy_questions import deploy_context
from stockade.core.principals import Principal

_MAX_ATTEMPTS, _MAX_DELAY_MS = 20, 24 * 3600 * 1000
_MAX_CONCURRENCY = 10_000
_MAX_ENV_ENTRIES, _MAX_ENV_BYTES = 64, 32 * 1024
_NO_LIMITS: tuple[dict[str, int], tuple[str, ...]] = ({}, ())
_NO_ENVIRONMENT: tuple[tuple[str, str], ...] = ()


class RetryRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When a failed attempt is tried again."""

    policy: str = "fixed"
    max_attempts: int = 3
    base_delay_ms: int = 200
    max_delay_ms: int = 30_000


class DeployRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a deploy asks for."""

    module: str
    limits: dict[str, int | Literal["auto"]] | Literal["auto"] = {}
    grants: list[str] = []
    retry: RetryRequest = RetryRequest()
    concurrency: int | None = None
    env: dict[str, str] = {}
    record: bool = False
    message: str = ""
    labels: dict[str, str] = {}


@dataclass(frozen=True, slots=True)
class Candidate:
    """A module to make a version of: with its body when that came along, perhaps not stored."""

    module: StoredModule
    body: bytes | None = None
    stored: bool = True


async def check_deploy(
    services: Services, authorizer: Authorizer, caller: Principal, name: str, asked: DeployRequest
) -> FunctionContent:
    """What the version is to be, everything checked, nothing written.

    Raises:
        StockadeError: `auth.…`, `function.…`, `limits.…`, `module.…`.
    """
    first = Refusals(gather=False)
    candidate = partial(stored_candidate, services, caller.tenant, asked.module)
    planned = await plan_deploy(services, authorizer, caller, name, asked, candidate, first)
    if planned is None:
        raise RuntimeError("a deploy without a module was not refused")
    return planned[0]


async def put_version(
    services: Services, caller: Principal, name: str, content: FunctionContent, asked: DeployRequest
) -> tuple[FunctionVersion, bool]:
    """The version, and whether it is new: the same content makes no new one.

    Raises:
        StockadeError: `function.…`.
    """
    note = check_note(caller.id, asked.message, asked.labels)
    quota = services.storage.quota(caller.tenant).of_functions
    return await services.catalog.put_function(
        caller.tenant, name, content, services.clock.now_ms(), note, quota
    )


async def stored_candidate(services: Services, tenant: str, digest: str) -> Candidate | None:
    """The module of this digest, which the tenant has.

    Raises:
        StockadeError: `module.digest_invalid` or `module.not_found`.
    """
    return Candidate(await find_module(services, tenant, check_digest(digest)))


async def plan_deploy(
    services: Services,
    authorizer: Authorizer,
    caller: Principal,
    name: str,
    asked: DeployRequest,
    candidate: Callable[[], Awaitable[Candidate | None]],
    refusals: Refusals,
) -> tuple[FunctionContent, StoredModule] | None:
    """What a deploy would make of the candidate, everything checked, nothing written.

    With gathered refusals, the content is without what was refused, and None without a module.
    """
    await refusals.looking(_check_free(services, caller.tenant, name), None)
    found = await refusals.looking(candidate(), None)
    module = None if found is None else found.module
    plan = services.plans.current.of(caller.tenant)
    numbers, auto = refusals.of(lambda: split_auto(asked.limits), _NO_LIMITS)
    limits = _limits(plan, numbers, refusals)
    grants = _grants(services, asked.grants, None if module is None else module.facts, refusals)
    retry = refusals.of(lambda: _retry(asked.retry), RetrySettings())
    concurrency = refusals.of(lambda: _concurrency(asked.concurrency), None)
    env = refusals.of(lambda: _environment(asked.env), _NO_ENVIRONMENT)
    refusals.of(lambda: check_note(caller.id, asked.message, asked.labels), VersionNote())
    if found is None or module is None:
        return None
    facts = module.facts
    content = FunctionContent(
        digest=module.digest,
        abi=facts.abi,
        deterministic=facts.deterministic,
        limits=limits,
        grants=grants,
        retry=retry,
        concurrency=concurrency,
        env=env,
        auto_limits=auto,
        record=asked.record,
    )
    trust = check_function_trust(services, name, module, found.body)
    counting = await refusals.looking(trust, None)
    signers = () if counting is None else counting.names
    provenance = Provenance()
    if found.stored:
        provenance = await refusals.looking(provenance_of(services, module), provenance)
    resource = module_resource(module, signers, provenance)
    question = _question(caller, name, content, most_limits(plan, content), resource)
    refusals.of(lambda: authorizer.check_question(question), None)
    return content, module


async def _check_free(services: Services, tenant: str, name: str) -> None:
    """Checks that there may be a function of this name."""
    check_name("function", name)
    deleted = await services.catalog.deleted_function(tenant, name)
    if deleted is not None and services.clock.now_ms() < deleted.restorable_until_ms:
        raise is_deleted(name, deleted.restorable_until_ms)
    if await services.catalog.function_version(tenant, name, None) is None:
        check_new_name("function", name)


def _question(
    caller: Principal, name: str, content: FunctionContent, limits: Limits, module: Resource
) -> Question:
    """May the caller deploy this module with these grants and limits under this name?"""
    context = deploy_context(content.grants, limits)
    function = Resource(ResourceKind.FUNCTION, caller.tenant, name)
    return Question(caller, Action.DEPLOY, function, context, module)


def _limits(plan: Plan, asked: dict[str, int], refusals: Refusals) -> Limits:
    sound: dict[str, int] = {}
    for name, value in asked.items():
        one = {name: value}
        checked = refusals.of(lambda: plan.limits(one), None)  # noqa: B023 - called at once
        if checked is not None:
            sound |= one
    return replace(plan.defaults, **sound)


def _grants(
    services: Services, asked: list[str], facts: ModuleFacts | None, refusals: Refusals
) -> tuple[str, ...]:
    refusals.of(lambda: parse_grants(asked), None)
    sound = _sound_grants(asked)
    grants = parse_grants(sound)
    if facts is not None:
        refusals.of(lambda: _check_missing(facts, grants), None)
    for grant in grants.http:
        refusals.of(lambda: _check_egress(services.egress_policy, grant), None)  # noqa: B023 - called at once
    return tuple(sorted(sound))


def _sound_grants(asked: list[str]) -> list[str]:
    """Those that go together, from the first one on."""
    sound: list[str] = []
    for text in asked[:MAX_GRANTS]:
        with suppress(StockadeError):
            parse_grants([*sound, text])
            sound.append(text)
    return sound


def _check_missing(facts: ModuleFacts, grants: Grants) -> None:
    calls = [name.removeprefix(f"{STOCKADE_MODULE}.") for name in facts.imports]
    missing = missing_grants(calls, grants) if facts.abi is Abi.STOCKADE_V1 else ()
    if missing:
        raise StockadeError(
            "function.grant_missing",
            f"The module calls the host for what it is not granted. Add {', '.join(missing)} to"
            " grants, or build without these calls.",
            detail={"missing": list(missing)},
        )


def _check_egress(policy: EgressPolicy, grant: HttpGrant) -> None:
    host = f"[{grant.host}]" if ":" in grant.host else grant.host
    reason = policy.refusal(parse_url(f"{grant.scheme}://{host}:{grant.port}"))
    if reason is not None:
        raise StockadeError(
            "function.grant_forbidden",
            f"{grant.scheme}://{host} cannot be granted: {reason}. The operator's policy is"
            " policies/egress.toml.",
        )


def _retry(asked: RetryRequest) -> RetrySettings:
    sound = (
        asked.policy in RETRY_POLICIES
        and 1 <= asked.max_attempts <= _MAX_ATTEMPTS
        and 0 <= asked.base_delay_ms <= asked.max_delay_ms <= _MAX_DELAY_MS
    )
    if not sound:
        raise StockadeError(
            "function.retry_invalid",
            "retry.policy is 'fixed', 'learned' or 'never', retry.max_attempts 1 to"
            f" {_MAX_ATTEMPTS}, and 0 <= base_delay_ms <= max_delay_ms <= {_MAX_DELAY_MS}.",
        )
    return RetrySettings(asked.policy, asked.max_attempts, asked.base_delay_ms, asked.max_delay_ms)


def _concurrency(asked: int | None) -> int | None:
    if asked is not None and not 1 <= asked <= _MAX_CONCURRENCY:
        raise StockadeError(
            "function.concurrency_invalid",
            f"concurrency is how many run at once, 1 to {_MAX_CONCURRENCY}; leave it out for no"
            " bound.",
        )
    return asked


def _environment(asked: dict[str, str]) -> tuple[tuple[str, str], ...]:
    size = sum(len(name.encode()) + len(value.encode()) for name, value in asked.items())
    odd = any(not name or "=" in name or "\0" in name + value for name, value in asked.items())
    if odd or len(asked) > _MAX_ENV_ENTRIES or size > _MAX_ENV_BYTES:
        raise StockadeError(
            "function.env_invalid",
            f"env takes at most {_MAX_ENV_ENTRIES} names and {_MAX_ENV_BYTES} bytes, without NUL,"
            " and no '=' in a name.",
        )
    return tuple(sorted(asked.items()))
