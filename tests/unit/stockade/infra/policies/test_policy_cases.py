"""Cases beside the policies: read strictly; those that are shipped hold, by the policies named."""

import re
import shutil
from pathlib import Path

import pytest

from stockade.core.actions import Action
from stockade.core.authorization import Decision, Question
from stockade.core.errors import StockadeError
from stockade.core.policy_cases import SCOPES, Case, Judged, answer_to, judge
from stockade.core.policy_questions import every_question, question, resource_kinds
from stockade.core.principals import Principal, Role
from stockade.infra.policies.cedar_policies import CedarPolicies
from stockade.infra.policies.policy_cases import load_cases
from tests.unit.stockade.infra.policies.policy_files import SHIPPED

EXAMPLES = SHIPPED.parent / "examples"
CASE = '[[case]]\nname = "n"\nprincipal = { role = "admin" }\naction = "read"\nexpect = "allow"\n'


def failing(directory: Path) -> list[str]:
    engine = CedarPolicies.load(directory)
    cases = load_cases(directory)
    assert cases
    judged = [judge(engine, case) for case in cases]
    decided = {name for one in judged for name in one.decision.policies}
    assert decided >= set(engine.ids), f"no case is decided by {set(engine.ids) - decided}"
    return [f"{one.case.place} {one.case.name}: {one.decision}" for one in judged if not one.holds]


def test_the_shipped_cases_hold_and_leave_no_policy_out() -> None:
    assert failing(SHIPPED) == []


@pytest.mark.parametrize("name", sorted(path.stem for path in EXAMPLES.glob("*.cedar")))
def test_an_example_holds_beside_the_shipped_policies(tmp_path: Path, name: str) -> None:
    shutil.copytree(SHIPPED, tmp_path, dirs_exist_ok=True)
    for suffix in ("cedar", "cases.toml"):
        shutil.copy(EXAMPLES / f"{name}.{suffix}", tmp_path)
    own = {case.place for case in load_cases(tmp_path) if case.place.startswith(name)}
    assert len(own) >= 2
    assert [one for one in failing(tmp_path) if one.startswith(name)] == []
    assert f"`{name}.cedar`" in (EXAMPLES / "README.md").read_text(encoding="utf-8")


def test_the_rules_and_cases_of_the_how_to_hold(tmp_path: Path) -> None:
    page = (SHIPPED.parents[1] / "docs" / "how-to" / "policies.md").read_text(encoding="utf-8")
    for fence, name in (("cedar", "shop.cedar"), ("toml", "shop.cases.toml")):
        (block,) = re.findall(rf"^```{fence}\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
        (tmp_path / name).write_text(block, encoding="utf-8")
    shutil.copytree(SHIPPED, tmp_path, dirs_exist_ok=True)
    assert failing(tmp_path) == []


def test_a_case_is_one_for_each_role_and_action(tmp_path: Path) -> None:
    text = CASE.replace('role = "admin"', 'role = ["viewer", "admin"]')
    (tmp_path / "a.cases.toml").write_text(text.replace('"read"', '["read", "invoke", "admit"]'))
    cases = load_cases(tmp_path)
    asked = [case.question for case in cases if isinstance(case.question, Question)]
    assert [(one.principal.role, one.action) for one in asked] == [
        (role, action)
        for role in (Role.VIEWER, Role.ADMIN)
        for action in (Action.READ, Action.INVOKE, Action.ADMIT)
    ]
    assert {case.place for case in cases} == {"a.cases.toml:1"}
    assert {case.policies for case in cases} == {None}


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("[[case]]", "[[case]", "a.cases.toml: "),
        ("[[case]]", "[[cases]]", "unknown field `cases`"),
        ("expect =", "expects =", "unknown field `expects`"),
        ('"allow"', '"maybe"', "Invalid enum value 'maybe'"),
        ('"admin"', '"boss"', "Invalid enum value 'boss'"),
        ('"read"', '"reed"', "case 1 ('n'): 'reed' is not a valid Action"),
        ('"read"', '"vouch"', "a signer vouches, no principal"),
        ('"read"', '["vouch", "read"]', "'vouch' is not a valid Action"),
        ("principal", "signer", "unknown field `role`"),
        ('principal = { role = "admin" }', "signer = {}", "a principal asks"),
        ('principal = { role = "admin" }', "", "a principal asks"),
        ("expect", 'module = { abi = "x" }\nexpect', "nothing is told of a module"),
        ("expect", 'deploy = { grants = ["log"] }\nexpect', "nothing is told of a deploy"),
        ('"admin"', '"admin", claims = { a = "b" }', "only a workload has claims"),
        ('"admin"', '"admin", scopes = ["nothing"]', "There is no scope 'nothing'"),
        ('"read"', '"deploy"\nmodule = { size = 1 }', "a module has no 'size'"),
        ('"read"', '"deploy"\nmodule = { size_bytes = "x" }', "a module has no 'size_bytes' of"),
        ('"read"', '"deploy"\nmodule = { deterministic = 1 }', "deterministic (true or false)"),
        ('"read"', '"deploy"\ndeploy = { limits = { fule = 1 } }', "There is no limit 'fule'"),
        ('"read"', '"deploy"\ndeploy = { grants = ["fly"] }', "fly"),
        ("expect", 'alias = "prod"\nexpect', "nothing is told of an alias"),
        ('"read"', '"upload"\nresource = { function = "f" }', "'upload' is asked of no function"),
    ],
)
def test_a_case_that_says_nothing_sound_is_refused(
    tmp_path: Path, old: str, new: str, what: str
) -> None:
    assert old in CASE
    (tmp_path / "a.cases.toml").write_text(CASE.replace(old, new, 1))
    with pytest.raises(StockadeError) as caught:
        load_cases(tmp_path)
    assert caught.value.code == "config.cases_invalid"
    assert what in caught.value.message
    assert caught.value.message.startswith("a.cases.toml: ")


def judged(decision: Decision, allowed: bool, policies: set[str] | None) -> bool:  # noqa: FBT001
    named = None if policies is None else frozenset(policies)
    return Judged(Case("p", "n", next(every_question()), allowed, named), decision).holds


def test_a_case_holds_when_answer_and_policies_are_the_wanted_ones() -> None:
    allowed, denied = Decision(allowed=True, policies=("a", "b")), Decision(allowed=False)
    assert judged(allowed, True, None)
    assert judged(allowed, True, {"b", "a"})
    assert judged(denied, False, set())
    assert judged(denied, False, None)
    assert not judged(allowed, True, {"a"})
    assert not judged(allowed, True, set())
    assert not judged(allowed, False, None)
    assert not judged(denied, True, None)
    assert not judged(Decision(allowed=False, policies=("a",), failed=True), False, {"a"})


def test_scopes_answer_first_as_in_a_gateway() -> None:
    engine = CedarPolicies.load(SHIPPED)
    caller = Principal("acme", "k", Role.ADMIN, ("deploy:f",))
    for action, name, by in (
        (Action.DEPLOY, "f", "developers-deploy"),
        (Action.DEPLOY, "g", SCOPES),
        (Action.ADMIT, None, "developers-deploy"),
        (Action.READ, None, SCOPES),
    ):
        asked = question(caller, action, resource_kinds(action)[0], name)
        assert answer_to(engine, asked).policies == (by,)
