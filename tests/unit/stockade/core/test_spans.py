"""Spans' ids, their clock, sampling, and the names of attributes."""

import importlib
import time
from pathlib import Path

import opentelemetry.semconv
import pytest

from stockade.core import span_names
from stockade.core.spans import (
    OFF,
    NoSpans,
    NoTraceStore,
    SpanClock,
    SpanCounts,
    Steps,
    TracePart,
    Tracer,
    attempt_span_id,
    part_span_id,
    seed_of,
    span_id,
)

NANOS = 1_000_000_000


class Nothing:
    def parts(self) -> list[TracePart]:
        return []


def test_ids_follow_from_the_invocation_and_differ_within_it() -> None:
    seed = seed_of("one")
    ids = {span_id(seed, place) for place in range(200)}
    ids |= {part_span_id(seed, attempt, place) for attempt in (1, 2, 9) for place in range(1000)}
    assert len(ids) == 200 + 3 * 1000
    assert all(0 < one < 1 << 64 for one in ids)
    assert attempt_span_id(seed, 3) == part_span_id(seed_of("one"), 3, 0)
    assert attempt_span_id(seed, 1) != attempt_span_id(seed_of("two"), 1)


def test_no_id_is_zero() -> None:
    assert span_id(0, 0) == 1


def test_the_clock_goes_as_the_queues_does() -> None:
    clock = SpanClock()
    clock.set(told_ns=5 * NANOS, asked_ns=100, answered_ns=300)
    assert clock.unix_ns(200) == 5 * NANOS
    before = clock.unix_ns(time.monotonic_ns())
    assert before <= clock.now_ns() <= clock.unix_ns(time.monotonic_ns())


@pytest.mark.parametrize(("ratio", "share"), [(0.0, 0.0), (0.25, 0.25), (1.0, 1.0)])
def test_the_ratio_is_that_of_traces_and_the_same_in_all_processes(
    ratio: float, share: float
) -> None:
    one, other = Tracer(ratio=ratio), Tracer(ratio=ratio)
    traces = [f"{seed_of(str(n)):032x}" for n in range(4000)]
    sampled = [one.samples(trace) for trace in traces]
    assert sampled == [other.samples(trace) for trace in traces]
    assert sum(sampled) / len(traces) == pytest.approx(share, abs=0.03)


def test_steps_end_where_they_are_marked() -> None:
    steps = Steps(1)
    steps.mark("a")
    steps.mark("b")
    (first, a_ns), (second, b_ns) = steps.ends
    assert (first, second) == ("a", "b")
    assert 1 < a_ns <= b_ns


def test_what_is_dropped_is_told_by_why() -> None:
    counts = SpanCounts(recordings=9, dropped_full=1, spans_refused=2)
    assert counts.dropped() == {
        "full": 1,
        "broken": 0,
        "not_kept": 0,
        "refused": 2,
        "not_sent": 0,
    }


async def test_what_is_off_keeps_nothing() -> None:
    NoSpans().take(Nothing())
    assert not OFF.on
    store = NoTraceStore()
    assert await store.keep([]) == 0
    assert await store.parts("acme", "id") == []
    assert await store.time_ns() > 0


def _conventions() -> set[str]:
    found: set[str] = set()
    for root in map(Path, opentelemetry.semconv.__path__):
        for file in root.rglob("*_attributes.py"):
            place = ".".join(file.relative_to(root).with_suffix("").parts)
            values = vars(importlib.import_module(f"opentelemetry.semconv.{place}")).values()
            found |= {value for value in values if isinstance(value, str)}
    return found


def test_names_are_those_of_the_conventions_or_ours() -> None:
    known = _conventions()
    names = {
        value
        for name, value in vars(span_names).items()
        if name.isupper() and isinstance(value, str) and "." in value
    }
    ours = {name for name in names if name.startswith("stockade.")}
    assert len(ours) > 20
    assert names - ours <= known
    assert len(names - ours) > 15
