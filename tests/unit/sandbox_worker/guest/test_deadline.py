"""The one timer: it ends runs in time, and has told what they say until then."""

import hashlib
import itertools
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from sandbox_worker.guest.deadline import TELL_SECONDS, Deadline, NoTimer

if TYPE_CHECKING:
    from wasmtime import Engine


class Epochs:
    """An engine whose epoch can be looked at."""

    def __init__(self) -> None:
        self.moved = threading.Semaphore(0)

    def increment_epoch(self) -> None:
        self.moved.release()


class Timer:
    def __init__(self) -> None:
        self.engine = Epochs()
        self.told = threading.Semaphore(0)
        engine: Engine = self.engine  # type: ignore[assignment] # all that the timer calls
        self.deadline = Deadline(engine, self.told.release)

    def moved(self) -> bool:
        return _waited(self.engine.moved)


def _waited(semaphore: threading.Semaphore) -> bool:
    """As the main thread waits while a guest runs, signals are handled in between."""
    give_up = time.monotonic() + 10
    while not semaphore.acquire(timeout=0.01):
        if time.monotonic() > give_up:
            return False
    return True


@pytest.fixture
def timer() -> Iterator[Timer]:
    made = Timer()
    yield made
    made.deadline.close()


def test_the_epoch_moves_at_the_limit(timer: Timer) -> None:
    timer.deadline.arm(0.01)
    assert timer.moved()
    timer.deadline.disarm()
    assert not timer.told.acquire(blocking=False)


def test_what_is_said_is_told_soon_and_the_limit_stays(timer: Timer) -> None:
    began = time.monotonic()
    timer.deadline.arm(5 * TELL_SECONDS)
    for _ in range(2):
        timer.deadline.tell_soon()
        timer.deadline.tell_soon()
        assert _waited(timer.told)
        assert not timer.engine.moved.acquire(blocking=False)
    assert timer.moved()
    assert time.monotonic() - began >= 5 * TELL_SECONDS
    timer.deadline.disarm()
    assert not timer.told.acquire(blocking=False)


def test_shortly_before_the_limit_nothing_is_told(timer: Timer) -> None:
    timer.deadline.arm(TELL_SECONDS / 2)
    timer.deadline.tell_soon()
    assert timer.moved()
    timer.deadline.tell_soon()
    timer.deadline.disarm()
    assert not timer.told.acquire(blocking=False)


def test_behind_a_run_nothing_of_it_goes_off(timer: Timer) -> None:
    for _ in range(50):
        timer.deadline.arm(10)
        timer.deadline.tell_soon()
        timer.deadline.disarm()
    assert not timer.engine.moved.acquire(blocking=False)
    timer.deadline.arm(0.01)
    assert timer.moved()
    timer.deadline.disarm()


def test_alarms_that_come_together_are_counted_right_for_the_next_run() -> None:
    begun, goes_on = threading.Semaphore(0), threading.Semaphore(0)
    engine, calls, told = Epochs(), itertools.count(), threading.Event()

    def tell() -> None:
        if next(calls):
            begun.release()
            goes_on.acquire()
            told.set()

    deadline = Deadline(engine, tell)  # type: ignore[arg-type] # all that the timer calls
    deadline.arm(2.5 * TELL_SECONDS)
    deadline.tell_soon()
    # Both alarms, the early one and the limit's, go off in here.
    hashlib.pbkdf2_hmac("sha256", b"", b"", 1_500_000)
    assert _waited(engine.moved)
    deadline.disarm()
    deadline.arm(10)
    deadline.tell_soon()
    assert _waited(begun)
    threading.Timer(0.05, goes_on.release).start()
    deadline.disarm()
    assert told.is_set(), "who tells was waited for"
    deadline.close()


def test_a_run_that_ends_while_it_is_told_is_waited_for() -> None:
    begun, goes_on = threading.Semaphore(0), threading.Semaphore(0)
    told = threading.Event()

    def tell() -> None:
        begun.release()
        goes_on.acquire()
        told.set()

    engine = Epochs()
    deadline = Deadline(engine, tell)  # type: ignore[arg-type] # all that the timer calls
    deadline.arm(10)
    deadline.tell_soon()
    assert _waited(begun)
    threading.Timer(0.05, goes_on.release).start()
    deadline.disarm()
    assert told.is_set()
    deadline.close()


def test_no_timer_does_nothing() -> None:
    timer = NoTimer()
    timer.arm(1)
    timer.tell_soon()
    timer.disarm()
