"""Asks the policies, and remembers what they answered until they change."""

from gateway.trace import note_permits
from stockade.core.actions import Action
from stockade.core.authorization import Decision, Question, Resource, ResourceKind
from stockade.core.errors import StockadeError
from stockade.core.ports import PolicyEngine
from stockade.core.principals import Principal

_MAX_KEPT = 20_000


class Authorizer:
    """Allows or refuses. Scopes come first: no policy widens them.

    Args:
        engine: The policies.
        max_kept: How many answers are remembered at most.
    """

    def __init__(self, engine: PolicyEngine, max_kept: int = _MAX_KEPT) -> None:
        self._engine = engine
        self._version = engine.version
        self._max_kept = max_kept
        # By principal first, so that one with many claims is held once.
        self._kept: dict[Principal, dict[tuple[Action, str | None], Decision]] = {}
        self.kept = 0
        """How many answers are remembered."""

    def check(self, caller: Principal, action: Action, function: str | None = None) -> None:
        """Refuses what the caller may not do, to its tenant or to one function.

        Raises:
            StockadeError: `auth.scope_missing`, `auth.denied` or `auth.policy_failed`.
        """
        caller.check_scope(action, function)
        self.check_policies(caller, action, function)

    def check_policies(
        self, caller: Principal, action: Action, function: str | None = None
    ) -> None:
        """As `check`, without the caller's scopes, for what another action brings with it.

        Raises:
            StockadeError: `auth.denied` or `auth.policy_failed`.
        """
        known = self._remembered(caller)
        decision = known.get((action, function))
        if decision is None:
            decision = self._engine.decide(Question(caller, action, _resource(caller, function)))
            if self.kept >= self._max_kept:
                self._forget()
                known = self._kept[caller] = {}
            # Policies may have changed while they were asked: then the next look drops this too.
            known[action, function] = decision
            self.kept += 1
        if not decision.allowed:
            raise denial(decision, action, caller)
        note_permits(decision.policies)

    def _remembered(self, caller: Principal) -> dict[tuple[Action, str | None], Decision]:
        if self._engine.version != self._version:
            self._version = self._engine.version
            self._forget()
        found = self._kept.get(caller)
        if found is None:
            found = self._kept[caller] = {}
        return found

    def _forget(self) -> None:
        self._kept.clear()
        self.kept = 0

    def check_question(self, question: Question) -> None:
        """Refuses by what a module or a deploy is made of; asked anew each time.

        Raises:
            StockadeError: As `check`.
        """
        resource = question.resource
        function = resource.name if resource.kind is ResourceKind.FUNCTION else None
        question.principal.check_scope(question.action, function)
        decision = self._engine.decide(question)
        if not decision.allowed:
            raise denial(decision, question.action, question.principal)
        note_permits(decision.policies)


def denial(decision: Decision, action: Action, caller: Principal) -> StockadeError:
    """The refusal, which names the policies that decided."""
    named = ", ".join(repr(name) for name in decision.policies)
    facts: dict[str, object] = {"action": action.value, "policies": list(decision.policies)}
    if decision.failed:
        return StockadeError(
            "auth.policy_failed",
            f"A policy could not be evaluated, so {action.value!r} is denied. Tell the operator.",
            detail=facts,
        )
    if decision.policies:
        why = f"The policy {named} forbids {action.value!r} here."
    else:
        why = f"No policy permits {action.value!r} to the role {caller.role.value!r} here."
    return StockadeError("auth.denied", f"{why} Ask an administrator.", detail=facts)


def _resource(caller: Principal, function: str | None) -> Resource:
    if function is None:
        return Resource(ResourceKind.TENANT, caller.tenant, caller.tenant)
    return Resource(ResourceKind.FUNCTION, caller.tenant, function)
