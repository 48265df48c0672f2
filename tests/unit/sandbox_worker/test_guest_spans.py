"""Spans of guests: bounded in the executor, checked by the supervisor, told under own names."""

from dataclasses import replace

import pytest

from sandbox_worker.guest.faults import GuestFault
from sandbox_worker.guest.frames import FrameError, Ran
from sandbox_worker.guest.span_book import SpanBook
from sandbox_worker.guest_spans import believed_spans, told_spans
from sandbox_worker.redaction import Redaction
from stockade.core.guest_spans import (
    GRAIN_NS,
    MOST_ATTRIBUTES,
    MOST_BYTES,
    MOST_DEPTH,
    MOST_SPANS,
    GuestSpan,
)
from stockade.core.outcomes import Outcome, RunResult

BEGAN, ENDED = 10 * GRAIN_NS + 7, 50 * GRAIN_NS + 7


def ran(*spans: GuestSpan) -> Ran:
    return Ran(Outcome.COMPLETED, 1, spans=spans)


def span(parent: int = 0, began: int = BEGAN, ended: int = ENDED, **said: object) -> GuestSpan:
    made = GuestSpan("work", parent, began, ended)
    return replace(made, **said)  # type: ignore[arg-type] # its own fields


def test_spans_lie_within_the_innermost() -> None:
    book = SpanBook()
    assert book.innermost == 0
    assert [book.open(name) for name in ("a", "b")] == [1, 2]
    assert book.innermost == 2
    book.close(2)
    assert book.open("c") == 3
    book.close(1)
    assert book.innermost == 0
    assert book.open("d") == 4
    told = book.told()
    assert [(one.name, one.parent) for one in told] == [("a", 0), ("b", 1), ("c", 1), ("d", 0)]
    assert all(one.ended_ns >= one.began_ns > 0 for one in told)
    assert told[2].ended_ns == told[0].ended_ns, "what is open within ends with it"


def test_closing_twice_is_no_harm_and_a_number_never_given_breaks_the_abi() -> None:
    book = SpanBook()
    number = book.open("a")
    book.close(number)
    book.close(number)
    book.close(0)
    for wrong in (-1, 2, 1 << 30):
        with pytest.raises(GuestFault):
            book.close(wrong)
        with pytest.raises(GuestFault):
            book.attribute(wrong, "a", "b")


def test_the_last_word_on_an_attribute_stands_and_closed_spans_take_none() -> None:
    book = SpanBook()
    number = book.open("a")
    book.attribute(number, "rows", "1")
    book.attribute(number, "rows", "2")
    book.close(number)
    book.attribute(number, "rows", "3")
    assert book.told()[0].attributes == (("rows", "2"),)
    assert book.dropped == 1


def test_a_flood_costs_drops_alone_and_they_are_counted() -> None:
    book = SpanBook()
    for _ in range(MOST_SPANS):
        book.close(book.open("a"))
    assert [book.open("a") for _ in range(1000)] == [0] * 1000
    assert (len(book.told()), book.dropped) == (MOST_SPANS, 1000)


def test_depth_attributes_and_bytes_are_bounded() -> None:
    deep = SpanBook()
    assert [deep.open("a") for _ in range(MOST_DEPTH + 1)][-1] == 0
    wide = SpanBook()
    wide.open("a")
    for place in range(MOST_ATTRIBUTES + 5):
        wide.attribute(1, f"n{place}", "v")
    assert (len(wide.told()[0].attributes), wide.dropped) == (MOST_ATTRIBUTES, 5)
    long = SpanBook()
    long.open("a")
    for _ in range(MOST_BYTES // 100 + 5):
        long.attribute(1, "same", "v" * 100)
    assert long.dropped >= 5
    said = long.told()[0]
    assert len(said.name) + sum(len(a) + len(b) for a, b in said.attributes) <= MOST_BYTES
    assert long.open("x" * 64) == 0 or long.open("x" * 64) == 0


def test_times_are_whole_milliseconds_within_the_run_and_the_span_around() -> None:
    kept = believed_spans(
        ran(
            span(began=20 * GRAIN_NS + 999_999, ended=30 * GRAIN_NS + 1),
            span(1, began=0, ended=10**18),
            span(0, began=10**18, ended=0),
            span(0, began=-5, ended=BEGAN),
        ),
        BEGAN,
        ENDED,
    )
    times = [(one.began_ns, one.ended_ns) for one in kept]
    assert times[0] == times[1] == (20 * GRAIN_NS, 30 * GRAIN_NS)
    assert times[2] == (ENDED, ENDED)
    assert times[3] == (BEGAN, BEGAN)


@pytest.mark.parametrize(
    "lie",
    [
        ran(*[span()] * (MOST_SPANS + 1)),
        ran(span(1)),
        ran(span(-1)),
        ran(span(), span(3)),
        ran(span(name="")),
        ran(span(name="x" * 65)),
        ran(span(attributes=(("", "x"),))),
        ran(span(attributes=(("x" * 65, "x"),))),
        ran(span(attributes=(("x", "x" * 257),))),
        ran(span(attributes=tuple((f"{n}", "") for n in range(MOST_ATTRIBUTES + 1)))),
        ran(*[span(attributes=tuple((f"{n}", "v" * 250) for n in range(16)))] * 4),
    ],
)
def test_what_no_guest_can_open_is_not_believed(lie: Ran) -> None:
    with pytest.raises(FrameError):
        believed_spans(lie, BEGAN, ENDED)


def test_what_a_guest_says_stands_under_its_own_names_and_is_visible() -> None:
    hostile = span(name="a\x1b[2J", attributes=(("stockade.tenant", "x\r\n"), ("\u202e", "y")))
    first, second = told_spans((hostile, span(1)), 7, lambda number: 100 + number, lambda ns: ns)
    assert (first.name, first.parent, first.id) == ("a\\x1b[2J", 7, 101)
    assert dict(first.attributes) == {
        "stockade.guest": True,
        "stockade.guest.stockade.tenant": "x\\r\\n",
        "stockade.guest.\\u202e": "y",
    }
    assert (second.parent, second.id) == (101, 102)


def test_secrets_are_redacted_in_names_and_values() -> None:
    redaction = Redaction()
    redaction.add("TOKEN", b"hunter2-hunter2")
    said = span(name="hunter2-hunter2", attributes=(("hunter2-hunter2", "is hunter2-hunter2"),))
    (kept,) = redaction.of_result(RunResult(Outcome.COMPLETED, spans=(said,))).spans
    assert (kept.name, kept.attributes) == (
        "[secret TOKEN]",
        (("[secret TOKEN]", "is [secret TOKEN]"),),
    )
