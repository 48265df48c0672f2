"""Spans that guests open within their run: what they are, and how many there may be.

A guest names steps and says facts about them; the host notes when. Nothing comes back but a number
that the guest's own calls alone decide, whether anybody records or not: a module that uses this
stays deterministic. Times are told in whole milliseconds, or else two spans would be a stopwatch
for whatever a guest does in between (ADR 33).
"""

from dataclasses import dataclass

MOST_SPANS = 64
MOST_DEPTH = 16
MOST_NAME_BYTES = 64
MOST_VALUE_BYTES = 256
MOST_ATTRIBUTES = 16
"""Of one span."""
MOST_BYTES = 8 * 1024
"""Of all names and values of a run."""
GRAIN_NS = 1_000_000


@dataclass(frozen=True, slots=True)
class GuestSpan:
    """One span. `parent` is the number of the one around it, from 1; 0 is the run itself.

    Times are nanoseconds of the host's steady clock; names and values are the guest's own.
    """

    name: str
    parent: int
    began_ns: int
    ended_ns: int
    attributes: tuple[tuple[str, str], ...] = ()
