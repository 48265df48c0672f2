"""Reads the cases beside the policies: `*.cases.toml`, see `docs/how-to/policies.md`."""

from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Literal

import msgspec

from stockade.core.actions import Action
from stockade.core.authorization import Attribute, Question, Resource, ResourceKind, Vouching
from stockade.core.errors import StockadeError
from stockade.core.limits import HARD_CEILINGS, limits_from_request
from stockade.core.policy_cases import Case
from stockade.core.policy_questions import (
    MODULE_ATTRIBUTES,
    SAMPLE_DIGEST,
    SAMPLE_TENANT,
    deploy_context,
    question,
    resource_kinds,
)
from stockade.core.principals import Kind, Principal, Role, check_scopes
from stockade.infra.policies.toml_files import load_toml

_VOUCH = "vouch"
_Told = str | int | bool | list[str]


class _Principal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    role: Role | list[Role]
    kind: Kind = Kind.KEY
    tenant: str = SAMPLE_TENANT
    id: str = "sample"
    scopes: list[str] = []
    claims: dict[str, str] = {}


class _Resource(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    tenant: str | None = None
    function: str | None = None


class _Deploy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    grants: list[str] = []
    limits: dict[str, int] = {}


class _Signer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str = "ci"
    tenant: str = SAMPLE_TENANT
    public_key: str = "0" * 64


class _Case(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    action: str | list[str]
    expect: Literal["allow", "deny"]
    by: list[str] | None = None
    principal: _Principal | None = None
    signer: _Signer | None = None
    resource: _Resource = _Resource()
    module: dict[str, _Told] = {}
    deploy: _Deploy = _Deploy()
    alias: str | None = None


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    case: list[_Case]


def load_cases(directory: Path) -> list[Case]:
    """The cases of all files in the directory, one for each role and action that they name.

    Raises:
        StockadeError: `config.cases_invalid`.
    """
    return [case for path in sorted(directory.glob("*.cases.toml")) for case in _of_file(path)]


def _of_file(path: Path) -> list[Case]:
    place = path.name
    try:
        file = load_toml(path, _File)
        found: list[Case] = []
        for number, case in enumerate(file.case, 1):
            place = f"{path.name}: case {number} ({case.name!r})"
            found += _cases(f"{path.name}:{number}", case)
    except (OSError, ValueError) as error:
        raise StockadeError("config.cases_invalid", f"{place}: {error}.") from error
    except StockadeError as error:
        raise StockadeError("config.cases_invalid", f"{place}: {error.message}") from error
    return found


def _cases(place: str, case: _Case) -> Iterator[Case]:
    by = None if case.by is None else frozenset(case.by)
    for asked in _questions(case):
        yield Case(place, case.name, asked, case.expect == "allow", by)


def _questions(case: _Case) -> Iterator[Question | Vouching]:
    module = told_of_module(case.module)
    actions = case.action if isinstance(case.action, list) else [case.action]
    if actions == [_VOUCH]:
        yield _vouching(case, module)
        return
    if case.principal is None or case.signer is not None:
        raise ValueError("a principal asks; a signer only for the action 'vouch'")
    roles = case.principal.role
    for role, action in product(roles if isinstance(roles, list) else [roles], actions):
        yield _question(case, _caller(case.principal, role), Action(action), module)


def _question(
    case: _Case, caller: Principal, action: Action, module: dict[str, Attribute]
) -> Question:
    wanted = ResourceKind.TENANT if case.resource.function is None else ResourceKind.FUNCTION
    kinds = resource_kinds(action)
    kind = wanted if len(kinds) > 1 else kinds[0]
    if case.resource.function is not None and kind is not ResourceKind.FUNCTION:
        raise ValueError(f"{action.value!r} is asked of no function")
    if case.module and action not in {Action.ADMIT, Action.DEPLOY}:
        raise ValueError(f"nothing is told of a module when {action.value!r} is asked")
    of = case.resource
    return question(caller, action, kind, of.function, module, _context(case, action), of.tenant)


def _context(case: _Case, action: Action) -> dict[str, Attribute] | None:
    if case.deploy != _Deploy() and action is not Action.DEPLOY:
        raise ValueError(f"nothing is told of a deploy when {action.value!r} is asked")
    if case.alias is not None and action is not Action.POINT_ALIAS:
        raise ValueError(f"nothing is told of an alias when {action.value!r} is asked")
    if case.alias is not None:
        return {"alias": case.alias}
    if action is not Action.DEPLOY:
        return None
    limits = limits_from_request(case.deploy.limits, ceilings=HARD_CEILINGS)
    return deploy_context(tuple(sorted(case.deploy.grants)), limits)


def _caller(asked: _Principal, role: Role) -> Principal:
    if asked.claims and asked.kind is not Kind.WORKLOAD:
        raise ValueError("only a workload has claims; give kind = 'workload'")
    scopes, claims = check_scopes(asked.scopes), tuple(sorted(asked.claims.items()))
    return Principal(asked.tenant, asked.id, role, scopes, asked.kind, claims)


def _vouching(case: _Case, module: Mapping[str, Attribute]) -> Vouching:
    if case.signer is None or case.principal is not None:
        raise ValueError("a signer vouches, no principal")
    signer, tenant = case.signer, case.resource.tenant or SAMPLE_TENANT
    of = Resource(ResourceKind.MODULE, tenant, SAMPLE_DIGEST, {**MODULE_ATTRIBUTES, **module})
    return Vouching(signer.tenant, signer.name, signer.public_key, of)


def told_of_module(told: Mapping[str, _Told]) -> dict[str, Attribute]:
    """What differs of a module.

    Raises:
        ValueError: Modules have no such attribute, or it is of another type.
    """
    found: dict[str, Attribute] = {}
    for name, value in told.items():
        known = MODULE_ATTRIBUTES.get(name)
        given = tuple(value) if isinstance(value, list) else value
        if known is None or type(known) is not type(given):
            shown = ", ".join(f"{one} ({_type(value)})" for one, value in MODULE_ATTRIBUTES.items())
            raise ValueError(f"a module has no {name!r} of this type; it has {shown}")
        found[name] = given
    return found


def _type(value: Attribute) -> str:
    return {str: "text", int: "number", bool: "true or false"}.get(type(value), "list of texts")
