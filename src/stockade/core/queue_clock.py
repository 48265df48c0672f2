"""The queue's time, which all gateways and workers share however wrong their own clocks are."""

from stockade.core.ports import Clock, InvocationQueue

_MOST_ASKED, _SHORT_TRIP_MS = 3, 200


class QueueClock:
    """A `Clock` that goes as the machine's does and is set by the queue's.

    Deadlines, delays and lease ends are told by the queue's server, so what is compared with them
    must be of the same clock. Until it was set once, it is the machine's.
    """

    def __init__(self, clock: Clock, queue: InvocationQueue) -> None:
        self._clock = clock
        self._queue = queue
        self._ahead_ms = 0
        self.was_set = False

    async def set(self) -> None:
        """Sets it by the queue; what the answer took on its way is split in half.

        An answer that was long on its way says little: a server that was away for seconds would put
        the clock off by half of them. So it is asked again, and the quickest answer counts.

        Raises:
            StockadeError: `queue.unavailable`.
        """
        trips: list[tuple[int, int]] = []
        while len(trips) < _MOST_ASKED:
            asked_ms = self._clock.now_ms()
            told_ms = await self._queue.time_ms()
            answered_ms = self._clock.now_ms()
            trip_ms = abs(answered_ms - asked_ms)
            trips.append((trip_ms, told_ms - (asked_ms + answered_ms) // 2))
            if trip_ms <= _SHORT_TRIP_MS:
                break
        self._ahead_ms = min(trips)[1]
        self.was_set = True

    def now_ms(self) -> int:
        """Unix time in milliseconds, as the queue has it."""
        return self._clock.now_ms() + self._ahead_ms

    def new_id(self) -> str:
        """A new UUIDv7, by the machine's clock."""
        return self._clock.new_id()
