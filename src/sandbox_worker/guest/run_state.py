"""What one run holds on the host's side: its bounds, its log and events, its counts, its clock."""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from sandbox_worker.guest.faults import LimitHit
from sandbox_worker.guest.fuel_clock import FuelClock
from sandbox_worker.guest.span_book import SpanBook
from stockade.core.limits import Limits
from stockade.core.outcomes import Event, LogLine

if TYPE_CHECKING:
    from sandbox_worker.guest.varying import Varying

LINE_COST_BYTES = 16
"""Charged beside the text, so that a flood of empty lines or events is bounded too."""


class RunState:
    """The host's side of one run. Fresh for every run, dropped after it."""

    spans: SpanBook | None = None
    """Made at the first span."""

    def __init__(self, stdin: bytes, env: tuple[tuple[str, str], ...], limits: Limits) -> None:
        self.stdin = stdin
        self.stdin_offset = 0
        self.env = env
        self.limits = limits
        self.logs: list[LogLine] = []
        self.logs_truncated = False
        self.log_bytes = 0
        self.events: list[Event] = []
        self.events_truncated = False
        self.event_bytes = 0
        self.host_calls = 0
        self.stdout: list[bytes] = []
        self.stdout_bytes = 0
        self._partial_line = b""
        self.clock = FuelClock(limits.fuel)
        self.varying: Varying | None = None

    def count_host_call(self) -> None:
        """Counts one call of the guest into the host.

        Raises:
            LimitHit: `host_calls`.
        """
        self.host_calls += 1
        if self.host_calls > self.limits.host_calls:
            raise LimitHit("host_calls")

    def time_ns(self, name: str, clock: int, fuel_left: int) -> int:
        """Nanoseconds on a clock of the run's, for this host call."""
        now_ns = self.clock.now_ns(clock, fuel_left)
        if self.varying is None:
            return now_ns
        return self.varying.time_ns(self.host_calls, name, clock, now_ns)

    def random(self, name: str, size: int) -> bytes:
        """So many random bytes, for this host call."""
        if self.varying is None:
            return os.urandom(size)
        return self.varying.random(self.host_calls, name, size)

    def wait(self, name: str, asked: bytes, fresh: Callable[[], bytes]) -> bytes:
        """What a wait comes to, for this host call: what `fresh` returns when it waits."""
        if self.varying is None:
            return fresh()
        return self.varying.wait(self.host_calls, name, asked, fresh)

    def log(self, level: int, text: bytes) -> None:
        """Keeps one line, cut at the run's log bound; what does not fit is dropped and marked."""
        room = self.limits.log_bytes - self.log_bytes - LINE_COST_BYTES
        if room < len(text):
            self.logs_truncated = True
            if room <= 0:
                return
            text = text[:room]
        self.log_bytes += len(text) + LINE_COST_BYTES
        self.logs.append(LogLine(level, text.decode("utf-8", errors="replace")))

    def emit(self, name: str, data: str, size: int) -> None:
        """Keeps an event of so many bytes whole, or drops and marks it when it does not fit."""
        cost = size + LINE_COST_BYTES
        if self.event_bytes + cost > self.limits.log_bytes:
            self.events_truncated = True
            return
        self.event_bytes += cost
        self.events.append(Event(name, data))

    def span_book(self) -> SpanBook:
        """The run's spans."""
        if self.spans is None:
            self.spans = SpanBook()
        return self.spans

    def take_said(self) -> tuple[tuple[LogLine, ...], tuple[Event, ...]]:
        """What was said since this was last called; another thread may say more meanwhile."""
        logs, events = tuple(self.logs), tuple(self.events)
        # More may stand behind them by now: only what was taken goes.
        del self.logs[: len(logs)], self.events[: len(events)]
        return logs, events

    def write_stdout(self, data: bytes) -> None:
        """Appends to a WASI guest's output.

        Raises:
            LimitHit: `output`.
        """
        self.stdout_bytes += len(data)
        if self.stdout_bytes > self.limits.output_bytes:
            raise LimitHit("output")
        self.stdout.append(data)

    def write_stderr(self, level: int, data: bytes) -> None:
        """Splits a WASI guest's standard error into log lines."""
        if self.logs_truncated:
            return
        *lines, self._partial_line = (self._partial_line + data).split(b"\n")
        for line in lines:
            self.log(level, line)
        if len(self._partial_line) > self.limits.log_bytes:
            self.flush_stderr(level)

    def flush_stderr(self, level: int) -> None:
        """Logs what stands after the last line end."""
        if self._partial_line:
            self.log(level, self._partial_line)
            self._partial_line = b""

    def read_stdin(self, size: int) -> bytes:
        """The next bytes of a WASI guest's input, at most `size`."""
        chunk = self.stdin[self.stdin_offset : self.stdin_offset + size]
        self.stdin_offset += len(chunk)
        return chunk
