"""Which questions there are: what each action is asked of, and what is told with it.

The policies' schema must fit all of them. Tests of policies and simulations start from these and
change what they are about.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from stockade.core.actions import Action
from stockade.core.authorization import Attribute, Question, Resource, ResourceKind, Vouching
from stockade.core.digests import digest_of
from stockade.core.grants import parse_grants
from stockade.core.limits import DEFAULT_LIMITS, Limits
from stockade.core.modules import Abi
from stockade.core.principals import Kind, Principal, Role

SAMPLE_TENANT, SAMPLE_FUNCTION, SAMPLE_ALIAS = "acme", "hello", "prod"
SAMPLE_DIGEST = digest_of(b"")
MODULE_ATTRIBUTES: Mapping[str, Attribute] = MappingProxyType(
    {
        "abi": Abi.STOCKADE_V1.value,
        "imports": (),
        "deterministic": True,
        "size_bytes": 1024,
        "signers": (),
        "builders": (),
        "sources": (),
    }
)
"""What is told of a module, as of one that asks for nothing."""
SAMPLE_VOUCHING = Vouching(
    SAMPLE_TENANT,
    "ci",
    "0" * 64,
    Resource(ResourceKind.MODULE, SAMPLE_TENANT, SAMPLE_DIGEST, MODULE_ATTRIBUTES),
)
_KINDS: dict[Action, tuple[ResourceKind, ...]] = {
    Action.UPLOAD: (ResourceKind.TENANT,),
    Action.PUSH_BLOB: (ResourceKind.TENANT,),
    Action.DELETE_ARTIFACT: (ResourceKind.TENANT,),
    Action.ADMIT: (ResourceKind.MODULE,),
    Action.DEPLOY: (ResourceKind.FUNCTION,),
    Action.POINT_ALIAS: (ResourceKind.FUNCTION,),
}
_NAMES = {ResourceKind.FUNCTION: SAMPLE_FUNCTION, ResourceKind.MODULE: SAMPLE_DIGEST}


def deploy_context(
    grants: tuple[str, ...] = (), limits: Limits = DEFAULT_LIMITS
) -> dict[str, Attribute]:
    """What is told of a deploy with these grants and limits.

    Raises:
        StockadeError: `function.grant_…`.
    """
    parsed = parse_grants(grants)
    return {
        "grants": grants,
        "grant_kinds": tuple(sorted({grant.partition(":")[0] for grant in grants})),
        "hosts": tuple(sorted({grant.host for grant in parsed.http})),
        "fuel": limits.fuel,
        "memory_bytes": limits.memory_bytes,
        "wall_ms": limits.wall_ms,
    }


def resource_kinds(action: Action) -> tuple[ResourceKind, ...]:
    """What the action is asked of."""
    return _KINDS.get(action, (ResourceKind.TENANT, ResourceKind.FUNCTION))


def question(
    principal: Principal,
    action: Action,
    kind: ResourceKind,
    name: str | None = None,
    attributes: Mapping[str, Attribute] = MappingProxyType({}),
    context: Mapping[str, Attribute] | None = None,
    tenant: str | None = None,
) -> Question:
    """A whole question out of what is particular about it.

    Args:
        principal: Who asks.
        action: For what.
        kind: To what; one of `resource_kinds`.
        name: The function's name or the module's digest.
        attributes: What differs of the module, if there is one.
        context: What is told of the deploy or of the alias, if it is about one; else as of one that
            asks for nothing.
        tenant: Whose the resource is, if not the principal's.
    """
    of = tenant or principal.tenant
    module = Resource(ResourceKind.MODULE, of, SAMPLE_DIGEST, {**MODULE_ATTRIBUTES, **attributes})
    if kind is ResourceKind.MODULE:
        own = Resource(kind, of, name or SAMPLE_DIGEST, module.attributes)
        return Question(principal, action, own)
    resource = Resource(kind, of, of if kind is ResourceKind.TENANT else name or _NAMES[kind])
    if action is Action.POINT_ALIAS:
        return Question(principal, action, resource, context or {"alias": SAMPLE_ALIAS})
    if action is not Action.DEPLOY:
        return Question(principal, action, resource)
    told = deploy_context() if context is None else context
    return Question(principal, action, resource, told, module)


def every_question() -> Iterator[Question]:
    """One of each sort."""
    for caller in Kind:
        principal = Principal(SAMPLE_TENANT, "sample", Role.VIEWER, kind=caller)
        for action in Action:
            for kind in resource_kinds(action):
                yield question(principal, action, kind)
