"""What a listener is told of an invocation: each thing once, and always in the same order.

Attempt by attempt: that it runs, what it says, how it ended. All of it can be read off the record
and what was said live, so that any gateway goes on from any place (`ListenerPlace`), whenever the
listener comes.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from stockade.core.invocations import InvocationRecord
from stockade.core.live_events import ListenerPlace, Spoken
from stockade.core.outcomes import Attempt, Progress, State

_TOLD_ALL = 2
LEVELS = ("trace", "debug", "info", "warn", "error")


@dataclass(frozen=True, slots=True)
class RunEvent:
    """One thing to tell: its kind, its facts, and the place it leads to, where it leads on."""

    kind: str
    data: Mapping[str, object]
    place: str = ""


class RunTeller:
    """One listener's account of one invocation.

    Args:
        place: How far it was told already; None for a new listener.
    """

    def __init__(self, place: ListenerPlace | None = None) -> None:
        self._place = place or ListenerPlace()
        self._is_new = place is None
        self._held: list[Spoken] = []
        self._progress: Progress | None = None
        self.done = False
        """Whether all was told."""

    def advance(self, record: InvocationRecord, spoken: Sequence[Spoken]) -> Iterator[RunEvent]:
        """What is new in the record, and in what was said since the last time.

        The record must be as new as what was said the last time: an attempt says nothing behind its
        end, so all that an ended one said is there by then.
        """
        if self._is_new:
            self._is_new = False
            yield self._state("queued", submitted_ms=record.submitted_ms)
        finished = {attempt.number: attempt for attempt in record.attempts}
        newest = max(finished, default=0)
        said = self._sorted(spoken, newest + 1)
        running = max([newest + 1, *said]) if record.state is State.RUNNING else newest
        for number in sorted({*finished, *said, *([running] if running > newest else ())}):
            if number > self._place.attempt or (
                number == self._place.attempt and not self._place.end
            ):
                last = record if record.state is State.DONE and number == newest else None
                yield from self._attempt(number, said[number], finished.get(number), last)
        if record.state is State.DONE:
            yield from self._done(record)
        elif record.state is State.RUNNING and record.progress not in {None, self._progress}:
            yield from self._went_on(record.progress)

    def _sorted(self, spoken: Sequence[Spoken], most: int) -> defaultdict[int, list[Spoken]]:
        """By attempt. What comes behind an end that the record does not tell yet is held back."""
        said: defaultdict[int, list[Spoken]] = defaultdict(list)
        held, self._held = self._held, []
        for one in held:
            said[one.attempt].append(one)
        for one in spoken:
            if one.attempt > most and one.attempt not in said:
                self._held.append(one)
            else:
                said[one.attempt].append(one)
        return said

    def _attempt(
        self,
        number: int,
        said: Sequence[Spoken],
        ended: Attempt | None,
        record: InvocationRecord | None,
    ) -> Iterator[RunEvent]:
        if number > self._place.attempt:
            self._place = ListenerPlace(number)
            yield self._state("running", attempt=number)
        if record is not None:
            yield from self._words(_last_words(number, record))
        for spoken in said:
            yield from self._words(spoken)
        if ended is not None and record is None:
            self._place = replace(self._place, end=1)
            yield self._state("retry", attempt=number, **_ending(ended), reason=ended.reason)

    def _words(self, spoken: Spoken) -> Iterator[RunEvent]:
        number = spoken.attempt
        yield from self._gap("logs", number, spoken.first_log - self._place.logs)
        for line in spoken.logs[max(0, self._place.logs - spoken.first_log) :]:
            place = self._place
            self._place = replace(place, logs=place.logs + 1)
            yield self._word("log", place.logs, level=LEVELS[line.level], text=line.text)
        if spoken.logs_cut:
            yield RunEvent("dropped", {"attempt": number, "what": "logs", "count": None})
        yield from self._gap("events", number, spoken.first_event - self._place.events)
        for event in spoken.events[max(0, self._place.events - spoken.first_event) :]:
            place = self._place
            self._place = replace(place, events=place.events + 1)
            yield self._word("event", place.events, name=event.name, data=event.data)
        if spoken.events_cut:
            yield RunEvent("dropped", {"attempt": number, "what": "events", "count": None})

    def _word(self, kind: str, number: int, **said: str) -> RunEvent:
        facts = {"attempt": self._place.attempt, "number": number, **said}
        return RunEvent(kind, facts, self._place.text)

    def _gap(self, what: str, attempt: int, count: int) -> Iterator[RunEvent]:
        if count > 0:
            place = self._place
            if what == "logs":
                self._place = replace(place, logs=place.logs + count)
            else:
                self._place = replace(place, events=place.events + count)
            facts = {"attempt": attempt, "what": what, "count": count}
            yield RunEvent("dropped", facts, self._place.text)

    def _done(self, record: InvocationRecord) -> Iterator[RunEvent]:
        self.done = True
        if self._place.end != _TOLD_ALL:
            self._place = replace(self._place, end=_TOLD_ALL)
            yield self._state("done", attempts=len(record.attempts), **_ending(record))

    def _went_on(self, progress: Progress | None) -> Iterator[RunEvent]:
        self._progress = progress
        if progress is not None:
            facts = {"percent": progress.percent, "message": progress.message}
            yield RunEvent("progress", facts)

    def _state(self, state: str, **facts: object) -> RunEvent:
        return RunEvent("state", {"state": state, **facts}, self._place.text)


def _last_words(number: int, record: InvocationRecord) -> Spoken:
    """What the record has of the last attempt, which is all that it said."""
    return Spoken(
        number,
        record.logs,
        record.events,
        logs_cut=record.logs_truncated,
        events_cut=record.events_truncated,
    )


def _ending(ended: Attempt | InvocationRecord) -> dict[str, object]:
    return {"outcome": ended.outcome, "limit": ended.limit, "detail": ended.detail}
