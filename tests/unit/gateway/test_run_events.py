"""A listener is told each thing once and in one order, whenever it comes and goes on."""

from dataclasses import replace

import pytest

from gateway.run_events import RunEvent, RunTeller
from stockade.core.errors import StockadeError
from stockade.core.invocations import InvocationRecord
from stockade.core.live_events import ListenerPlace, Spoken
from stockade.core.outcomes import Attempt, Event, LogLine, Outcome, Progress, State, Usage

QUEUED = InvocationRecord("id", "acme", "f", 1, State.QUEUED, 7)
RUNNING = replace(QUEUED, state=State.RUNNING)


def tried(number: int, outcome: Outcome = Outcome.TRAPPED) -> Attempt:
    return Attempt(number, outcome, "because", Usage())


def lines(attempt: int, *texts: str, first: int = 0) -> Spoken:
    return Spoken(attempt, tuple(LogLine(2, text) for text in texts), first_log=first)


def record(state: State, *attempts: Attempt, **facts: object) -> InvocationRecord:
    outcome = attempts[-1].outcome if state is State.DONE and attempts else None
    made = replace(QUEUED, state=state, attempts=attempts, outcome=outcome)
    return replace(made, **facts)  # type: ignore[arg-type]


def short(event: RunEvent) -> str:
    match event.kind:
        case "state":
            return f"{event.data['state']} {event.data.get('attempt', '')}".strip()
        case "log":
            return str(event.data["text"])
        case "event":
            return f"e:{event.data['name']}"
        case "dropped":
            return f"-{event.data['count']} {event.data['what']}"
        case _:
            return event.kind


LAST = (LogLine(2, "d"), LogLine(3, "e"))
DONE = record(
    State.DONE,
    tried(1),
    tried(2, Outcome.COMPLETED),
    logs=LAST,
    events=(Event("x", "1"), Event("y", "2")),
)
ROUNDS: list[tuple[InvocationRecord, list[Spoken]]] = [
    (QUEUED, []),
    (RUNNING, []),
    (RUNNING, [lines(1, "a")]),
    (RUNNING, [lines(1, "b", first=1)]),
    (record(State.QUEUED, tried(1)), [lines(1, "c", first=2)]),
    (record(State.RUNNING, tried(1)), [Spoken(2, (), (Event("x", "1"),))]),
    (record(State.RUNNING, tried(1)), [lines(2, "d")]),
    (DONE, []),
]
WHOLE = ["queued", "running 1", "a", "b", "c", "retry 1", "running 2"]


def told(
    rounds: list[tuple[InvocationRecord, list[Spoken]]], place: ListenerPlace | None = None
) -> list[RunEvent]:
    teller = RunTeller(place)
    return [event for one in rounds for event in teller.advance(*one)]


def test_from_the_beginning_to_the_end() -> None:
    events = told(ROUNDS)
    assert [short(one) for one in events] == [*WHOLE, "e:x", "d", "e", "e:y", "done"]
    assert events[5].data | {"x": 1} == {
        "state": "retry",
        "attempt": 1,
        "outcome": "trapped",
        "limit": None,
        "x": 1,
        "detail": None,
        "reason": "because",
    }
    assert events[-1].data["outcome"] == "completed"


def test_who_comes_late_is_told_all_that_is_kept() -> None:
    kept = [lines(1, "a"), lines(1, "b", first=1), lines(1, "c", first=2), lines(2, "d")]
    events = [short(one) for one in told([(DONE, kept)])]
    assert events == [*WHOLE, "d", "e", "e:x", "e:y", "done"]


@pytest.mark.parametrize("start", range(len(ROUNDS)))
def test_who_goes_on_from_any_event_misses_nothing_and_hears_nothing_twice(start: int) -> None:
    kept = [one for _, spoken in ROUNDS for one in spoken]
    whole = sorted(short(one) for one in told(ROUNDS))
    seen: list[str] = []
    for event in told(ROUNDS[: start + 1]):
        seen.append(short(event))
        place = ListenerPlace.parse(event.place)
        rest = [short(one) for one in told([(DONE, kept)], place)]
        assert sorted([*seen, *rest]) == whole


