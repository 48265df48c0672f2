"""What this worker learned of retries, shared with the other workers.

Every half second, and at the end, the lessons since the last round are taught to the state that all
workers share (ADR 24): load, teach, compare and swap; who lost a race begins again. This worker's
view becomes what was written, and what it saw meanwhile. A store that is away delays no run: then
the worker learns by itself, and keeps its newest lessons for later.
"""

import asyncio
import random
import secrets
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import structlog

from sandbox_worker.metrics import WorkerMetrics
from stockade.core.errors import StockadeError
from stockade.core.learned_states import LearnedState, LearnedStates, StateWrite
from stockade.core.single_flight import SingleFlight
from stockade.retry.journal import Batch, Journal, replay
from stockade.retry.learned import LearnedRetryPolicy
from stockade.retry.memory import MOST_PARTS, function_key, scopes_of, subject_key
from stockade.retry.parts import PLATFORM, Key, Part
from stockade.retry.state import part_of, plain
from stockade.retry.types import (
    AttemptObservation,
    ConsideringPolicy,
    FailureContext,
    RetryDecision,
    Source,
)

_log = structlog.get_logger()
ROUND_SECONDS = 0.5
_LAST_ROUND_SECONDS = 2.0
_PREPARE_SECONDS = 0.1
"""What a decision waits for a state at most, when the store does not answer at once."""
_AWAY_SECONDS = 2.0
"""Nobody waits for the store so soon after it did not answer."""
_TELL_AWAY_SECONDS = 60.0
_FRESH_SECONDS = 2.0
_ACTIVE_SECONDS = 5.0
_BATCH, _BATCHES = 32, 32
"""Scopes between two looks at other work, and how often of that in one round."""
_TRIES = 4
_TROUBLES = (
    *(TimeoutError, StockadeError),
    *(ArithmeticError, LookupError, ValueError, RuntimeError),
)
_BY_FIXED = "What was learned could not be read, so the fixed rules decide: "


