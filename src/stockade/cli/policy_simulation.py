"""`stockade policy simulate`: who could do that, and what could this principal do?"""

from collections.abc import Iterator, Mapping
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
from stockade.core.limits import HARD_CEILINGS, limits_from_request
from stockade.core.policy_cases import answer_to
from stockade.core.policy_questions import (
    MODULE_ATTRIBUTES,
    SAMPLE_ALIAS,
    SAMPLE_TENANT,
    deploy_context,
    question,
    resource_kinds,
)
from stockade.core.principals import Kind, Principal, Role, check_scopes

if TYPE_CHECKING:
    from stockade.infra.policies.cedar_policies import CedarPolicies

_WHO, _WHAT = "Who asks", "What it is about"

Roles = Annotated[
    list[Role],
    typer.Option("--role", help="Only this role. Default: every one.", rich_help_panel=_WHO),
]
Kinds = Annotated[
    list[Kind],
    typer.Option("--kind", help="Only keys, or only workloads.", rich_help_panel=_WHO),
]
Tenant = Annotated[str, typer.Option(help="The caller's tenant.", rich_help_panel=_WHO)]
Id = Annotated[
    str, typer.Option("--id", help="The key's id, or ISSUER|SUBJECT.", rich_help_panel=_WHO)
]
Scopes = Annotated[
    list[str],
    typer.Option("--scope", help="A scope of the credential.", rich_help_panel=_WHO),
]
Claims = Annotated[
    list[str],
    typer.Option(
        "--claim", metavar="NAME=VALUE", help="What a workload's token says.", rich_help_panel=_WHO
    ),
]
Actions = Annotated[
    list[Action],
    typer.Option("--action", help="Only this action. Default: every one.", rich_help_panel=_WHAT),
]
Function = Annotated[
    str | None,
    typer.Option(
        "--function",
        help="On this function. Default: the tenant as a whole, or a function 'hello'.",
        show_default=False,
        rich_help_panel=_WHAT,
    ),
]
Of = Annotated[
    str | None,
    typer.Option("--of", help="Whose it is. Default: the caller's.", rich_help_panel=_WHAT),
]
AliasOf = Annotated[
    str, typer.Option("--alias", help="The alias that is pointed.", rich_help_panel=_WHAT)
]
Grants = Annotated[
    list[str], typer.Option("--grant", help="A grant of the deploy.", rich_help_panel=_WHAT)
]
Limits = Annotated[
    list[str],
    typer.Option(
        "--limit", metavar="NAME=NUMBER", help="A limit of the deploy.", rich_help_panel=_WHAT
    ),
]
Module = Annotated[
    list[str],
    typer.Option(
        "--module",
        metavar="NAME=VALUE",
        help="What is known of the module: signers=ci,lead abi=wasi:preview1 imports=… …",
        rich_help_panel=_WHAT,
    ),
]


HEAD = ("action", "resource", "answer", "by")


@dataclass(frozen=True, slots=True)
class Subject:
    """What is asked about, whoever asks."""

    function: str | None
    tenant: str | None
    module: Mapping[str, Attribute]
    deploy: Mapping[str, Attribute]
    alias: str = SAMPLE_ALIAS

    def context_of(self, action: Action) -> Mapping[str, Attribute]:
        """What is told beside the resource."""
        return {"alias": self.alias} if action is Action.POINT_ALIAS else self.deploy


@dataclass(frozen=True, slots=True)
class Answer:
    """A question, and what was said."""

    question: Question
    decision: Decision

    @property
    def caller(self) -> Principal:
        """Who asked."""
        return self.question.principal


@reported
def simulate(  # noqa: PLR0913 - one for each option
    directory: Directory = None,
    *,
    action: Actions = [],  # noqa: B006 - Typer reads the default, nobody changes it
    function: Function = None,
    of: Of = None,
    alias: AliasOf = SAMPLE_ALIAS,
    module: Module = [],  # noqa: B006 - likewise
    grant: Grants = [],  # noqa: B006 - likewise
    limit: Limits = [],  # noqa: B006 - likewise
    role: Roles = [],  # noqa: B006 - likewise
    kind: Kinds = [],  # noqa: B006 - likewise
    tenant: Tenant = SAMPLE_TENANT,
    key_id: Id = "sample",
    scope: Scopes = [],  # noqa: B006 - likewise
    claim: Claims = [],  # noqa: B006 - likewise
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
    subject = Subject(function, of, told_of_module(module), told_of_deploy(grant, limit), alias)
    engine = load(locate(directory, policies))
    found = list(answers(engine, callers, action or list(Action), subject))
    if as_json:
        print_json({"version": engine.version, "answers": [facts_of(one) for one in found]})
        return
    rows = ((one.caller.kind.value, one.caller.role.value, *row_of(one)) for one in found)
    print_table(("kind", "role", *HEAD), rows)


def answers(
    engine: "CedarPolicies", callers: list[Principal], actions: list[Action], subject: Subject
) -> Iterator[Answer]:
    """What the policies say to each caller about each action."""
    for caller, action in product(callers, actions):
        kinds, of_function = resource_kinds(action), subject.function is not None
        among_several = ResourceKind.FUNCTION if of_function else ResourceKind.TENANT
        asked = question(
            caller,
            action,
            kinds[0] if len(kinds) == 1 else among_several,
            subject.function,
            subject.module,
            subject.context_of(action),
            subject.tenant,
        )
        yield Answer(asked, answer_to(engine, asked))


def _claims(kind: Kind, texts: list[str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(pairs("--claim", texts).items())) if kind is Kind.WORKLOAD else ()


def told_of_deploy(grants: list[str], limits: list[str]) -> dict[str, Attribute]:
    """What `--grant` and `--limit` say.

    Raises:
        StockadeError: `function.grant_…`, `limits.…`.
    """
    asked = limits_from_request(whole_numbers("--limit", limits), ceilings=HARD_CEILINGS)
    return deploy_context(tuple(sorted(grants)), asked)


def told_of_module(texts: list[str]) -> dict[str, Attribute]:
    """What `--module` says."""
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


def row_of(one: Answer) -> tuple[str, ...]:
    """The columns of `HEAD`."""
    asked, said = one.question, one.decision
    shown = "failed" if said.failed else answer(allowed=said.allowed)
    return asked.action.value, resource_of(asked), shown, by(said.policies)


def facts_of(one: Answer) -> dict[str, object]:
    """The same for machines."""
    asked, said = one.question, one.decision
    return {
        "kind": one.caller.kind.value,
        "role": one.caller.role.value,
        "action": asked.action.value,
        "resource": asked.resource.kind.value,
        "name": asked.resource.name,
        "tenant": asked.resource.tenant,
        "allowed": said.allowed,
        "policies": list(said.policies),
        "failed": said.failed,
    }
