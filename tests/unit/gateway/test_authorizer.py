"""The authorizer: scopes first, then policies, whose answers are kept until they change."""

from dataclasses import dataclass, field, replace

import pytest

from gateway.authorizer import Authorizer
from stockade.core.actions import Action
from stockade.core.authorization import Decision, Question, ResourceKind, Vouching
from stockade.core.errors import StockadeError
from stockade.core.policy_questions import question
from stockade.core.principals import Kind, Principal, Role

CALLER = Principal("acme", "k1", Role.DEVELOPER)


@dataclass
class ScriptedEngine:
    """The `PolicyEngine` port: answers as it is told, and remembers what it was asked."""

    decision: Decision = field(default_factory=lambda: Decision(allowed=True))
    version: str = "1"
    alarm: str | None = None
    asked: list[Question] = field(default_factory=list)

    def decide(self, question: Question) -> Decision:
        self.asked.append(question)
        return self.decision

    def vouches(self, vouching: Vouching) -> Decision:
        del vouching
        return self.decision


def refusal(authorizer: Authorizer, action: Action, function: str | None = None) -> StockadeError:
    with pytest.raises(StockadeError) as caught:
        authorizer.check(CALLER, action, function)
    return caught.value


def test_an_answer_is_kept_for_the_same_principal_action_and_function() -> None:
    engine = ScriptedEngine()
    authorizer = Authorizer(engine)
    for _ in range(3):
        authorizer.check(CALLER, Action.INVOKE, "f")
    assert len(engine.asked) == 1
    authorizer.check(CALLER, Action.INVOKE, "g")
    authorizer.check(CALLER, Action.READ, "f")
    authorizer.check(CALLER, Action.READ)
    assert [one.resource.kind for one in engine.asked[-2:]] == [
        ResourceKind.FUNCTION,
        ResourceKind.TENANT,
    ]
    others = (
        replace(CALLER, id="k2"),
        replace(CALLER, tenant="other"),
        replace(CALLER, role=Role.ADMIN),
        replace(CALLER, scopes=("invoke",)),
        replace(CALLER, kind=Kind.WORKLOAD),
        replace(CALLER, claims=(("a", "b"),)),
    )
    for caller in others:
        authorizer.check(caller, Action.INVOKE, "f")
    assert len(engine.asked) == 4 + len(others)


def test_a_denial_is_kept_too_and_names_its_policies() -> None:
    engine = ScriptedEngine(Decision(allowed=False, policies=("night", "x")))
    authorizer = Authorizer(engine)
    for _ in range(2):
        error = refusal(authorizer, Action.INVOKE, "f")
        assert error.code == "auth.denied"
        assert error.detail == {"action": "invoke", "policies": ["night", "x"]}
        assert "The policy 'night', 'x' forbids 'invoke'" in error.message
    assert len(engine.asked) == 1


def test_no_policy_is_told_by_role() -> None:
    error = refusal(Authorizer(ScriptedEngine(Decision(allowed=False))), Action.MANAGE_KEYS)
    assert (error.code, error.detail["policies"]) == ("auth.denied", [])
    assert "No policy permits 'manage_keys' to the role 'developer'" in error.message


def test_a_failed_policy_denies_under_a_code_of_its_own() -> None:
    failed = Decision(allowed=False, policies=("broken",), failed=True)
    error = refusal(Authorizer(ScriptedEngine(failed)), Action.INVOKE)
    assert error.code == "auth.policy_failed"
    assert error.detail == {"action": "invoke", "policies": ["broken"]}


def test_a_change_of_policies_drops_what_was_kept() -> None:
    engine = ScriptedEngine()
    authorizer = Authorizer(engine)
    authorizer.check(CALLER, Action.INVOKE, "f")
    engine.decision = Decision(allowed=False)
    authorizer.check(CALLER, Action.INVOKE, "f")
    engine.version = "2"
    refusal(authorizer, Action.INVOKE, "f")
    engine.decision, engine.version = Decision(allowed=True), "3"
    authorizer.check(CALLER, Action.INVOKE, "f")


def test_an_answer_that_a_change_overtook_is_not_kept() -> None:
    class Overtaken(ScriptedEngine):
        def decide(self, question: Question) -> Decision:
            answer = super().decide(question)
            self.version = f"{len(self.asked)}th"
            return answer

    engine = Overtaken()
    authorizer = Authorizer(engine)
    for number in range(3):
        authorizer.check(CALLER, Action.INVOKE, "f")
        assert len(engine.asked) == number + 1


def test_scopes_come_before_policies_and_are_not_kept() -> None:
    engine = ScriptedEngine()
    authorizer = Authorizer(engine)
    narrow = replace(CALLER, scopes=("invoke:f",))
    authorizer.check(narrow, Action.INVOKE, "f")
    for function in ("g", None):
        with pytest.raises(StockadeError, match="lacks the scope"):
            authorizer.check(narrow, Action.INVOKE, function)
    with pytest.raises(StockadeError) as caught:
        authorizer.check_question(question(narrow, Action.DEPLOY, ResourceKind.FUNCTION, "f"))
    assert caught.value.code == "auth.scope_missing"
    assert len(engine.asked) == 1


def test_what_modules_and_deploys_are_made_of_is_asked_anew() -> None:
    engine = ScriptedEngine()
    authorizer = Authorizer(engine)
    asked = question(CALLER, Action.DEPLOY, ResourceKind.FUNCTION)
    authorizer.check_question(asked)
    engine.decision = Decision(allowed=False, policies=("no",))
    with pytest.raises(StockadeError) as caught:
        authorizer.check_question(asked)
    assert caught.value.detail == {"action": "deploy", "policies": ["no"]}
    assert engine.asked == [asked, asked]


def test_what_is_kept_is_bounded() -> None:
    engine = ScriptedEngine()
    authorizer = Authorizer(engine, max_kept=10)
    for number in range(100):
        authorizer.check(CALLER, Action.INVOKE, f"f{number}")
        assert authorizer.kept <= 10
    authorizer.check(CALLER, Action.INVOKE, "f99")
    assert len(engine.asked) == 100
