"""`stockade policy`: check, test and try policies before gateways and workers read them."""

from typing import TYPE_CHECKING

import typer

from stockade.cli import policy_simulation, policy_who
from stockade.cli.options import JsonFlag
from stockade.cli.policy_words import (
    Directory,
    PolicyDir,
    answer,
    asked_of,
    by,
    load,
    load_plans,
    locate,
)
from stockade.cli.reporting import reported
from stockade.cli.words import EXIT_PLATFORM, print_json, print_table, say
from stockade.core.policy_cases import Judged, judge

if TYPE_CHECKING:
    from stockade.infra.policies.cedar_policies import CedarPolicies

app = typer.Typer(
    no_args_is_help=True,
    help="Check, test and try policies before they are in force.",
)
app.command("simulate")(policy_simulation.simulate)
app.command("who")(policy_who.who)


@app.command()
@reported
def check(
    directory: Directory = None, *, policies: PolicyDir = None, as_json: JsonFlag = False
) -> None:
    """Read the policies as a gateway does: is every one sound, named, and within the schema?

    Without DIR, the plans of the directory of policies are read too.
    """
    engine = load(locate(directory, policies))
    plans = None if directory is not None else load_plans(policies)
    if as_json:
        print_json({"version": engine.version, "policies": list(engine.ids)})
        return
    say(f"{len(engine.ids)} policies are sound. Their version is {engine.version}.")
    if plans is not None:
        default, own = plans.default.name, len(plans.tenants)
        say(f"The plans are sound. The default is {default!r}; {own} tenants have their own.")


@app.command("test")
@reported
def run_tests(
    directory: Directory = None, *, policies: PolicyDir = None, as_json: JsonFlag = False
) -> None:
    """Run the cases beside the policies (*.cases.toml); exits with 1 when one does not hold."""
    from stockade.infra.policies.policy_cases import load_cases  # noqa: PLC0415 - keeps --help fast

    place = locate(directory, policies)
    engine = load(place)
    judged = [judge(engine, case) for case in load_cases(place)]
    _show_judged(engine, judged, as_json=as_json)
    if not judged or not all(one.holds for one in judged):
        raise typer.Exit(EXIT_PLATFORM)


def _show_judged(engine: "CedarPolicies", judged: list[Judged], *, as_json: bool) -> None:
    differing = [one for one in judged if not one.holds]
    silent = sorted(set(engine.ids) - {name for one in judged for name in one.decision.policies})
    if as_json:
        facts = {"version": engine.version, "cases": len(judged), "undecided": silent}
        print_json(facts | {"differing": [_facts(one) for one in differing]})
        return
    if differing:
        head = ("case", "asked", "wanted", "by", "said", "by")
        print_table(head, [_row(one) for one in differing])
    if silent:
        say(f"No case is decided by: {', '.join(silent)}.")
    if not judged:
        say("There are no cases. Write some beside the policies, in NAME.cases.toml.")
    say(f"{len(judged) - len(differing)} of {len(judged)} cases hold.")


def _row(one: Judged) -> tuple[str, ...]:
    wanted, said = one.case.policies, one.decision
    return (
        f"{one.case.place} {one.case.name}",
        asked_of(one.case.question),
        answer(allowed=one.case.allowed),
        "(any)" if wanted is None else by(wanted),
        "failed" if said.failed else answer(allowed=said.allowed),
        by(said.policies),
    )


def _facts(one: Judged) -> dict[str, object]:
    case, said = one.case, one.decision
    return {
        "place": case.place,
        "name": case.name,
        "asked": asked_of(case.question),
        "wanted": answer(allowed=case.allowed),
        "wanted_by": None if case.policies is None else sorted(case.policies),
        "said": answer(allowed=said.allowed),
        "said_by": list(said.policies),
        "failed": said.failed,
        "reason": said.reason,
    }
