"""The spans that one run has opened, bounded whatever the guest does."""

import time

from sandbox_worker.guest.faults import GuestFault
from stockade.core.guest_spans import (
    MOST_ATTRIBUTES,
    MOST_BYTES,
    MOST_DEPTH,
    MOST_SPANS,
    GuestSpan,
)


class SpanBook:
    """Made at a run's first span. `dropped` counts what found no room: spans, and attributes."""

    def __init__(self) -> None:
        self.dropped = 0
        self._spans: list[_Entry] = []
        self._open: list[int] = []
        self._bytes = 0

    @property
    def innermost(self) -> int:
        """The number of the innermost span that is open; 0 is the run itself."""
        return self._open[-1] if self._open else 0

    def open(self, name: str) -> int:
        """Opens a span within the innermost; its number from 1, or 0 when there is no room."""
        full = len(self._spans) >= MOST_SPANS or len(self._open) >= MOST_DEPTH
        if full or not self._takes(name):
            self.dropped += 1
            return 0
        self._spans.append(_Entry(name, self.innermost))
        self._open.append(len(self._spans))
        return len(self._spans)

    def close(self, number: int) -> None:
        """Closes a span, and what is open within it. One that is closed, or 0, is no harm.

        Raises:
            GuestFault: there never was such a span.
        """
        self._check(number)
        if number in self._open:
            now_ns = time.monotonic_ns()
            while self._open:
                last = self._open.pop()
                self._spans[last - 1].ended_ns = now_ns
                if last == number:
                    return

    def attribute(self, number: int, name: str, value: str) -> None:
        """Says something about an open span; the last word on a name stands.

        Raises:
            GuestFault: there never was such a span.
        """
        self._check(number)
        if number not in self._open:
            self.dropped += 1
            return
        known = self._spans[number - 1].attributes
        if (name not in known and len(known) >= MOST_ATTRIBUTES) or not self._takes(name + value):
            self.dropped += 1
            return
        known[name] = value

    def told(self) -> tuple[GuestSpan, ...]:
        """All of them; what is open ends now, with the run."""
        now_ns = time.monotonic_ns()
        return tuple(
            GuestSpan(
                one.name,
                one.parent,
                one.began_ns,
                one.ended_ns or now_ns,
                tuple(one.attributes.items()),
            )
            for one in self._spans
        )

    def _takes(self, text: str) -> bool:
        size = len(text.encode())
        if self._bytes + size > MOST_BYTES:
            return False
        self._bytes += size
        return True

    def _check(self, number: int) -> None:
        if not 0 <= number <= len(self._spans):
            raise GuestFault(f"there is no span {number}")


class _Entry:
    """One span while the run goes on."""

    __slots__ = ("attributes", "began_ns", "ended_ns", "name", "parent")

    def __init__(self, name: str, parent: int) -> None:
        self.name = name
        self.parent = parent
        self.began_ns = time.monotonic_ns()
        self.ended_ns = 0
        self.attributes: dict[str, str] = {}
