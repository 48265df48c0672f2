"""W3C trace context: what is believed, and what falls back to a new trace."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockade.core.trace_context import (
    NO_CARRY,
    TraceCarry,
    TraceContext,
    context_of,
    parse_traceparent,
    trace_id_of,
)

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GOOD = f"00-{TRACE}-{SPAN}-01"
STATES = ["vendor=opaque", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", "fw529a3039@dt=FfffFFff,a=b"]


def test_a_good_context_is_taken_and_told_as_it_was() -> None:
    context = parse_traceparent([GOOD], ["a=b"])
    assert context == TraceContext(TRACE, int(SPAN, 16), sampled=True, state="a=b")
    assert context.parent == GOOD


@pytest.mark.parametrize(("flags", "sampled"), [("00", False), ("01", True), ("fe", False)])
def test_only_the_sampled_flag_counts(flags: str, *, sampled: bool) -> None:
    context = parse_traceparent([f"00-{TRACE}-{SPAN}-{flags}"])
    assert context is not None
    assert context.sampled is sampled
    assert context.parent.endswith("01" if sampled else "00")


@pytest.mark.parametrize(
    "text",
    [
        "",
        GOOD.upper(),
        f" {GOOD}",
        f"{GOOD}\n",
        f"{GOOD}-later",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-01;drop",
        "00-" + "\uff11" * 32 + f"-{SPAN}-01",
        "0" * 100_000,
        f"01-{TRACE}-{SPAN}-01-" + "x" * 10_000,
        f"01-{TRACE}-{SPAN}-01-\x1b[31m",
        f"cc-{TRACE}-{SPAN}-01.what",
    ],
)
def test_what_is_malformed_is_no_context(text: str) -> None:
    assert parse_traceparent([text], ["a=b"]) is None


def test_a_later_version_is_read_as_far_as_it_is_known() -> None:
    for text in (f"cc-{TRACE}-{SPAN}-01", f"cc-{TRACE}-{SPAN}-01-what-else"):
        context = parse_traceparent([text])
        assert context is not None
        assert context.parent == GOOD


def test_two_parents_are_none() -> None:
    assert parse_traceparent([GOOD, GOOD]) is None
    assert parse_traceparent([]) is None


@pytest.mark.parametrize("state", STATES)
def test_a_good_state_is_passed_on(state: str) -> None:
    context = parse_traceparent([GOOD], [state])
    assert context is not None
    assert context.state == state


def test_states_of_several_headers_are_one() -> None:
    context = parse_traceparent([GOOD], ["a=1, ,b=2", " c=3\t"])
    assert context is not None
    assert context.state == "a=1,b=2,c=3"


@pytest.mark.parametrize(
    "state",
    [
        ",",
        "no value",
        "a=",
        "a=b\r\nset-cookie: x",
        "a=\x1b[2J",
        "A=b",
        "a=1,a=2",
        "a=b;c=\u20ac",
        ",".join(f"k{n}=v" for n in range(33)),
        "a=" + "x" * 511,
        "a=" + "x" * 300,
    ],
)
def test_a_bad_state_is_dropped_and_the_parent_kept(state: str) -> None:
    context = parse_traceparent([GOOD], [state])
    assert context is not None
    assert context.state == ""


@given(st.lists(st.text(max_size=80), max_size=3), st.lists(st.text(max_size=600), max_size=3))
def test_anything_may_come(parents: list[str], states: list[str]) -> None:
    context = parse_traceparent(parents, states)
    assert context is None or parse_traceparent([context.parent], [context.state]) == context


def test_an_invocation_without_a_context_has_a_trace_of_its_own_name() -> None:
    uuid = "01a21f4d-40c3-70cc-b039-e92e3d40ffc9"
    assert trace_id_of(uuid) == uuid.replace("-", "")
    assert context_of(uuid, "", NO_CARRY) == TraceContext(trace_id_of(uuid), 0, None)
    assert context_of(uuid, "nonsense", NO_CARRY).trace_id == trace_id_of(uuid)


@pytest.mark.parametrize("name", ["id", "", "z" * 32, "0" * 32, "\ud800", "\u0661" * 32])
def test_other_names_have_a_trace_as_well(name: str) -> None:
    trace_id = trace_id_of(name)
    assert parse_traceparent([f"00-{trace_id}-{SPAN}-01"]) is not None
    assert trace_id == trace_id_of(name) != trace_id_of(name + "2")


def test_an_invocation_goes_on_in_the_context_that_it_carries() -> None:
    context = context_of("id", GOOD, TraceCarry("a=b", 5))
    assert context == TraceContext(TRACE, int(SPAN, 16), sampled=True, state="a=b")