def test_the_places_of_events_grow() -> None:
    places = [ListenerPlace.parse(one.place) for one in told(ROUNDS)]
    assert places == sorted(places)
    assert len(set(places)) == len(places)


def test_who_was_told_all_is_told_nothing_more() -> None:
    teller = RunTeller(ListenerPlace(2, 2, 2, 2))
    assert list(teller.advance(DONE, [])) == []
    assert teller.done


def test_a_gap_is_told() -> None:
    events = told([(RUNNING, [lines(1, "a"), lines(1, "z", first=10)])])
    assert [short(one) for one in events] == ["queued", "running 1", "a", "-9 logs", "z"]
    spoken = Spoken(1, (), (Event("x", ""),), first_event=3)
    events = told([(RUNNING, [spoken])])
    assert [short(one) for one in events] == ["queued", "running 1", "-3 events", "e:x"]


def test_what_the_record_has_is_no_gap() -> None:
    done = record(State.DONE, tried(1), logs=tuple(LogLine(2, text) for text in "abc"))
    events = [short(one) for one in told([(done, [lines(1, "c", first=2)])])]
    assert events == ["queued", "running 1", "a", "b", "c", "done"]


def test_what_was_cut_at_the_limit_is_told() -> None:
    cut = record(State.DONE, tried(1), logs_truncated=True, events_truncated=True)
    events = [short(one) for one in told([(cut, [])])]
    assert events == ["queued", "running 1", "-None logs", "-None events", "done"]


def test_words_of_the_next_attempt_wait_for_the_end_of_the_one_before() -> None:
    teller = RunTeller()
    early = list(teller.advance(RUNNING, [lines(1, "a"), lines(2, "b")]))
    assert [short(one) for one in early] == ["queued", "running 1", "a"]
    rest = list(teller.advance(record(State.RUNNING, tried(1)), []))
    assert [short(one) for one in rest] == ["retry 1", "running 2", "b"]


def test_a_killed_attempt_leaves_what_it_had_said() -> None:
    lost = record(State.DONE, tried(1, Outcome.LOST))
    events = [short(one) for one in told([(lost, [lines(1, "last words")])])]
    assert events == ["queued", "running 1", "last words", "done"]


def test_what_never_ran_is_done_without_an_attempt() -> None:
    gone = replace(QUEUED, state=State.DONE, outcome=Outcome.EXPIRED)
    assert [short(one) for one in told([(QUEUED, []), (gone, [])])] == ["queued", "done"]


def test_what_is_queued_again_goes_on_behind_its_end() -> None:
    place = ListenerPlace(1, 1, 0, 2)
    again = [(record(State.QUEUED, tried(1)), [lines(1, "a")])]
    assert told(again, place) == []
    rest = told([(record(State.RUNNING, tried(1)), [lines(1, "a"), lines(2, "b")])], place)
    assert [short(one) for one in rest] == ["running 2", "b"]
    skipped = replace(QUEUED, state=State.RUNNING)
    rest = told([(skipped, []), (skipped, [lines(3, "b")]), (skipped, [])], ListenerPlace(end=2))
    assert [short(one) for one in rest][-1] == "b"


def test_progress_is_told_when_it_is_new_and_leads_nowhere() -> None:
    half = replace(RUNNING, progress=Progress(50, "half"))
    teller = RunTeller(ListenerPlace(1))
    (event,) = teller.advance(half, [])
    assert (event.kind, event.data, event.place) == (
        *("progress", {"percent": 50, "message": "half"}),
        "",
    )
    assert list(teller.advance(half, [])) == []
    full = replace(RUNNING, progress=Progress(100, ""))
    assert [one.kind for one in teller.advance(full, [])] == ["progress"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "1.2.3",
        "1.2.3.4",
        "-1.0.0.0",
        "1.2.3.0.",
        "\u0661.0.0.0",
        "9999999999.0.0.0",
        "1.2.3.0\n",
    ],
)
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(StockadeError) as refusal:
        ListenerPlace.parse(text)
    assert refusal.value.code == "events.place_invalid"
