"""Makes an immutable version of a function out of a module, limits and settings."""

import msgspec

from gateway.authorizer import Authorizer
from gateway.services import Services
from gateway.usecases.trust_function import check_function_trust
from gateway.usecases.upload_module import find_module
from stockade.core.actions import Action
from stockade.core.authorization import Question, Resource, ResourceKind, module_resource
from stockade.core.digests import check_digest
from stockade.core.egress import EgressPolicy, HttpGrant, parse_url
from stockade.core.errors import StockadeError
from stockade.core.grants import missing_grants, parse_grants
from stockade.core.host_functions import STOCKADE_MODULE
from stockade.core.limits import limits_from_request
from stockade.core.modules import (
    Abi,
    FunctionContent,
    FunctionVersion,
    ModuleFacts,
    RetrySettings,
    StoredModule,
)
from stockade.core.names import check_name
from stockade.core.policy_questions import deploy_context
from stockade.core.principals import Principal

_MAX_ATTEMPTS, _MAX_DELAY_MS = 20, 24 * 3600 * 1000
_MAX_CONCURRENCY = 10_000
_MAX_ENV_ENTRIES, _MAX_ENV_BYTES = 64, 32 * 1024


class RetryRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When a failed attempt is tried again."""

    policy: str = "fixed"
    max_attempts: int = 3
    base_delay_ms: int = 200
    max_delay_ms: int = 30_000


class DeployRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a deploy asks for."""

    module: str
    limits: dict[str, int] = {}
    grants: list[str] = []
    retry: RetryRequest = RetryRequest()
    concurrency: int | None = None
    env: dict[str, str] = {}


async def deploy_function(
    services: Services, authorizer: Authorizer, caller: Principal, name: str, asked: DeployRequest
) -> tuple[FunctionVersion, bool]:
    """The version, and whether it is new: the same content makes no new one.

    Raises:
        StockadeError: `auth.…`, `function.…`, `limits.…`, `module.…`.
    """
    check_name("function", name)
    module = await find_module(services, caller.tenant, check_digest(asked.module))
    facts = module.facts
    profile = services.profile
    content = FunctionContent(
        digest=module.digest,
        abi=facts.abi,
        deterministic=facts.deterministic,
        limits=limits_from_request(asked.limits, profile.defaults, profile.ceilings),
        grants=_grants(services, asked.grants, facts),
        retry=_retry(asked.retry),
        concurrency=_concurrency(asked.concurrency),
        env=_environment(asked.env),
    )
    counting = await check_function_trust(services, name, module)
    authorizer.check_question(_question(caller, name, content, module, counting.names))
    return await services.catalog.put_function(
        caller.tenant, name, content, services.clock.now_ms()
    )


def _question(
    caller: Principal,
    name: str,
    content: FunctionContent,
    module: StoredModule,
    signers: tuple[str, ...],
) -> Question:
    """May the caller deploy this module with these grants and limits under this name?"""
    context = deploy_context(content.grants, content.limits)
    function = Resource(ResourceKind.FUNCTION, caller.tenant, name)
    return Question(caller, Action.DEPLOY, function, context, module_resource(module, signers))


def _grants(services: Services, asked: list[str], facts: ModuleFacts) -> tuple[str, ...]:
    grants = parse_grants(asked)
    calls = [name.removeprefix(f"{STOCKADE_MODULE}.") for name in facts.imports]
    missing = missing_grants(calls, grants) if facts.abi is Abi.STOCKADE_V1 else ()
    if missing:
        raise StockadeError(
            "function.grant_missing",
            f"The module calls the host for what it is not granted. Add {', '.join(missing)} to"
            " grants, or build without these calls.",
            detail={"missing": list(missing)},
        )
    for grant in grants.http:
        _check_egress(services.egress_policy, grant)
    return tuple(sorted(asked))


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
        asked.policy in {"fixed", "never"}
        and 1 <= asked.max_attempts <= _MAX_ATTEMPTS
        and 0 <= asked.base_delay_ms <= asked.max_delay_ms <= _MAX_DELAY_MS
    )
    if not sound:
        raise StockadeError(
            "function.retry_invalid",
            "retry.policy is 'fixed' or 'never', retry.max_attempts 1 to"
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
