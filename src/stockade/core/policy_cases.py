"""Cases: what policies must say to one question, and by which policy."""

from dataclasses import dataclass

from stockade.core.authorization import Decision, Question, ResourceKind, Vouching
from stockade.core.errors import StockadeError
from stockade.core.ports import PolicyEngine

SCOPES = "(scopes)"
"""Stands for a policy where the credential's scopes decide; no policy can be named so."""


@dataclass(frozen=True, slots=True)
class Case:
    """One question, and the answer that is wanted.

    `policies` are those that must decide, in any order; `None` leaves that open, none at all says
    that no policy permits it. `place` is the file and the number of the case in it.
    """

    place: str
    name: str
    question: Question | Vouching
    allowed: bool
    policies: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Judged:
    """A case, and what was said."""

    case: Case
    decision: Decision

    @property
    def holds(self) -> bool:
        """Whether it is what was wanted; a policy that failed never is."""
        case, decision = self.case, self.decision
        named = case.policies is None or case.policies == set(decision.policies)
        return not decision.failed and case.allowed == decision.allowed and named


def judge(engine: PolicyEngine, case: Case) -> Judged:
    """What the policies say to the case."""
    asked = case.question
    answer = engine.vouches(asked) if isinstance(asked, Vouching) else answer_to(engine, asked)
    return Judged(case, answer)


def answer_to(engine: PolicyEngine, asked: Question) -> Decision:
    """What a gateway answers: scopes first, then the policies."""
    resource = asked.resource
    function = resource.name if resource.kind is ResourceKind.FUNCTION else None
    try:
        asked.principal.check_scope(asked.action, function)
    except StockadeError:
        return Decision(allowed=False, policies=(SCOPES,))
    return engine.decide(asked)
