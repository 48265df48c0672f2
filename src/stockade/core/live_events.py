"""What runs say while they go on: kept for a while, bounded, read by whoever listens.

What a run says is numbered within its attempt, lines and events each from 0. The record has all of
the last attempt in the end; what was told live is what there is until then, and of earlier
attempts. A gap in the numbers says that something was dropped, and how much.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from stockade.core.errors import StockadeError
from stockade.core.invocations import Claim
from stockade.core.outcomes import Event, LogLine

MOST_BYTES = 256 * 1024
"""What is kept of one invocation; the oldest goes first."""
_PLACE = re.compile(r"(\d{1,9})\.(\d{1,9})\.(\d{1,9})\.([012])", re.ASCII)


@dataclass(frozen=True, slots=True)
class Spoken:
    """What an attempt said in one go: lines and events, and the numbers of the first of each.

    `logs_cut` and `events_cut` say that more came behind them, beyond the limit of log bytes, and
    was dropped.
    """

    attempt: int
    logs: tuple[LogLine, ...] = ()
    events: tuple[Event, ...] = ()
    first_log: int = 0
    first_event: int = 0
    logs_cut: bool = False
    events_cut: bool = False


@dataclass(frozen=True, slots=True)
class Heard:
    """What was said since a place in what an invocation said, and the place behind it."""

    place: str
    spoken: Sequence[Spoken] = field(default_factory=tuple)


class LiveEvents(Protocol):
    """What invocations say, from workers to gateways. Losing it loses no run and no record.

    Every method may raise `StockadeError` with `queue.unavailable`.
    """

    async def tell(self, claim: Claim, spoken: Spoken) -> bool:
        """Keeps what an attempt said; False when the claim is not held any more."""

    async def listen(self, tenant: str, invocation_id: str) -> None:
        """Asks to be woken (`read` returns early) when the invocation's record changes."""

    async def read(
        self, tenant: str, invocation_id: str, after: str, timeout_seconds: float
    ) -> Heard:
        """What was said behind a place ('' is the beginning), waiting for it up to the timeout.

        Also comes back when the record changed; then nothing may have been said.
        """


@dataclass(frozen=True, slots=True, order=True)
class ListenerPlace:
    """How far a listener has been told of an invocation, in an order that is always the same.

    Attempt by attempt: that it runs, its lines and events, its end. `attempt` 0 is the waiting for
    the first; `logs` and `events` count what was told of this attempt; `end` is 1 when its end was
    told and another attempt comes, 2 when the invocation's was.
    """

    attempt: int = 0
    logs: int = 0
    events: int = 0
    end: int = 0

    @property
    def text(self) -> str:
        """The place as the id of what led there."""
        return f"{self.attempt}.{self.logs}.{self.events}.{self.end}"

    @classmethod
    def parse(cls, text: str) -> "ListenerPlace":
        """The place that an id names.

        Raises:
            StockadeError: `events.place_invalid`.
        """
        found = _PLACE.fullmatch(text)
        if found is None:
            raise StockadeError(
                "events.place_invalid",
                "Last-Event-ID is no id of these events. Send the last one that you saw, or none.",
            )
        attempt, logs, events, end = map(int, found.groups())
        return cls(attempt, logs, events, end)
