"""Comes between a run and what varies (time, randomness, waiting): notes it, or replays it.

What varies outside of the executor is the supervisor's to record and to replay; this is the rest.
"""

import os
from collections.abc import Callable
from typing import Protocol

from sandbox_worker.guest.faults import LimitHit
from sandbox_worker.guest.frames import HostCall, HostReply, Note
from stockade.core.recordings import CALL_COST_BYTES, MAX_RECORDED_CALLS

_NANOSECONDS_BYTES = 8
NOTED = frozenset({"now_ms", "random", "clock_time_get", "random_get", "poll_oneoff"})
"""What the executor answers itself, and differently another time."""
AskSupervisor = Callable[[HostCall], HostReply]


class Varying(Protocol):
    """What comes between a run and what varies; `at` is the call's place among all of the run's.

    `notes` is what was noted, `notes_cut` the first call that found no room; 0 when all did.
    """

    notes: list[Note]
    notes_cut: int

    def time_ns(self, at: int, name: str, clock: int, now_ns: int) -> int:
        """Nanoseconds on a clock, which shows `now_ns`."""

    def random(self, at: int, name: str, size: int) -> bytes:
        """So many random bytes."""

    def wait(self, at: int, name: str, asked: bytes, fresh: Callable[[], bytes]) -> bytes:
        """What a wait came to."""


class Noting:
    """What varies, as it is, and noted for as long as there is room.

    Args:
        room_bytes: For answers, arguments, and `CALL_COST_BYTES` for each call.
    """

    def __init__(self, room_bytes: int) -> None:
        self.notes: list[Note] = []
        self.notes_cut = 0
        self._room_bytes = room_bytes

    def time_ns(self, at: int, name: str, clock: int, now_ns: int) -> int:
        """The clock's own time."""
        self._note(at, name, clock_arguments(clock), _from_ns(now_ns))
        return now_ns

    def random(self, at: int, name: str, size: int) -> bytes:
        """The kernel's randomness."""
        content = os.urandom(size)
        self._note(at, name, size_arguments(size), content)
        return content

    def wait(self, at: int, name: str, asked: bytes, fresh: Callable[[], bytes]) -> bytes:
        """Waits."""
        ready = fresh()
        self._note(at, name, asked, ready)
        return ready

    def _note(self, at: int, name: str, arguments: bytes, answer: bytes) -> None:
        self._room_bytes -= len(arguments) + len(answer) + CALL_COST_BYTES
        if self._room_bytes < 0 or len(self.notes) >= MAX_RECORDED_CALLS:
            self.notes_cut = self.notes_cut or at
        if not self.notes_cut:
            self.notes.append(Note(at, name, arguments, answer))


class Replayed:
    """What varied in an earlier run, as the supervisor has it."""

    def __init__(self, ask: AskSupervisor) -> None:
        self.notes: list[Note] = []
        self.notes_cut = 0
        self._ask = ask

    def time_ns(self, at: int, name: str, clock: int, _now_ns: int) -> int:
        """The time that it was then."""
        answer = self._answer(at, name, clock_arguments(clock), _NANOSECONDS_BYTES)
        return int.from_bytes(answer, "little", signed=True)

    def random(self, at: int, name: str, size: int) -> bytes:
        """The randomness of then."""
        return self._answer(at, name, size_arguments(size), size)

    def wait(self, at: int, name: str, asked: bytes, _fresh: Callable[[], bytes]) -> bytes:
        """What the wait came to then, without waiting."""
        return self._answer(at, name, asked, None)

    def _answer(self, at: int, name: str, arguments: bytes, size: int | None) -> bytes:
        reply = self._ask(HostCall(name, data=arguments, at=at))
        if reply.stop or (size is not None and len(reply.data) != size):
            raise LimitHit(reply.stop or "host_calls")
        return reply.data


def clock_arguments(clock: int) -> bytes:
    """A clock's number as it is noted."""
    return size_arguments(clock)


def size_arguments(size: int) -> bytes:
    """A size as it is noted."""
    return size.to_bytes(8, "little")


def _from_ns(now_ns: int) -> bytes:
    return now_ns.to_bytes(_NANOSECONDS_BYTES, "little", signed=True)
