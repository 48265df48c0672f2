"""The worker's gate before every host call to an upstream: breakers shared by all workers.

While calls succeed, a worker counts them by itself and asks nobody. A failure is told to the store
behind the call's back, which opens the breaker for everybody. While one is open, calls are refused
before anything is sent; when it is time, or news came, one call asks the store, and goes out when
it got the probe. A store that is away is not waited for: this worker goes by its own counts then.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import SystemRandom
from types import TracebackType
from typing import NoReturn, Self

import structlog

from stockade.core.errors import StockadeError
from stockade.core.upstreams import (
    BreakerPolicy,
    CallFailure,
    UpstreamNews,
    UpstreamStore,
    Verdict,
    cause_of_code,
    cause_of_status,
    upstream_out,
)
from stockade.retry.breakers import Breaker, needed, weight_of
from stockade.retry.outages import Outage

_log = structlog.get_logger()
LOOK_MS = 1000
"""An open breaker is asked about at least so often, as long as calls come: news may be lost."""
MOST_LINES = 10_000
_STORE_SECONDS = 0.5
_AWAY_MS = 1000
_HUNG_MS = 1000
_MOST_TOLD = 1000
_LISTEN_SECONDS = 5.0
_AGAIN_SECONDS = 1.0
_ALIVE = "http_fetch.response_too_large"
_NOTHING = "none"
_NO_OUTAGE = frozenset({"429", _NOTHING})
_TROUBLE = (StockadeError, TimeoutError, RuntimeError, LookupError, ValueError)
"""What becomes of the store is no call's concern, not even when it is our fault."""


@dataclass(slots=True)
class BreakerCounts:
    """What this worker's gate did since it started.

    `opened` are breakers that opened, by whoever's calls; `refused` calls that were not sent;
    `probes` those that were sent to see whether an upstream is back; `failures` those that failed;
    `untold` failures that the store never heard of.
    """

    opened: int = 0
    refused: int = 0
    probes: int = 0
    failures: int = 0
    untold: int = 0


@dataclass(slots=True)
class _Line:
    """What this worker knows of one tenant's upstream."""

    tenant: str
    upstream: str
    breaker: Breaker = field(default_factory=Breaker)
    outage: Outage = field(default_factory=Outage)
    well_ms: int | None = None
    stale: bool = True
    look_ms: int = 0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def is_open(self) -> bool:
        return self.breaker.until_ms > 0

    def wants_look(self, now_ms: int) -> bool:
        """Whether the store must be asked before a call may go out, or be refused."""
        if self.stale:
            return True
        return self.is_open and now_ms >= min(self.breaker.until_ms, self.look_ms)


