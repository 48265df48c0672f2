"""A model of the queue's promises, driven by random steps against each adapter.

The model knows for each invocation whether it is queued, held or done, its attempt, and nothing of
how the queue works. What the queue answers must be possible by the model; in the end all is drained
and every invocation has exactly one outcome.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass, field, replace

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from stockade.core.errors import StockadeError
from stockade.core.invocations import Claim, Invocation, Priority
from stockade.core.outcomes import Outcome, State
from stockade.infra.queue_settings import QueueSettings
from tests.ports.test_invocation_queue import CONTENT, asked, ended
from tests.ports.valkey_fixture import (
    CLOCK,
    ClosableQueue,
    flush,
    memory_maker,
    redis_maker,
)

pytest_plugins = ("tests.ports.valkey_fixture",)

TENANTS, FUNCTIONS = ("a", "b", "c"), ("f", "g")
TENANT_CAP, FUNCTION_CAP = {"a": 3, "b": None, "c": 1}, {"f": 2, "g": None}
WEIGHTS = {"a": 1, "b": 3, "c": 2}
FINAL = [Outcome.COMPLETED, Outcome.REJECTED, Outcome.TRAPPED, Outcome.LIMIT_EXCEEDED]
DEAD = {Outcome.TRAPPED, Outcome.LIMIT_EXCEEDED, Outcome.CRASHED, Outcome.LOST}
MAX_DEATHS = 3


@dataclass
class Known:
    """What the model knows of one invocation."""

    invocation: Invocation
    state: State = State.QUEUED
    attempt: int = 1
    deaths: int = 0
    outcome: Outcome | None = None
    cancel_asked: bool = False
    outcomes: list[Outcome] = field(default_factory=list)


class QueueModel(RuleBasedStateMachine):
    """The steps. A subclass for each adapter says where an empty queue comes from."""

    url = ""
    loop: asyncio.AbstractEventLoop
    submitted = Bundle("submitted")
    claims = Bundle("claims")

    def __init__(self) -> None:
        super().__init__()
        self.queue = self._do(self._open())
        self.known: dict[str, Known] = {}
        self.held: dict[str, Claim] = {}
        self.keys: dict[tuple[str, str], str] = {}

    @rule(
        target=submitted,
        tenant=st.sampled_from(TENANTS),
        function=st.sampled_from(FUNCTIONS),
        priority=st.sampled_from(list(Priority)),
        key=st.sampled_from([None, None, "k1", "k2"]),
    )
    def submit(self, tenant: str, function: str, priority: Priority, key: str | None) -> str:
        content = replace(CONTENT, concurrency=FUNCTION_CAP[function])
        invocation = asked(
            tenant,
            function=function,
            content=content,
            priority=priority,
            idempotency_key=key,
            weight=WEIGHTS[tenant],
            tenant_concurrency=TENANT_CAP[tenant],
        )
        earlier = self.keys.get((tenant, key or ""))
        try:
            receipt = self._do(self.queue.submit(invocation))
        except StockadeError as error:
            assert error.code == "invocation.idempotency_conflict"  # noqa: PT017 (either may happen)
            assert earlier is not None
            assert self.known[earlier].invocation.function != function
            return earlier
        if earlier is not None:
            assert (receipt.id, receipt.created) == (earlier, False)
            return earlier
        assert (receipt.id, receipt.created) == (invocation.id, True)
        if key is not None:
            self.keys[tenant, key] = invocation.id
        self.known[invocation.id] = Known(invocation)
        return invocation.id

    @rule(target=claims, count=st.integers(1, 4))
    def claim(self, count: int) -> object:
        taken = self._do(self.queue.claim(count, 0.0))
        assert len(taken) <= count
        for claim in taken:
            known = self.known[claim.invocation.id]
            assert claim.invocation == known.invocation
            assert (known.state, claim.attempt) == (State.QUEUED, known.attempt)
            assert claim.deaths == known.deaths
            known.state = State.RUNNING
            self.held[claim.invocation.id] = claim
            assert self._do(self.queue.begin(claim, CLOCK.now_ms()))
        return multiple(*taken)

    @rule(claim=claims, outcome=st.sampled_from(FINAL))
    def finish(self, claim: Claim, outcome: Outcome) -> None:
        recorded = self._do(self.queue.complete(claim, ended(outcome, claim.attempt)))
        assert recorded is self._holds(claim)
        if recorded:
            self._end(claim.invocation.id, outcome)

    @rule(claim=claims, outcome=st.sampled_from([Outcome.TRAPPED, Outcome.CRASHED, Outcome.LOST]))
    def fail_and_try_again(self, claim: Claim, outcome: Outcome) -> None:
        end = ended(outcome, claim.attempt, retry_at_ms=CLOCK.now_ms())
        recorded = self._do(self.queue.complete(claim, end))
        assert recorded is self._holds(claim)
        if not recorded:
            return
        known = self.known[claim.invocation.id]
        known.deaths += outcome in {Outcome.CRASHED, Outcome.LOST}
        if known.cancel_asked:
            known.outcomes.append(outcome)
            self._end(claim.invocation.id, Outcome.CANCELLED, attempted=False)
        elif known.deaths >= MAX_DEATHS:
            self._end(claim.invocation.id, outcome)
        else:
            known.state, known.attempt = State.QUEUED, known.attempt + 1
            known.outcomes.append(outcome)
            del self.held[claim.invocation.id]

    @rule(claim=claims, ran=st.booleans())
    def hand_back(self, claim: Claim, *, ran: bool) -> None:
        handed_back = self._do(self.queue.hand_back(claim, ran=ran))
        assert handed_back is self._holds(claim)
        if not handed_back:
            return
        known = self.known[claim.invocation.id]
        if ran:
            known.attempt += 1
            known.outcomes.append(Outcome.LOST)
        if known.cancel_asked:
            self._end(claim.invocation.id, Outcome.CANCELLED, attempted=False)
        else:
            known.state = State.QUEUED
            del self.held[claim.invocation.id]

    @rule(invocation_id=submitted)
    def cancel(self, invocation_id: str) -> None:
        known = self.known[invocation_id]
        tenant = known.invocation.tenant
        answer = self._do(self.queue.cancel(tenant, invocation_id, CLOCK.now_ms()))
        assert answer is (known.state is not State.DONE)
        if known.state is State.QUEUED:
            self._end(invocation_id, Outcome.CANCELLED, attempted=False)
        elif known.state is State.RUNNING:
            known.cancel_asked = True

    @rule(invocation_id=submitted)
    def redrive(self, invocation_id: str) -> None:
        known = self.known[invocation_id]
        answer = self._do(self.queue.redrive(known.invocation.tenant, invocation_id))
        assert answer is (known.outcome in DEAD)
        if answer:
            known.state, known.outcome, known.cancel_asked = State.QUEUED, None, False
            known.attempt, known.deaths = known.attempt + 1, 0

    @rule(claim=claims)
    def renew(self, claim: Claim) -> None:
        stale = self._do(self.queue.heartbeat([claim]))
        asked_to_stop = self.known[claim.invocation.id].cancel_asked
        assert bool(stale) is (not self._holds(claim) or asked_to_stop)

    @rule(capacity=st.integers(0, 6))
    def tick(self, capacity: int) -> None:
        self._do(self.queue.tick(capacity, CLOCK.now_ms()))

    @invariant()
    def no_cap_is_passed(self) -> None:
        held = [claim.invocation for claim in self.held.values()]
        tenants = Counter(one.tenant for one in held)
        lanes = Counter((one.tenant, one.function) for one in held)
        assert all(count <= (TENANT_CAP[of] or count) for of, count in tenants.items())
        assert all(count <= (FUNCTION_CAP[of[1]] or count) for of, count in lanes.items())

    def teardown(self) -> None:
        """Drains all, and looks at every record."""
        self._drain()
        self._do(self.queue.aclose())

    def _drain(self) -> None:
        for claim in list(self.held.values()):
            self.finish(claim, Outcome.COMPLETED)
        while taken := self._do(self.queue.claim(10, 0.0)):
            for claim in taken:
                self.held[claim.invocation.id] = claim
                self.known[claim.invocation.id].state = State.RUNNING
                assert self._do(self.queue.begin(claim, CLOCK.now_ms()))
                self.finish(claim, Outcome.COMPLETED)
        for invocation_id, known in self.known.items():
            record = self._do(self.queue.record(known.invocation.tenant, invocation_id))
            assert record is not None
            assert (record.state, record.outcome) == (State.DONE, known.outcome)
            assert [one.outcome for one in record.attempts] == known.outcomes

    async def _open(self) -> ClosableQueue:
        if self.url:
            await flush(self.url)
        make = redis_maker(self.url) if self.url else memory_maker()
        return make("main", QueueSettings(window_floor=5, max_deaths=MAX_DEATHS))

    def _holds(self, claim: Claim) -> bool:
        held = self.held.get(claim.invocation.id)
        return held is not None and (held.entry, held.attempt) == (claim.entry, claim.attempt)

    def _end(self, invocation_id: str, outcome: Outcome, *, attempted: bool = True) -> None:
        known = self.known[invocation_id]
        known.state, known.outcome = State.DONE, outcome
        if attempted:
            known.outcomes.append(outcome)
        self.held.pop(invocation_id, None)

    def _do(self, awaitable):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202 (whatever it is)
        return self.loop.run_until_complete(awaitable)


def test_the_queue_keeps_its_promises(queue_url: str) -> None:
    with asyncio.Runner() as runner:
        machine = type("Machine", (QueueModel,), {"url": queue_url, "loop": runner.get_loop()})
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=60,
                stateful_step_count=60,
                deadline=None,
                suppress_health_check=list(HealthCheck),
                print_blob=True,
            ),
        )
