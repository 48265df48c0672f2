"""The `InvocationQueue` port over Redis Streams and Lua; see `redis_scripts/` for every transition.

Each verb is one round trip. A transition is one script, so it happens wholly or not at all, and
each may be sent again after a cut connection: the server recognises what it did already.
What acknowledges is confirmed durable in the same round trip (`stockade.infra.durability`).
"""

import itertools
import secrets
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from stockade.core.errors import StockadeError
from stockade.core.invocations import (
    Claim,
    Completion,
    Invocation,
    InvocationRecord,
    SubmitReceipt,
)
from stockade.core.live_events import MOST_BYTES
from stockade.core.outcomes import Progress
from stockade.infra.queue_answers import (
    Answer,
    backlog_limit,
    receipt_of,
    receipt_or_refusal,
    submission_digest,
)
from stockade.infra.queue_settings import QueueSettings
from stockade.infra.redis.redis_cancels import RedisCancels
from stockade.infra.redis.redis_connection import Part, RedisConnections, RedisScript
from stockade.infra.redis.redis_keys import RedisKeys, idempotency_name
from stockade.infra.redis.redis_ready import RedisReadyStream
from stockade.infra.redis.redis_records import (
    RECORD_FIELDS,
    decode_invocation,
    decode_record,
    encode_attempt,
    encode_carry,
    encode_progress,
    encode_spec,
    result_fields,
)
from stockade.infra.redis.redis_replies import RedisReplies

_SUBMIT = RedisScript.load("submit", acknowledges=True)
_BEGIN = RedisScript.load("begin")
_COMPLETE = RedisScript.load("complete", acknowledges=True)
_CANCEL = RedisScript.load("cancel", acknowledges=True)
_DEAD_LETTERS = RedisScript.load("dead_letters")
_REDRIVE = RedisScript.load("redrive", acknowledges=True)
_HAND_BACK = RedisScript.load("hand_back", acknowledges=True)
_HEARTBEAT = RedisScript.load("heartbeat")
_PROGRESS = RedisScript.load("progress")
_TICK = RedisScript.load("tick")

_DEFAULTS = QueueSettings()
_MOVED_AT_ONCE = 1000


