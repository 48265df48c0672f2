import pytest

from stockade.core.errors import StockadeError
from stockade.core.queue_clock import QueueClock
from stockade.infra.memory.memory_queue import MemoryInvocationQueue
from stockade.infra.system_clock import SystemClock

HOUR_MS = 3_600_000


class HandClock(SystemClock):
    """Moved by hand."""

    def __init__(self, now_ms: int) -> None:
        self.time_ms = now_ms

    def now_ms(self) -> int:
        return self.time_ms


class SlowQueue(MemoryInvocationQueue):
    """Tells its time in the middle of a round trip of the asker's clock."""

    def __init__(self, asker: HandClock, told_ms: int) -> None:
        super().__init__(SystemClock())
        self.asker, self.told_ms = asker, told_ms

    async def time_ms(self) -> int:
        self.asker.time_ms += 100
        return self.told_ms


@pytest.mark.parametrize("ahead_ms", [-HOUR_MS, 0, HOUR_MS])
async def test_it_goes_by_the_queues_time_and_the_machines_pace(ahead_ms: int) -> None:
    machine = HandClock(10 * HOUR_MS)
    clock = QueueClock(machine, SlowQueue(machine, 10 * HOUR_MS + 50 + ahead_ms))
    assert (clock.now_ms(), clock.was_set) == (10 * HOUR_MS, False)
    await clock.set()
    assert clock.was_set
    assert clock.now_ms() - machine.now_ms() == ahead_ms
    machine.time_ms += 7
    assert clock.now_ms() - machine.now_ms() == ahead_ms


@pytest.mark.parametrize("trips_ms", [(4000, 100), (4000, 900, 700), (900, 700, 4000)])
async def test_an_answer_that_was_long_on_its_way_does_not_count(
    trips_ms: tuple[int, ...],
) -> None:
    class Returning(MemoryInvocationQueue):
        """Away at first; tells the machine's own time at the end of each trip."""

        async def time_ms(self) -> int:
            machine.time_ms += next(trips)
            return machine.time_ms

    trips, machine = iter(trips_ms), HandClock(10 * HOUR_MS)
    clock = QueueClock(machine, Returning(SystemClock()))
    await clock.set()
    assert clock.now_ms() - machine.now_ms() == min(trips_ms) // 2
    assert not list(trips)


async def test_while_the_queue_is_away_it_stays_as_it_was() -> None:
    class Away(MemoryInvocationQueue):
        async def time_ms(self) -> int:
            raise StockadeError("queue.unavailable", "Away.", retryable=True)

    machine = HandClock(5)
    clock = QueueClock(machine, Away(SystemClock()))
    with pytest.raises(StockadeError):
        await clock.set()
    assert (clock.now_ms(), clock.was_set) == (5, False)


def test_ids_are_the_machines() -> None:
    machine = SystemClock()
    assert QueueClock(machine, MemoryInvocationQueue(machine)).new_id() > machine.new_id()[:8]
