"""Sends spans to a collector from a thread of its own, in batches, and never makes anybody wait.

What waits is bounded in spans. A collector that is away or slow is asked again, ever more seldom; a
batch that it will not take after a while is given up, so that newer spans get their turn. Whatever
is dropped is counted.
"""

import asyncio
import random
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence

import structlog

from stockade.core.spans import SpanCounts, TracePart
from stockade.infra.tracing.otlp_messages import export_request
from stockade.infra.tracing.otlp_senders import NotSentError, OtlpSender

_log = structlog.get_logger()
_MOST_SPANS = 32_768
_BATCH_SPANS = 2048
_GATHER_SECONDS = 0.5
_PARTS_AT_ONCE = 32
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.5, 10.0
_GIVE_UP_SECONDS = 60.0
_LAST_SECONDS = 2.0
_COMPLAINT_SECONDS = 30.0


class OtlpExporter:
    """A `SpanExporter` over OTLP.

    Args:
        sender: Speaks to the collector; closed with this.
        counts: Told what becomes of spans.
        most_spans: So many may wait.
        first_pause_seconds: Until a batch that failed is sent again, then twice that, and so on.
        give_up_seconds: Until it is dropped.
    """

    def __init__(
        self,
        sender: OtlpSender,
        counts: SpanCounts,
        most_spans: int = _MOST_SPANS,
        first_pause_seconds: float = _FIRST_PAUSE_SECONDS,
        give_up_seconds: float = _GIVE_UP_SECONDS,
    ) -> None:
        self._sender = sender
        self._counts = counts
        self._most_spans = most_spans
        self._first_pause_seconds = first_pause_seconds
        self._give_up_seconds = give_up_seconds
        self._queue: deque[TracePart] = deque()
        self._waiting = 0
        self._lock = threading.Lock()
        self._more = threading.Event()
        self._stop = threading.Event()
        self._complained_at = float("-inf")
        self._thread = threading.Thread(target=self._run, name="otlp-exporter", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How many spans wait to be sent."""
        return self._waiting

    def offer(self, parts: Sequence[TracePart]) -> None:
        """Takes what is to be sent, or drops and counts what is too much."""
        with self._lock:
            for part in parts:
                if self._waiting + len(part.spans) > self._most_spans:
                    self._counts.spans_not_sent += len(part.spans)
                else:
                    self._waiting += len(part.spans)
                    self._queue.append(part)
        self._more.set()

    async def aclose(self) -> None:
        """Sends what waits, for a moment, and ends."""
        self._stop.set()
        self._more.set()
        await asyncio.to_thread(self._thread.join, _LAST_SECONDS)

    def _run(self) -> None:
        while True:
            self._more.wait()
            if not self._stop.is_set():
                # Few large batches cost less than many small ones.
                self._stop.wait(_GATHER_SECONDS)
            self._more.clear()
            while batch := self._batch():
                self._deliver(batch)
            if self._stop.is_set():
                self._sender.close()
                return

    def _batch(self) -> list[TracePart]:
        batch: list[TracePart] = []
        spans = 0
        with self._lock:
            while self._queue and spans < _BATCH_SPANS:
                batch.append(self._queue.popleft())
                spans += len(batch[-1].spans)
        return batch

    def _deliver(self, batch: list[TracePart]) -> None:
        """Sends a batch, again while that may help; the spans count as waiting until then."""
        count = sum(len(part.spans) for part in batch)
        try:
            refused = min(count, self._sent(batch))
            self._note(count, sent=count - refused, refused=refused)
        except NotSentError as error:
            self._complain(error, count)
            self._note(count, refused=0 if error.again else count)
        except Exception as error:  # noqa: BLE001 - the thread must outlive one batch's trouble
            _log.error("spans_not_sent", exc_info=error)
            self._note(count)

    def _note(self, count: int, sent: int = 0, refused: int = 0) -> None:
        """So many spans of a batch do not wait any more; the rest was given up."""
        with self._lock:
            self._waiting -= count
            self._counts.spans_sent += sent
            self._counts.spans_refused += refused
            self._counts.spans_not_sent += count - sent - refused

    def _sent(self, batch: list[TracePart]) -> int:
        request = b"".join(_pieces(batch))
        give_up, pause = time.monotonic() + self._give_up_seconds, self._first_pause_seconds
        while True:
            try:
                return self._sender.send(request)
            except NotSentError as error:
                rest = max(error.after_seconds, pause * random.uniform(0.5, 1.5))  # noqa: S311
                late = time.monotonic() + rest > give_up
                if not error.again or late or self._stop.is_set():
                    raise
                self._complain(error, 0)
            self._stop.wait(rest)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    def _complain(self, error: NotSentError, dropped: int) -> None:
        now = time.monotonic()
        if now - self._complained_at >= _COMPLAINT_SECONDS:
            self._complained_at = now
            _log.warning("collector_not_reached", why=str(error), dropped=dropped)


def _pieces(batch: Sequence[TracePart]) -> Iterator[bytes]:
    """The batch as messages that are one when put together; the event loop goes on in between."""
    for start in range(0, len(batch), _PARTS_AT_ONCE):
        yield export_request(batch[start : start + _PARTS_AT_ONCE])
        time.sleep(0)
