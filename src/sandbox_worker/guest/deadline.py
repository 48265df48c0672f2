"""The executor's one timer: at the wall limit the epoch moves on and the guest traps.

An interval timer's signal wakes a thread through a pipe, because a Python signal handler would not
run while the main thread is inside the guest. Arming and disarming cost a system call each. The
supervisor's SIGKILL stands behind this: an epoch does not interrupt native code.

A run that says something (log lines, events) moves the alarm forward once in a while; the thread
then tells it and sets the alarm back. A run that says nothing pays nothing for that.
"""

import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Protocol

from wasmtime import Engine

TELL_SECONDS = 0.1
"""How long what a guest says waits for more, before the supervisor is told."""
_AT_ONCE_SECONDS = 0.0001
_MARK = b"\xff"
"""No signal's number: asks the thread whether it has heard all alarms before."""


class RunTimer(Protocol):
    """Stops the running guest when its time is over, and has told what it says until then."""

    def arm(self, seconds: float) -> None:
        """Starts the countdown."""

    def disarm(self) -> None:
        """Stops it; from here on nothing is told of the run."""

    def tell_soon(self) -> None:
        """Has told, within a moment, what the run has said; only between `arm` and `disarm`."""


class NoTimer:
    """Stands for the deadline where guests are our own: its thread must not exist before a fork."""

    def arm(self, _seconds: float) -> None:
        """Does nothing."""

    def disarm(self) -> None:
        """Does nothing."""

    def tell_soon(self) -> None:
        """Does nothing."""


class Deadline:
    """One timer for the executor's one running guest. Must be made in the main thread.

    Args:
        engine: Whose epoch moves on at the wall limit.
        tell: Tells what the guest has said; called in the timer's thread, while the guest runs.
    """

    def __init__(self, engine: Engine, tell: Callable[[], None] = lambda: None) -> None:
        self._engine = engine
        self._tell = tell
        self._fired = 0
        self._ticked = 0
        self._wall_at: float | None = None
        """When the time is over, on the monotonic clock, where the alarm comes before that."""
        self._early = False
        self._telling = self._settled = False
        self._tick = threading.Condition()
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        signal.signal(signal.SIGALRM, self._on_alarm)
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        self._thread = threading.Thread(target=self._hear_alarms, daemon=True)
        self._thread.start()

    def arm(self, seconds: float) -> None:
        """Starts the countdown."""
        signal.setitimer(signal.ITIMER_REAL, seconds)

    def disarm(self) -> None:
        """Stops it; a timer that has just fired is waited for, so it cannot stop the next run."""
        if self._wall_at is not None:
            self._settle()
            return
        signal.setitimer(signal.ITIMER_REAL, 0)
        if self._fired == self._ticked:
            return
        with self._tick:
            self._tick.wait_for(lambda: self._ticked >= self._fired)

    def tell_soon(self) -> None:
        """Moves the alarm forward, unless it is near, or was moved already."""
        if self._early:
            return
        with self._tick:
            left, _ = signal.setitimer(signal.ITIMER_REAL, TELL_SECONDS)
            if left <= TELL_SECONDS:
                # Nothing is left to be told before the end; or the alarm has just gone off.
                signal.setitimer(signal.ITIMER_REAL, left)
                return
            if self._wall_at is None:
                self._wall_at = time.monotonic() + left
            self._early = True

    def _settle(self) -> None:
        """Stops it where several alarms may have gone off while the guest ran.

        Python tells of those as of one, so their count says nothing: the thread itself is asked,
        unless it has told all that it was to tell and the next alarm is still to come.
        """
        left, _ = signal.setitimer(signal.ITIMER_REAL, 0)
        with self._tick:
            if self._telling or not (self._early and left > 0):
                # The thread sets no alarm any more.
                self._wall_at = 0.0
                signal.setitimer(signal.ITIMER_REAL, 0)
                self._settled = False
                os.write(self._writer, _MARK)
                self._tick.wait_for(lambda: self._settled)
            self._fired = self._ticked
        self._wall_at, self._early = None, False

    def close(self) -> None:
        """Ends the thread and gives the signal back."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        os.close(self._writer)
        self._thread.join()
        os.close(self._reader)

    def _on_alarm(self, _signal: int, _frame: object) -> None:
        self._fired += 1

    def _hear_alarms(self) -> None:
        while data := os.read(self._reader, 64):
            marks = data.count(_MARK)
            if len(data) > marks:
                self._hear_alarm()
            with self._tick:
                self._ticked += len(data) - marks
                self._settled |= marks > 0
                self._telling = False
                self._tick.notify_all()

    def _hear_alarm(self) -> None:
        if self._is_over():
            self._engine.increment_epoch()
        else:
            self._tell()

    def _is_over(self) -> bool:
        """Whether the run's time is over; if not, the alarm is set for when it will be."""
        with self._tick:
            if self._wall_at is None:
                return True
            left = self._wall_at - time.monotonic()
            if left <= 0:
                return True
            self._early, self._telling = False, True
            signal.setitimer(signal.ITIMER_REAL, max(left, _AT_ONCE_SECONDS))
            return False
