"""`stockade policy simulate`: who could do that, and what could this principal do?"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Annotated

import typer

from stockade.cli.options import JsonFlag, pairs, whole_numbers
from stockade.cli.policy_words import Directory, PolicyDir, answer, by, load, locate, resource_of
from stockade.cli.reporting import reported
from stockade.cli.words import print_json, print_table
from stockade.core.actions import Action
from stockade.core.authorization import Attribute, Decision, Question, ResourceKind
from stockade.core.limits import HARD_CEILINGS, Limits, limits_from_request
from stockade.core.policy_cases import answer_to
from stockade.core.policy_questions import (
    MODULE_ATTRIBUTES,
    SAMPLE_TENANT,
    deploy_context,
    question,
    resource_kinds,
)
from stockade.core.principals import Kind, Principal, Role, check_scopes

if TYPE_CHECKING:
    from stockade.infra.cedar_policies import CedarPolicies

_WHO, _WHAT = "Who asks", "What it is about"

_Roles = Annotated[
    list[Role],
    typer.Option("--role", help="Only this role. Default: every one.", rich_help_panel=_WHO),
]
_Kinds = Annotated[
    list[Kind],
    typer.Option("--kind", help="Only keys, or only workloads.", rich_help_panel=_WHO),
]
_Tenant = Annotated[str, typer.Option(help="The caller's tenant.", rich_help_panel=_WHO)]
_Id = Annotated[
    str, typer.Option("--id", help="The key's id, or ISSUER|SUBJECT.", rich_help_panel=_WHO)
]
_Scopes = Annotated[
    list[str],
    typer.Option("--scope", help="A scope of the credential.", rich_help_panel=_WHO),
]
_Claims = Annotated[
    list[str],
    typer.Option(
        "--claim", metavar="NAME=VALUE", help="What a workload's token says.", rich_help_panel=_WHO
    ),
]
_Actions = Annotated[
    list[Action],
    typer.Option("--action", help="Only this action. Default: every one.", rich_help_panel=_WHAT),
]
_Function = Annotated[
    str | None,
    typer.Option(
        "--function",
        help="On this function. Default: the tenant as a whole, or a function 'hello'.",
        show_default=False,
        rich_help_panel=_WHAT,
    ),
]
_Of = Annotated[
    str | None,
    typer.Option("--of", help="Whose it is. Default: the caller's.", rich_help_panel=_WHAT),
]
_Grants = Annotated[
    list[str], typer.Option("--grant", help="A grant of the deploy.", rich_help_panel=_WHAT)
]
_Limits = Annotated[
    list[str],
    typer.Option(
        "--limit", metavar="NAME=NUMBER", help="A limit of the deploy.", rich_help_panel=_WHAT
    ),
]
_Module = Annotated[
    list[str],
    typer.Option(
        "--module",
        metavar="NAME=VALUE",
        help="What is known of the module: signers=ci,lead abi=wasi:preview1 imports=… …",
        rich_help_panel=_WHAT,
    ),
]


@dataclass(frozen=True, slots=True)
class _Answer:
    question: Question
    decision: Decision


@reported
def simulate(  # noqa: PLR0913 - one for each option
    directory: Directory = None,
    *,
    action: _Actions = [],  # noqa: B006 - Typer reads the default, nobody changes it
    function: _Function = None,
    of: _Of = None,
    module: _Module = [],  # noqa: B006 - likewise
    grant: _Grants = [],  # noqa: B006 - likewise
    limit: _Limits = [],  # noqa: B006 - likewise
    role: _Roles = [],  # noqa: B006 - likewise
    kind: _Kinds = [],  # noqa: B006 - likewise
    tenant: _Tenant = SAMPLE_TENANT,
    key_id: _Id = "sample",
    scope: _Scopes = [],  # noqa: B006 - likewise
    claim: _Claims = [],  # noqa: B006 - likewise
    policies: PolicyDir = None,
    as_json: JsonFlag = False,
) -> None:
    """Ask the policies: who could do that, or what could this principal do, and by which policy?

    Who could deploy prod-api: --action deploy --function prod-api

    What could a developer do: --role developer
    """
    callers = [
        Principal(tenant, key_id, one, check_scopes(scope), sort, _claims(sort, claim))
        for sort, one in product(kind or list(Kind), role or list(Role))
    ]
    told = _attributes(module)
    context = deploy_context(tuple(sorted(grant)), _limits(limit))
    asked = [
        question(caller, one, sort, function, told, context, of)
        for caller in callers
        for one in action or list(Action)
        for sort in _sorts(one, function)
    ]
    engine = load(locate(directory, policies))
    _show(engine, list(_answers(engine, asked)), as_json=as_json)


def _sorts(action: Action, function: str | None) -> Iterator[ResourceKind]:
    kinds = resource_kinds(action)
    if len(kinds) == 1:
        yield kinds[0]
    else:
        yield ResourceKind.TENANT if function is None else ResourceKind.FUNCTION


def _answers(engine: "CedarPolicies", asked: list[Question]) -> Iterator[_Answer]:
    for one in asked:
        yield _Answer(one, answer_to(engine, one))


def _claims(kind: Kind, texts: list[str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(pairs("--claim", texts).items())) if kind is Kind.WORKLOAD else ()


def _limits(texts: list[str]) -> Limits:
    return limits_from_request(whole_numbers("--limit", texts), ceilings=HARD_CEILINGS)


def _attributes(texts: list[str]) -> dict[str, Attribute]:
    return {name: _attribute(name, text) for name, text in pairs("--module", texts).items()}


def _attribute(name: str, text: str) -> Attribute:
    known = MODULE_ATTRIBUTES.get(name)
    if known is None:
        names = ", ".join(MODULE_ATTRIBUTES)
        raise typer.BadParameter(f"A module has {names}, no {name!r}.", param_hint="--module")
    if isinstance(known, bool):
        return text == "true"
    if isinstance(known, int):
        return whole_numbers("--module", [f"{name}={text}"])[name]
    return text if isinstance(known, str) else tuple(text.split(","))


def _show(engine: "CedarPolicies", answers: list[_Answer], *, as_json: bool) -> None:
    if as_json:
        print_json({"version": engine.version, "answers": [_facts(one) for one in answers]})
        return
    print_table(("kind", "role", "action", "resource", "answer", "by"), map(_row, answers))


def _row(one: _Answer) -> tuple[str, ...]:
    asked, said = one.question, one.decision
    return (
        asked.principal.kind.value,
        asked.principal.role.value,
        asked.action.value,
        resource_of(asked),
        "failed" if said.failed else answer(allowed=said.allowed),
        by(said.policies),
    )


def _facts(one: _Answer) -> dict[str, object]:
    asked, said = one.question, one.decision
    return {
        "kind": asked.principal.kind.value,
        "role": asked.principal.role.value,
        "action": asked.action.value,
        "resource": asked.resource.kind.value,
        "name": asked.resource.name,
        "tenant": asked.resource.tenant,
        "allowed": said.allowed,
        "policies": list(said.policies),
        "failed": said.failed,
    }
