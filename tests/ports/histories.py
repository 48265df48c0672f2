"""Records as they grow: random lives of invocations, with what a recorder may see of each."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from hypothesis import strategies as st

from stockade.core.history import Amounts, EarlierEnd, InvocationHistory, UsageDay
from stockade.core.outcomes import Attempt, Outcome, Usage

NOON_MS = 1_800_000_000_000
DAY_MS = 86_400_000
DEAD = [Outcome.TRAPPED, Outcome.CRASHED, Outcome.LOST, Outcome.EXPIRED, Outcome.LIMIT_EXCEEDED]
MODULE = "sha256:" + "a" * 64
TRACE = "0af7651916cd43dd8448eb211c80319c"


def past(number: int = 1, tenant: str = "acme", **changes: object) -> InvocationHistory:
    """One completed run of one attempt."""
    attempt = Attempt(1, Outcome.COMPLETED, "done", usage(number), ended_ms=NOON_MS + number)
    made = InvocationHistory(
        tenant,
        f"01900000-0000-7000-8000-{number:012x}",
        "resize",
        3,
        MODULE,
        NOON_MS - 5,
        TRACE,
        (attempt,),
        (),
        Outcome.COMPLETED,
        NOON_MS + number,
        started_ms=NOON_MS - 1,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def usage(number: int) -> Usage:
    return Usage(number * 1000 + 7, 65536 * (number % 5 + 1), 1.5 * number, 0.25, 3, 4, 5, 2)


@dataclass(frozen=True)
class Life:
    """All that a record said, one after the other; the last is how it stands."""

    said: tuple[InvocationHistory, ...]


@st.composite
def lives(draw: st.DrawFn, number: int) -> Life:
    """An invocation that is tried, retried, cancelled or expires, and is perhaps redriven."""
    tenant = draw(st.sampled_from(["acme", "rival"]))
    now = past(number, tenant, attempts=(), outcome=None, finished_ms=None, started_ms=None)
    now = replace(now, function=draw(st.sampled_from(["resize", "scan"])))
    clock, said = NOON_MS, [now]
    for redrive in range(draw(st.integers(0, 2)) + 1):
        if redrive:
            clock += draw(st.integers(0, DAY_MS))
            now = _redriven(now, clock)
            said.append(now)
        for _ in range(draw(st.integers(0, 3))):
            clock += draw(st.integers(-DAY_MS, DAY_MS))  # clocks jump
            now = replace(now, attempts=(*now.attempts, _attempt(draw, now, clock)))
            said.append(now)
        outcome = draw(st.sampled_from(DEAD if redrive < 2 else list(Outcome)))
        now = replace(now, outcome=outcome, finished_ms=clock, detail="why")
        said.append(now)
    ended = draw(st.integers(max(1, len(said) - 2), len(said)))
    return Life(tuple(said[:ended]))


def _redriven(now: InvocationHistory, clock: int) -> InvocationHistory:
    assert now.outcome is not None
    assert now.finished_ms is not None
    end = EarlierEnd(now.outcome, now.finished_ms, len(now.attempts), clock, None, now.detail)
    bare = replace(now, outcome=None, finished_ms=None, detail=None)
    return replace(bare, earlier=(*now.earlier, end))


def _attempt(draw: st.DrawFn, now: InvocationHistory, clock: int) -> Attempt:
    outcome = draw(st.sampled_from(list(Outcome)))
    cost = Usage(
        fuel=draw(st.integers(0, 10**12)),
        peak_memory_bytes=draw(st.integers(0, 2**32)),
        wall_ms=draw(st.floats(0, 60_000)),
        queue_ms=draw(st.floats(0, 60_000)),
        input_bytes=draw(st.integers(0, 10**7)),
        output_bytes=draw(st.integers(0, 10**7)),
        host_calls=draw(st.integers(0, 10**4)),
    )
    return Attempt(len(now.attempts) + 1, outcome, "why", cost, ended_ms=clock)


@st.composite
def deliveries(draw: st.DrawFn) -> tuple[list[Life], list[list[InvocationHistory]]]:
    """Lives, and batches of what they said: in any order, some twice, the last of each too."""
    all_lives = [draw(lives(number)) for number in range(draw(st.integers(1, 4)))]
    told = [said for life in all_lives for said in life.said if draw(st.booleans())]
    told += [life.said[-1] for life in all_lives]
    told += draw(st.lists(st.sampled_from(told), max_size=4))
    shuffled = draw(st.permutations(told))
    size = draw(st.integers(1, 4))
    return all_lives, [list(shuffled[at : at + size]) for at in range(0, len(shuffled), size)]


def reckoned(lives_: Sequence[Life], tenant: str) -> dict[tuple[str, int], UsageDay]:
    """Usage, added up by hand from how the records stand."""
    runs: Counter[tuple[str, int, Outcome]] = Counter()
    attempts: Counter[tuple[str, int]] = Counter()
    sums: Counter[tuple[str, int, str]] = Counter()
    for one in (life.said[-1] for life in lives_ if life.said[-1].tenant == tenant):
        ends = [(end.outcome, end.finished_ms) for end in one.earlier]
        if one.outcome is not None and one.finished_ms is not None:
            ends.append((one.outcome, one.finished_ms))
        for outcome, finished_ms in ends:
            runs[one.function, finished_ms // DAY_MS, outcome] += 1
        for attempt in one.attempts:
            assert attempt.ended_ms is not None
            key, cost = (one.function, attempt.ended_ms // DAY_MS), attempt.usage
            attempts[key] += 1
            wall_us = round(cost.wall_ms * 1000)
            sums[*key, "fuel"] += cost.fuel
            sums[*key, "memory_kib_ms"] += (cost.peak_memory_bytes * wall_us + 512000) // 1024000
            sums[*key, "wall_us"] += wall_us
            sums[*key, "queue_us"] += round(cost.queue_ms * 1000)
            for name in ("input_bytes", "output_bytes", "log_bytes", "host_calls"):
                sums[*key, name] += getattr(cost, name)
    keys = {key[:2] for key in runs} | set(attempts)
    return {
        key: UsageDay(
            tenant,
            *key,
            {outcome: runs[*key, outcome] for outcome in Outcome if runs[*key, outcome]},
            attempts[key],
            Amounts(**{name: sums[*key, name] for name in Amounts.__slots__}),
        )
        for key in keys
    }
