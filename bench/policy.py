"""What a policy decision costs: asked anew, remembered, and reading the policies themselves."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import cedarpy

from gateway.authorizer import Authorizer
from stockade.core.actions import Action
from stockade.core.authorization import Question, ResourceKind
from stockade.core.policy_questions import question
from stockade.core.principals import Principal, Role
from stockade.infra.policies.cedar_policies import CedarPolicies
from stockade.infra.policies.cedar_requests import ask_question
from stockade.infra.policies.policy_text import SCHEMA_FILE, Source, read_sources

SHIPPED = Path(__file__).parents[1] / "policies" / "authorization"
_CALLER = Principal("acme", "k1", Role.DEVELOPER)
_ROUNDS = 20


@dataclass(frozen=True, slots=True)
class Costs:
    """Medians, in microseconds, and the floors beside them."""

    remembered: float
    look_up: float
    asked: Mapping[int, float]
    bare: Mapping[int, float]
    deploy: float
    read: Mapping[int, float]
    parsed: Mapping[int, float]


def costs() -> Costs:
    """All of it, in one process."""
    engines = {count: engine(count) for count in (1, 100)}
    shipped = CedarPolicies.load(SHIPPED)
    asked = question(_CALLER, Action.INVOKE, ResourceKind.FUNCTION)
    deploy = question(_CALLER, Action.DEPLOY, ResourceKind.FUNCTION)
    authorizer = Authorizer(shipped)
    known = {(Principal("acme", "k1", Role.DEVELOPER), Action.INVOKE, "hello"): 1}
    key = (_CALLER, Action.INVOKE, "hello")
    return Costs(
        remembered=micros(lambda: authorizer.check(_CALLER, Action.INVOKE, "hello"), 2000),
        look_up=micros(lambda: known.get(key), 2000),
        asked={count: micros(lambda: one.decide(asked), 50) for count, one in engines.items()},  # noqa: B023 - called at once
        bare={count: micros(bare_call(count, asked), 50) for count in engines},
        deploy=micros(lambda: shipped.decide(deploy), 50),
        read={count: micros(lambda: engine(count), 1) for count in engines},  # noqa: B023 - likewise
        parsed={count: micros(lambda: parse(count), 1) for count in engines},  # noqa: B023 - likewise
    )


def micros(call: Callable[[], object], calls: int) -> float:
    """The median of several rounds, a call."""
    rounds = []
    for _ in range(_ROUNDS):
        started = time.perf_counter()
        for _ in range(calls):
            call()
        rounds.append((time.perf_counter() - started) / calls)
    return statistics.median(rounds) * 1e6


def engine(count: int) -> CedarPolicies:
    """So many policies, as a gateway reads them."""
    schema = read_sources(SHIPPED)[0]
    return CedarPolicies([schema, Source("bench.cedar", text_of(count).encode())])


def text_of(count: int) -> str:
    """As an operator may write them: one that permits, the others about functions by name."""
    named = (
        f'@id("p{number}") forbid (principal, action in Action::"invokers", resource is Function)\n'
        f'when {{ resource.name like "prod-{number}-*" }} unless {{ principal in Role::"admin" }};'
        for number in range(1, count)
    )
    permit = '@id("permit") permit (principal in Role::"invoker", action, resource);'
    return "\n".join([permit, *named])


def bare_call(count: int, asked: Question) -> Callable[[], object]:
    """The library's call by itself, policies, entities and schema parsed before."""
    schema = cedarpy.Schema.from_str((SHIPPED / SCHEMA_FILE).read_text(encoding="utf-8"))
    request = ask_question(asked)
    policies = cedarpy.PolicySet.from_str(text_of(count))
    entities = cedarpy.Entities.from_json_str(request.entities_json, schema)
    return lambda: cedarpy.is_authorized(request.request, policies, entities, schema)


def parse(count: int) -> object:
    """The library's parsing alone, nothing checked."""
    cedarpy.Schema.from_str((SHIPPED / SCHEMA_FILE).read_text(encoding="utf-8"))
    return cedarpy.PolicySet.from_str(text_of(count))