class RedisInvocationQueue:
    """The queue of one process, gateway or worker, over one partition of all tenants.

    Args:
        connections: To the server; closed with the queue.
        gateway: This process as a waiter, new at each start; what it submits says so in `reply_to`.
        consumer: This process as a worker, new at each start: two that share a name take each
            other's work.
        settings: Bounds and times, the same in all processes.
        partition: Which one, from 0.
    """

    def __init__(
        self,
        connections: RedisConnections,
        *,
        gateway: str = "",
        consumer: str = "",
        settings: QueueSettings = _DEFAULTS,
        partition: int = 0,
    ) -> None:
        self._connections = connections
        self._gateway = gateway
        self._consumer = consumer
        self._settings = settings
        self._keys = RedisKeys(partition)
        self._ready = RedisReadyStream(connections, self._keys, consumer, settings)
        self._cancels = RedisCancels(connections, self._keys)
        start = secrets.token_hex(8)
        self._nonces = (f"{start}:{n}" for n in itertools.count())
        stream = self._keys.reply(gateway)
        self._replies = RedisReplies(connections, stream, self._is_done, settings.waiters_limit)

    async def aclose(self) -> None:
        """Stops reading hints and closes the connections."""
        await self._replies.close()
        await self._connections.close()

    async def submit(self, invocation: Invocation) -> SubmitReceipt:
        """Acknowledges an invocation durably, once.

        Raises:
            StockadeError: `invocation.idempotency_conflict` (same key, other input),
                `tenant.rate_limited`, `queue.full`, `queue.shedding`.
        """
        if invocation.reply_to and invocation.reply_to == self._gateway:
            self._replies.expect(invocation.tenant, invocation.id)
        try:
            answer = await self._run(_SUBMIT, *self._submission(invocation))
            receipt = receipt_of(_answer(answer), invocation, self._settings)
        except BaseException:
            self._replies.forget(invocation.id)
            raise
        if not receipt.created:
            self._replies.forget(invocation.id)
        return receipt

    async def record(self, tenant: str, invocation_id: str) -> InvocationRecord | None:
        """The record, or None when absent or another tenant's."""
        values = await self._fields(tenant, invocation_id, RECORD_FIELDS)
        return None if values is None else decode_record(values)

    async def invocation(self, tenant: str, invocation_id: str) -> Invocation | None:
        """What was asked, or None when absent or another tenant's."""
        names = ("tenant", "spec", "input")
        values = await self._fields(tenant, invocation_id, names)
        return None if values is None else decode_invocation(values[1] or b"", values[2])

    async def cancel(self, tenant: str, invocation_id: str, now_ms: int) -> bool | None:
        """Ends a queued invocation as `cancelled` and asks the worker to stop a running one.

        Returns None when absent or another tenant's, False when it was done already.
        """
        nonce = next(self._nonces)
        answer = await self._run(_CANCEL, invocation_id, tenant, now_ms, nonce)
        return None if answer < 0 else answer == 1

    async def submit_many(
        self, tenant: str, invocations: Sequence[Invocation]
    ) -> Sequence[SubmitReceipt | StockadeError]:
        """Submits many of one tenant's invocations; each is answered for itself, in their order."""
        del tenant
        prefix, common = self._keys.prefix, self._settings.common
        calls = [(*common, *self._submission(invocation)) for invocation in invocations]
        answers = await self._connections.run_many(_SUBMIT, prefix, calls)
        return [
            receipt_or_refusal(_answer(answer), invocation, self._settings)
            for invocation, answer in zip(invocations, answers, strict=True)
        ]

    async def dead_letters(
        self, tenant: str, most: int, before: str = ""
    ) -> Sequence[InvocationRecord]:
        """What failed for good and could be redriven, newest submission first."""
        rows = await self._run(_DEAD_LETTERS, tenant, most, before, *RECORD_FIELDS)
        return [decode_record(row) for row in rows]

    async def redrive(self, tenant: str, invocation_id: str) -> bool | None:
        """Queues a dead letter again, settings kept and attempts counted on.

        Returns None when absent or another tenant's, False when it is no dead letter.
        """
        nonce = next(self._nonces)
        answer = await self._run(_REDRIVE, invocation_id, tenant, nonce, MOST_BYTES)
        return None if answer < 0 else answer == 1

    async def wait(self, tenant: str, invocation_id: str, timeout_seconds: float) -> bool:
        """Waits until an invocation submitted with this queue's `reply_to` is done."""
        return await self._replies.wait(tenant, invocation_id, timeout_seconds)

    async def claim(self, count: int, timeout_seconds: float) -> Sequence[Claim]:
        """Up to `count` claims of this worker, waiting for the first up to the timeout."""
        return await self._ready.claim(count, timeout_seconds)

    async def begin(self, claim: Claim, now_ms: int) -> bool:
        """Marks the attempt running; False when the claim is stale or the invocation cancelled."""
        of, token = claim.invocation, claim.attempt
        began = bool(await self._run(_BEGIN, of.id, claim.entry, token, now_ms))
        if not began:
            self._ready.release(claim.entry)
        return began

    async def complete(self, claim: Claim, completion: Completion) -> bool:
        """Records the attempt's end and acknowledges in one step; False when stale."""
        attempt = replace(completion.attempt, ended_ms=completion.finished_ms)
        of = claim.invocation
        answer = await self._run(
            _COMPLETE,
            *(of.id, claim.entry, claim.attempt, next(self._nonces)),
            *(encode_attempt(attempt), attempt.outcome.value, completion.finished_ms),
            _or_empty(completion.retry_at_ms),
            _or_empty(completion.started_ms),
            encode_carry(completion.carry),
            *result_fields(completion),
        )
        self._ready.release(claim.entry)
        return bool(answer)

    async def hand_back(self, claim: Claim, *, ran: bool) -> bool:
        """Gives a claim up for another worker to take at once; False when it is stale."""
        of, began = claim.invocation, "1" if ran else ""
        answer = await self._run(_HAND_BACK, of.id, claim.entry, claim.attempt, began)
        self._ready.release(claim.entry)
        return bool(answer)

    async def heartbeat(self, claims: Sequence[Claim]) -> Sequence[Claim]:
        """Renews the leases; returns the claims that are no longer held or were cancelled."""
        parts: list[Part] = [self._consumer, self._settings.worker_ttl_ms]
        for claim in claims:
            parts += (claim.entry, claim.invocation.id, claim.attempt)
        places = await self._ready.run(_HEARTBEAT, *parts)
        return [claims[place] for place in places]

    async def await_more(self, timeout_seconds: float) -> bool:
        """Waits until something was made ready since the last look; takes nothing."""
        return await self._ready.await_more(timeout_seconds)

    async def cancellations(self, timeout_seconds: float) -> Sequence[str]:
        """Ids that were cancelled while a worker had them; a hint, which a heartbeat backs."""
        return await self._cancels.read(timeout_seconds)

    async def report_progress(self, claim: Claim, progress: Progress) -> None:
        """Notes how far a run is; dropped when the claim is not held any more."""
        parts = (claim.entry, claim.attempt, encode_progress(progress))
        await self._ready.run(_PROGRESS, claim.invocation.id, *parts)

    async def reclaim(self, count: int) -> Sequence[Claim]:
        """Takes over claims whose lease ran out: the next attempt, and one more death."""
        return await self._ready.reclaim(count)

    async def tick(self, capacity: int, now_ms: int) -> int:
        """Announces this worker's capacity and makes due work ready; returns how much became ready.

        What is due is told by the server's clock, which all workers share; `now_ms` is not looked
        at.
        """
        del now_ms
        ttl = self._settings.worker_ttl_ms
        moved = await self._ready.run(_TICK, self._consumer, ttl, capacity, _MOVED_AT_ONCE)
        return int(moved)

    async def time_ms(self) -> int:
        """Unix time in milliseconds by the server's clock."""
        seconds, microseconds = await self._connections.repeat("TIME")
        return int(seconds) * 1000 + int(microseconds) // 1000

    def _submission(self, invocation: Invocation) -> tuple[Part, ...]:
        key, rate = invocation.idempotency_key, invocation.rate_limit
        shedding, parts = self._settings.shedding, self._settings.partitions
        return (
            invocation.id,
            invocation.tenant,
            "" if key is None else idempotency_name(key),
            "" if key is None else submission_digest(invocation),
            self._settings.idempotency_ms,
            backlog_limit(invocation, self._settings),
            _or_empty(invocation.run_at_ms),
            _or_empty(invocation.deadline_ms),
            invocation.reply_to,
            int(invocation.priority),
            invocation.submitted_ms,
            encode_spec(invocation),
            invocation.input_inline or b"",
            invocation.weight,
            _or_empty(invocation.tenant_concurrency),
            invocation.function,
            _or_empty(invocation.content.concurrency),
            "" if rate is None else rate.interval_us,
            "" if rate is None else rate.allowance_us,
            shedding.bound(invocation.priority, parts),
            shedding.bound_of_few(invocation.priority, parts),
            shedding.few,
        )

    async def _is_done(self, tenant: str, invocation_id: str) -> bool | None:
        values = await self._fields(tenant, invocation_id, ("tenant", "state"))
        return None if values is None else values[1] == b"done"

    async def _fields(
        self, tenant: str, invocation_id: str, names: tuple[str, ...]
    ) -> list[bytes | None] | None:
        key = self._keys.record(invocation_id)
        values: list[bytes | None] = await self._connections.repeat("HMGET", key, *names)
        return values if values[0] == tenant.encode(errors="surrogatepass") else None

    async def _run(self, script: RedisScript, *arguments: Part) -> Any:  # noqa: ANN401 - any reply
        prefix, common = self._keys.prefix, self._settings.common
        return await self._connections.run(script, prefix, *common, *arguments)


def _answer(row: list[Any]) -> Answer:
    return Answer(row[0], row[1].decode(), *row[2:])


def _or_empty(value: int | None) -> int | str:
    return "" if value is None else value
