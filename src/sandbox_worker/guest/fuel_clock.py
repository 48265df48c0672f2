"""The guest's clock: it goes by the fuel that was used, so that it cannot measure the machine.

One unit of fuel is one nanosecond. A guest that waits for a time to come gets there, two runs of
the same work take the same time, and what neighbours do to the processor is not to be seen. Only
after a call that really waited does the clock catch up with the world's; it never goes back.
"""

import time


class FuelClock:
    """One run's clock.

    Args:
        fuel: What the run has at its start.
    """

    __slots__ = ("_fuel", "_jumped_ns", "_started")

    def __init__(self, fuel: int) -> None:
        self._fuel = fuel
        self._jumped_ns = 0
        self._started = {
            time.CLOCK_REALTIME: time.clock_gettime_ns(time.CLOCK_REALTIME),
            time.CLOCK_MONOTONIC: time.clock_gettime_ns(time.CLOCK_MONOTONIC),
        }

    def now_ns(self, clock: int, fuel_left: int) -> int:
        """Nanoseconds on `time.CLOCK_REALTIME` or `time.CLOCK_MONOTONIC`."""
        return self._started[clock] + self._elapsed_ns(fuel_left)

    def catch_up(self, fuel_left: int) -> None:
        """Moves the clock to the world's time, if it is behind."""
        started = self._started[time.CLOCK_MONOTONIC]
        real_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC) - started
        self._jumped_ns += max(0, real_ns - self._elapsed_ns(fuel_left))

    def _elapsed_ns(self, fuel_left: int) -> int:
        return self._jumped_ns + self._fuel - fuel_left