class SharedLearning:
    """The learned policy over what all workers know.

    Args:
        policy: Decides, by a memory that is this worker's view of the shared states.
        fixed: Rules for a function whose state could not be read, until there is a new one.
        states: Where the states are.
        metrics: Counts what is shared, lost and set aside.
    """

    def __init__(
        self,
        policy: LearnedRetryPolicy,
        fixed: ConsideringPolicy,
        states: LearnedStates,
        metrics: WorkerMetrics,
    ) -> None:
        self._policy, self._fixed, self._states = policy, fixed, states
        self._metrics = metrics
        self._memory = policy.memory
        self._journal = self._memory.journal = Journal()
        self._in_hand: dict[Key, Batch] = {}
        self._seen: dict[Key, float] = {}
        self._active: dict[Key, float] = {}
        self._away_until = self._dropped = 0.0
        self._told_away = -_TELL_AWAY_SECONDS
        self._flights: SingleFlight[tuple[Key, ...], None] = SingleFlight()

    # -- the policy --------------------------------------------------------------------------------

    def decide(self, context: FailureContext) -> RetryDecision:
        """Whether this failure is tried again, when and with which limits."""
        if self._is_aside(context.source):
            return _by_fixed(self._fixed.decide(context))
        return self._policy.decide(context)

    def consider(self, context: FailureContext) -> RetryDecision:
        """What it would decide now; takes nothing for it."""
        if self._is_aside(context.source):
            return _by_fixed(self._fixed.consider(context))
        return self._policy.consider(context)

    def observe(self, observation: AttemptObservation) -> None:
        """Learns from an attempt's end, and notes it for the others."""
        self._policy.observe(observation)

    async def prepare(self, source: Source) -> None:
        """Sees to it that what all know of a source is known here; before it is decided about."""
        now = asyncio.get_running_loop().time()
        scopes = scopes_of(source)
        self._touch(scopes)
        old = now - _FRESH_SECONDS
        stale = tuple(key for key in scopes if self._seen.get(key, old - 1) < old)
        if not stale or now < self._away_until:
            return
        try:
            async with asyncio.timeout(_PREPARE_SECONDS):
                await self._flights.run(stale, lambda: self._refresh(stale))
        except _TROUBLES as error:
            # What cannot be known is no run's trouble.
            _log.warning("learning_not_prepared", error=type(error).__name__)
            self._note_away()

    # -- the rounds --------------------------------------------------------------------------------

    @asynccontextmanager
    async def sharing(self) -> AsyncIterator[None]:
        """Shares in rounds meanwhile, and what is left at the end."""
        rounds = asyncio.ensure_future(self._share_forever())
        try:
            yield
        finally:
            rounds.cancel()
            await asyncio.gather(rounds, return_exceptions=True)
            try:
                async with asyncio.timeout(_LAST_ROUND_SECONDS):
                    await self.share()
            except _TROUBLES as error:
                name, lessons = type(error).__name__, self._journal.lessons
                _log.warning("learning_not_shared", lessons=lessons, error=name)

    async def _share_forever(self) -> None:
        while True:
            await asyncio.sleep(ROUND_SECONDS * random.uniform(0.8, 1.2))  # noqa: S311 - spreads
            try:
                await self.share()
            except _TROUBLES as error:
                _log.error("learning_round_broke", exc_info=error)

    async def share(self) -> None:
        """One round."""
        await self._share_batch(self._stale())
        for _ in range(_BATCHES - 1):
            if not self._journal.waiting or self._is_resting:
                break
            await self._share_batch(())
        self._hold(PLATFORM)
        await self._share_keys([PLATFORM])
        dropped, self._dropped = self._journal.dropped - self._dropped, self._journal.dropped
        self._metrics.learned("dropped", dropped)

    async def _share_batch(self, refreshed: Iterable[Key]) -> None:
        for key in self._journal.first(_BATCH):
            self._hold(key)
        mine = [key for key in self._in_hand if key != PLATFORM]
        await self._share_keys([*mine, *(key for key in refreshed if key not in self._in_hand)])

    async def _share_keys(self, keys: Sequence[Key]) -> None:
        for _ in range(_TRIES):
            keys = await self._try(keys)
            if not keys:
                return

    def _hold(self, key: Key) -> None:
        """Takes a scope's batch in hand, unless an earlier one is still not known to be there."""
        if key not in self._in_hand:
            batch = self._journal.cut_one(key)
            if not batch.is_nothing:
                self._in_hand[key] = batch

    async def _try(self, keys: Sequence[Key]) -> list[Key]:
        """Shares these scopes' batches, or looks at those without; those that lost a race."""
        writes: list[StateWrite] = []
        taught: dict[Key, tuple[Part, Batch]] = {}
        again: list[Key] = []
        for key, found in zip(keys, await self._states.load(keys), strict=True):
            batch = self._in_hand.get(key)
            if found is None:
                self._give_back(key)
            elif batch is None or (batch.token and batch.token == found.token):
                self._in_hand.pop(key, None)
                await self._adopt(key, found)
            elif (part := await self._read(key, found)) is None:
                again.append(key)
            else:
                taught[key] = part, replay(key, part, batch)
                batch.token = secrets.token_hex(8)
                writes.append(
                    StateWrite(key, found.revision, plain(part), batch.token, _stays_aside(part))
                )
        for write, done in zip(writes, await self._states.swap(writes), strict=True):
            if done:
                self._settle(write.scope, *taught[write.scope])
            elif done is False:
                self._in_hand[write.scope].token = ""
                again.append(write.scope)
        self._metrics.learned("raced", len(again))
        return again

    def _settle(self, key: Key, part: Part, told: Batch) -> None:
        """A batch is there; what the platform is to hear of it goes with the next."""
        batch = self._in_hand.pop(key)
        self._metrics.learned("shared", len(batch.lessons))
        if key != PLATFORM:
            self._journal.tell_platform(told)
        self._view(key, part)
        self._away_until = 0.0

    def _give_back(self, key: Key) -> None:
        """A batch that was surely not written waits with those that come."""
        batch = self._in_hand.get(key)
        if batch is not None and not batch.token:
            self._journal.give_back(key, self._in_hand.pop(key))
        self._note_away()

    # -- the view ----------------------------------------------------------------------------------

    async def _refresh(self, keys: Sequence[Key]) -> None:
        for key, found in zip(keys, await self._states.load(keys), strict=True):
            if found is None:
                self._note_away()
            else:
                await self._adopt(key, found)

    async def _adopt(self, key: Key, found: LearnedState) -> None:
        part = await self._read(key, found)
        if part is None:
            part = Part(frozen=found.frozen, aside=True)
        self._view(key, part, found.token)

    def _view(self, key: Key, part: Part, token: str = "") -> None:
        """This is what all know of a scope; what they do not know yet is added."""
        unshared = [batch for batch in (self._in_hand.get(key),) if batch and batch.token != token]
        unshared += [batch for batch in (self._journal.batches.get(key),) if batch]
        self._memory.adopt(key, part, unshared)
        if len(self._seen) >= MOST_PARTS:
            self._seen.clear()
        self._seen[key] = asyncio.get_running_loop().time()

    async def _read(self, key: Key, found: LearnedState) -> Part | None:
        """The part of a state; None when it could not be read, and was set aside."""
        try:
            part = Part() if found.state is None else part_of(found.state)
        except ValueError as error:
            if await self._states.set_aside(key, found.revision):
                _log.error("learned_state_set_aside", scope=list(key), reason=str(error))
                self._metrics.learned("set_aside", 1)
            return None
        part.frozen, part.aside = found.frozen, found.aside and len(key) > 1
        return part

    def _is_aside(self, source: Source) -> bool:
        known = self._memory.known
        found = (known(key) for key in (function_key(source), subject_key(source)))
        return any(part is not None and _stays_aside(part) for part in found)

    def _touch(self, keys: Iterable[Key]) -> None:
        now = asyncio.get_running_loop().time()
        for key in keys:
            self._active[key] = now

    def _stale(self) -> list[Key]:
        """Scopes in use of which this worker has nothing to tell; those seen longest ago first."""
        now = asyncio.get_running_loop().time()
        self._active = {
            key: at for key, at in self._active.items() if now - at < _ACTIVE_SECONDS and key
        }
        told = self._journal.batches
        keys = [key for key in self._active if key not in told and key not in self._in_hand]
        return sorted(keys, key=lambda key: self._seen.get(key, 0.0))[: _BATCH * 8]

    @property
    def _is_resting(self) -> bool:
        return asyncio.get_running_loop().time() < self._away_until

    def _note_away(self) -> None:
        now = asyncio.get_running_loop().time()
        if not self._is_resting:
            self._metrics.learned("away", 1)
        if now - self._told_away >= _TELL_AWAY_SECONDS:
            self._told_away = now
            _log.warning("learning_store_away", lessons=self._journal.lessons)
        self._away_until = now + _AWAY_SECONDS


def _stays_aside(part: Part) -> bool:
    return part.aside and not part.is_fresh


def _by_fixed(decision: RetryDecision) -> RetryDecision:
    return replace(decision, reason=_BY_FIXED + decision.reason)
