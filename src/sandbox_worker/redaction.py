"""Keeps secrets that a run was given out of what is recorded about it: log, events, detail.

The output is the guest's own business: what it answers is not looked at.
"""

from dataclasses import replace

from stockade.core.guest_spans import GuestSpan
from stockade.core.live_events import Spoken
from stockade.core.outcomes import Event, LogLine, RunResult

_SHORTEST = 4
"""Shorter secrets would make every text unreadable, and are none."""


class Redaction:
    """The secrets of one run, by name."""

    def __init__(self) -> None:
        self._marks: dict[str, str] = {}

    def add(self, name: str, value: bytes) -> None:
        """Remembers a secret, to be found in whatever the guest says."""
        text = value.decode("utf-8", errors="replace")
        for part in {text, *text.splitlines()}:
            if len(part) >= _SHORTEST:
                self._marks[part] = f"[secret {name}]"

    def of_result(self, result: RunResult) -> RunResult:
        """The result without them."""
        if not self._marks:
            return result
        detail = None if result.detail is None else self.of_text(result.detail)
        logs, events = self._of_lines(result.logs), self._of_events(result.events)
        spans = tuple(map(self._of_span, result.spans))
        return replace(result, detail=detail, logs=logs, events=events, spans=spans)

    def of_spoken(self, spoken: Spoken) -> Spoken:
        """What was said without them."""
        if not self._marks:
            return spoken
        logs, events = self._of_lines(spoken.logs), self._of_events(spoken.events)
        return replace(spoken, logs=logs, events=events)

    def _of_lines(self, lines: tuple[LogLine, ...]) -> tuple[LogLine, ...]:
        return tuple(LogLine(line.level, self.of_text(line.text)) for line in lines)

    def _of_events(self, events: tuple[Event, ...]) -> tuple[Event, ...]:
        return tuple(Event(self.of_text(one.name), self.of_text(one.data)) for one in events)

    def _of_span(self, span: GuestSpan) -> GuestSpan:
        said = tuple((self.of_text(name), self.of_text(value)) for name, value in span.attributes)
        return replace(span, name=self.of_text(span.name), attributes=said)

    def of_text(self, text: str) -> str:
        """The text without them, also where it was cut in the middle of one."""
        for secret in sorted(self._marks, key=len, reverse=True):
            text = text.replace(secret, self._marks[secret])
        for secret, mark in self._marks.items():
            for size in range(len(secret) - 1, _SHORTEST - 1, -1):
                if text.endswith(secret[:size]):
                    return text[:-size] + mark
        return text
