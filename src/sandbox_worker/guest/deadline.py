"""The deadline inside the executor: at the wall limit the epoch moves on and the guest traps.

An interval timer's signal wakes a thread through a pipe, because a Python signal handler would not
run while the main thread is inside the guest. Arming and disarming cost a system call each. The
supervisor's SIGKILL stands behind this: an epoch does not interrupt native code.
"""

import os
import signal
import threading
from typing import Protocol

from wasmtime import Engine


class RunTimer(Protocol):
    """Stops the running guest when its time is over."""

    def arm(self, seconds: float) -> None:
        """Starts the countdown."""

    def disarm(self) -> None:
        """Stops it."""


class NoTimer:
    """Stands for the deadline where guests are our own: its thread must not exist before a fork."""

    def arm(self, _seconds: float) -> None:
        """Does nothing."""

    def disarm(self) -> None:
        """Does nothing."""


class Deadline:
    """One timer for the executor's one running guest. Must be made in the main thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._fired = 0
        self._ticked = 0
        self._tick = threading.Condition()
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        signal.signal(signal.SIGALRM, self._on_alarm)
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        self._thread = threading.Thread(target=self._move_epoch, daemon=True)
        self._thread.start()

    def arm(self, seconds: float) -> None:
        """Starts the countdown."""
        signal.setitimer(signal.ITIMER_REAL, seconds)

    def disarm(self) -> None:
        """Stops it; a timer that has just fired is waited for, so it cannot stop the next run."""
        signal.setitimer(signal.ITIMER_REAL, 0)
        if self._fired == self._ticked:
            return
        with self._tick:
            self._tick.wait_for(lambda: self._ticked >= self._fired)

    def close(self) -> None:
        """Ends the thread and gives the signal back."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        os.close(self._writer)
        self._thread.join()
        os.close(self._reader)

    def _on_alarm(self, _signal: int, _frame: object) -> None:
        self._fired += 1

    def _move_epoch(self) -> None:
        while data := os.read(self._reader, 64):
            self._engine.increment_epoch()
            with self._tick:
                self._ticked += len(data)
                self._tick.notify_all()