class Breakers:
    """See `UpstreamGate`.

    Args:
        store: What all workers share.
        news: Tells when a breaker opened or closed elsewhere.
        policy: The operator's.
        lease_ms: A probe that is not heard of for so long is given to another.
        now_ms: A clock that never goes back.
    """

    def __init__(
        self,
        store: UpstreamStore,
        news: UpstreamNews,
        policy: BreakerPolicy,
        lease_ms: int,
        now_ms: Callable[[], int] = lambda: time.monotonic_ns() // 1_000_000,
    ) -> None:
        self.counts = BreakerCounts()
        self._store, self._news, self._policy = store, news, policy
        self._lease_ms = lease_ms
        self.now_ms = now_ms
        self._lines: dict[tuple[str, str], _Line] = {}
        self._untold: asyncio.Queue[tuple[_Line, CallFailure | None]] = asyncio.Queue(_MOST_TOLD)
        self._away_until_ms = 0
        self._uniform = SystemRandom().random

    @property
    def open_now(self) -> int:
        """How many breakers are open, as far as this worker knows."""
        return sum(line.is_open for line in self._lines.values())

    async def enter(self, tenant: str, upstream: str) -> "CountedPassage":
        """Lets a call out, or refuses it."""
        line = self._line(tenant, upstream)
        if self._policy.failures == 0:
            return CountedPassage(self, line, 0)
        now_ms = self.now_ms()
        probe = await self._look(line) if line.wants_look(now_ms) else 0
        if probe == 0 and line.is_open:
            self.counts.refused += 1
            wait_ms = max(1, line.breaker.until_ms - self.now_ms())
            raise upstream_out(upstream, wait_ms)
        self.counts.probes += probe > 0
        return CountedPassage(self, line, probe)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Failures are told, and news heard, inside."""
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(self._tell()), tasks.create_task(self._hear())]
            try:
                yield
            finally:
                for task in running:
                    task.cancel()

    async def told(self) -> None:
        """Returns when the store has heard of all that ended so far, or will not."""
        await self._untold.join()

    def succeeded(self, line: _Line, probe: int) -> None:
        """A call was answered."""
        line.well_ms = self.now_ms()
        line.outage.observe(success=True, now_ms=line.well_ms)
        if probe:
            line.breaker.close()
            self._put(line, None)
        elif not line.is_open:
            line.breaker.weight = 0

    def failed(self, line: _Line, probe: int, cause: str, after_ms: int = 0) -> None:
        """A call failed, and the upstream is to blame, or a probe told nothing."""
        self.counts.failures += 1
        if cause not in _NO_OUTAGE:
            line.outage.observe(success=False, now_ms=self.now_ms())
        if self._policy.failures == 0:
            return
        enough = needed(line.outage.health, self._policy)
        now_ms, share = self.now_ms(), 0.5 + self._uniform() / 2
        well_ms_ago = None if line.well_ms is None else now_ms - line.well_ms
        failure = CallFailure(cause, weight_of(cause), enough, well_ms_ago, probe, after_ms)
        line.well_ms = None
        if line.breaker.fail(failure, self._policy, now_ms, share):
            self._opened(line, now_ms)
        self._put(line, failure)

    async def _look(self, line: _Line) -> int:
        """Asks whether the breaker is still open; the number of the probe, if it got one.

        Whoever comes meanwhile waits for the same answer.
        """
        async with line.lock:
            if not line.wants_look(self.now_ms()):
                return 0
            verdict = await self._ask(line)
            now_ms = self.now_ms()
            if verdict is None:
                line.stale = False
                line.look_ms = now_ms + LOOK_MS
                return line.breaker.ask(now_ms, self._lease_ms).probe
            self._adopt(line, verdict, now_ms)
            return verdict.probe

    async def _ask(self, line: _Line) -> Verdict | None:
        if self.now_ms() < self._away_until_ms:
            return None
        try:
            async with asyncio.timeout(_STORE_SECONDS):
                return await self._store.ask(line.tenant, line.upstream, self._lease_ms)
        except _TROUBLE:
            self._away_until_ms = self.now_ms() + _AWAY_MS
            return None

    async def _tell(self) -> NoReturn:
        while True:
            line, failure = await self._untold.get()
            try:
                await self._tell_one(line, failure)
            except _TROUBLE as error:
                _log.warning("upstream_failure_untold", error=type(error).__name__)
                self.counts.untold += 1
                self._away_until_ms = self.now_ms() + _AWAY_MS
            finally:
                self._untold.task_done()

    async def _tell_one(self, line: _Line, failure: CallFailure | None) -> None:
        if self.now_ms() < self._away_until_ms:
            self.counts.untold += 1
            return
        async with asyncio.timeout(_STORE_SECONDS):
            if failure is None:
                verdict = await self._store.close(line.tenant, line.upstream)
            else:
                told = await self._store.fail(line.tenant, line.upstream, failure)
                if told is None:
                    return
                verdict = told
            if verdict.wait_ms:
                self._adopt(line, verdict, self.now_ms())
            if verdict.changed:
                await self._news.tell(line.tenant, line.upstream)

    async def _hear(self) -> NoReturn:
        while True:
            try:
                told = await self._news.hear(_LISTEN_SECONDS)
            except _TROUBLE as error:
                _log.warning("upstream_news_not_heard", error=type(error).__name__)
                await asyncio.sleep(_AGAIN_SECONDS)
                continue
            for key in list(self._lines) if told is None else told:
                if key in self._lines:
                    self._lines[key].stale = True

    def _line(self, tenant: str, upstream: str) -> _Line:
        key = tenant, upstream
        line = self._lines.pop(key, None)
        if line is None:
            line = _Line(tenant, upstream)
            if len(self._lines) >= MOST_LINES:
                del self._lines[next(iter(self._lines))]
        self._lines[key] = line
        return line

    def _adopt(self, line: _Line, verdict: Verdict, now_ms: int) -> None:
        was_open = line.is_open
        line.stale = False
        line.breaker.adopt(verdict, now_ms)
        line.look_ms = now_ms + LOOK_MS
        if line.is_open and not was_open:
            self._opened(line, now_ms)

    def _opened(self, line: _Line, now_ms: int) -> None:
        line.look_ms = now_ms + LOOK_MS
        self.counts.opened += 1
        _log.warning("upstream_out", tenant=line.tenant, upstream=line.upstream)

    def _put(self, line: _Line, failure: CallFailure | None) -> None:
        try:
            self._untold.put_nowait((line, failure))
        except asyncio.QueueFull:
            self.counts.untold += 1


class CountedPassage:
    """See `Passage`."""

    def __init__(self, breakers: Breakers, line: _Line, probe: int) -> None:
        self._breakers, self._line, self._probe = breakers, line, probe
        self._status = self._after_ms = 0
        self._began_ms = breakers.now_ms()

    def answered(self, status: int, after_ms: int = 0) -> None:
        """An answer came, which perhaps asks to be left alone for some time."""
        self._status, self._after_ms = status, after_ms

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Counts the call's end."""
        cause = self._cause(error)
        if cause == "":
            self._breakers.succeeded(self._line, self._probe)
        elif cause is not None or self._probe:
            # A probe that tells nothing, cut off early perhaps, leaves the breaker open.
            self._breakers.failed(self._line, self._probe, cause or _NOTHING, self._after_ms)

    def _cause(self, error: BaseException | None) -> str | None:
        """Why the call failed; empty when it did not; None when it tells nothing."""
        if error is None:
            return cause_of_status(self._status)
        if isinstance(error, StockadeError):
            return "" if error.code == _ALIVE else cause_of_code(error.code) or None
        lasted_ms = self._breakers.now_ms() - self._began_ms
        return "timeout" if lasted_ms >= _HUNG_MS else None
