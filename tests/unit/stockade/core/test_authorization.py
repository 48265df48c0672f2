"""What is asked of policies has the words of the policies, and what is left out allows nothing."""

from stockade.core.actions import Action
from stockade.core.authorization import Decision, Question, Resource, ResourceKind, Vouching
from stockade.core.principals import Principal


def test_a_question_says_no_more_than_it_was_told() -> None:
    resource = Resource(ResourceKind.TENANT, "acme", "acme")
    question = Question(Principal("acme", "k"), Action.READ, resource)
    assert (dict(resource.attributes), dict(question.context), question.module) == ({}, {}, None)


def test_a_denial_names_nothing_and_has_not_failed_by_itself() -> None:
    assert Decision(allowed=False) == Decision(allowed=False, policies=(), failed=False)


def test_kinds_are_the_types_that_policies_know() -> None:
    assert [str(kind) for kind in ResourceKind] == ["Tenant", "Function", "Module"]
    module = Resource(ResourceKind.MODULE, "acme", "sha256:00")
    assert Vouching("acme", "ci", "00", module).module is module
