import time
import uuid
from concurrent.futures import ThreadPoolExecutor

from stockade.core.ports import Clock
from stockade.infra.system_clock import SystemClock

CLOCK: Clock = SystemClock()


def test_the_time_is_unix_time_in_milliseconds() -> None:
    before = time.time_ns() // 1_000_000
    assert before - 1 <= CLOCK.now_ms() <= time.time_ns() // 1_000_000


def test_an_id_is_a_uuid_of_version_seven_in_canonical_form() -> None:
    text = CLOCK.new_id()
    made = uuid.UUID(text)
    assert (str(made), made.version, made.variant) == (text, 7, uuid.RFC_4122)
    assert abs((made.int >> 80) - CLOCK.now_ms()) < 5_000


def test_ids_increase() -> None:
    ids = [CLOCK.new_id() for _ in range(20_000)]
    assert ids == sorted(set(ids))


def test_ids_of_all_threads_differ_and_increase_in_each() -> None:
    def make(_: int) -> list[str]:
        return [CLOCK.new_id() for _ in range(2_000)]

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(make, range(8)))
    assert all(ids == sorted(ids) for ids in made)
    assert len({one for ids in made for one in ids}) == 16_000
