"""The broker answers guests' host calls: the only way from a guest to the outside.

It stands in the supervisor, holds what executors must not, and takes an executor's call as a claim:
grants are looked at again for every call, and its size, number and time are bounded here and by
`ExecutorClient`. A call that is refused or fails is an answer to the guest (`code: sentence`), not
the end of its run.
"""

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from sandbox_worker.attempt_spans import AttemptSpans
from sandbox_worker.call_spans import CallSpans
from sandbox_worker.guest.frames import MAX_HOST_CALL_BYTES, HostCall, HostReply, Told
from sandbox_worker.guest.host_calls import ABSENT, DONE, FAILED
from sandbox_worker.metrics import WorkerMetrics
from sandbox_worker.redaction import Redaction
from stockade.core import span_names as names
from stockade.core.errors import StockadeError
from stockade.core.grants import Grants, parse_grants
from stockade.core.http_messages import build_response, parse_request
from stockade.core.invocations import Invocation
from stockade.core.key_values import check_key
from stockade.core.outcomes import Outcome, Progress, RunResult
from stockade.core.ports import Catalog, HttpEgress, KeyValueStore, SecretBox
from stockade.core.upstreams import Met, cause_of_status, met_by_error, teaching

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_RUN_BYTES = 16 * MAX_HOST_CALL_BYTES
"""What all host calls of one run may carry, both ways."""
_HIGHEST_PERCENT = 100
_MAX_MESSAGE_CHARACTERS = 256


@dataclass(frozen=True, slots=True)
class HostCallBroker:
    """What host calls reach."""

    egress: HttpEgress
    key_values: KeyValueStore
    catalog: Catalog
    secret_box: SecretBox
    metrics: WorkerMetrics = field(default_factory=WorkerMetrics)

    def open(self, invocation: Invocation, spans: AttemptSpans | None = None) -> "HostCallsOfRun":
        """Answers the calls of one run, and notes them in its spans."""
        return HostCallsOfRun(self, invocation, parse_grants(invocation.content.grants), spans)


class HostCallsOfRun:
    """A `HostCallSession`: one run's calls, and what they left behind.

    `met` is what became of the last request that was made.
    """

    def __init__(
        self,
        broker: HostCallBroker,
        invocation: Invocation,
        grants: Grants,
        spans: AttemptSpans | None = None,
    ) -> None:
        self._spans = CallSpans(spans)
        self.progress: Progress | None = None
        self.met: Met | None = None
        self.redaction = Redaction()
        self.listener: Callable[[Told], None] | None = None
        """Hears what the guest says, while it runs."""
        self._broker = broker
        self._tenant = invocation.tenant
        self._grants = grants
        self._known: set[str] = set()
        self._bytes = 0
        self._fetches = 0
        self._answers = {
            "progress": self._note_progress,
            "secret_get": self._get_secret,
            "kv_get": self._get_key,
            "kv_set": self._set_key,
            "kv_delete": self._delete_key,
            "kv_add": self._add_to_key,
            "http_fetch": self._fetch,
        }

    async def answer(self, call: HostCall) -> HostReply:
        """The reply to one call."""
        with self._spans.calling(call):
            return self._spans.answered(await self._answer(call))

    async def _answer(self, call: HostCall) -> HostReply:
        began, result = time.monotonic(), "cut"
        try:
            self._count(len(call.text) + len(call.data))
            answer = self._answers.get(call.name)
            if answer is None or not self._grants.allows_call(call.name):
                raise _not_granted(f"the call {call.name[:64]!a}")
            reply = await answer(call)
            self._count(len(reply.data))
            result = "absent" if reply.status == ABSENT else "done"
        except StockadeError as error:
            result = error.code
            self._spans.failed(error.code)
            return HostReply(FAILED, f"{error.code}: {error.message}".encode())
        else:
            return reply
        finally:
            name = call.name if call.name in self._answers else "unknown"
            self._broker.metrics.host_called(name, result, time.monotonic() - began)

    def of_result(self, result: RunResult) -> RunResult:
        """How the run ended, without the secrets it was given, with the upstream that it met."""
        told = self.redaction.of_result(result)
        if self.met is None:
            return told
        met = teaching(result.outcome, retry_hint=result.retry_hint, met=self.met)
        return replace(told, upstream=met.upstream, cause=met.cause)

    async def recorded(self, result: RunResult) -> RunResult:
        """As `of_result`, without any secret that the run may read, read or not.

        A guest may say one that an earlier run kept for it. While they cannot be read, nothing of
        what it said is recorded.
        """
        if result.logs or result.events or result.spans or result.detail:
            try:
                await self.know_secrets()
            except StockadeError:
                return self.of_result(_unsaid(result))
        return self.of_result(result)

    def hear(self, told: Told) -> None:
        """Passes on what the guest has said."""
        if self.listener is not None:
            self.listener(told)

    def _count(self, size: int) -> None:
        self._bytes += size
        if self._bytes > MAX_RUN_BYTES:
            raise StockadeError(
                "host_call.too_many_bytes",
                f"The host calls of one run carry at most {MAX_RUN_BYTES} bytes. Do less in one.",
            )

    async def _note_progress(self, call: HostCall) -> HostReply:
        percent = max(0, min(call.number, _HIGHEST_PERCENT))
        self.progress = Progress(percent, call.text[:_MAX_MESSAGE_CHARACTERS])
        return HostReply(DONE)

    async def _get_secret(self, call: HostCall) -> HostReply:
        if not self._grants.secret(call.text):
            raise _not_granted(f"the secret {call.text[:64]!a}")
        value = await self._secret(call.text)
        return HostReply(ABSENT) if value is None else HostReply(DONE, value)

    async def know_secrets(self) -> None:
        """Learns what the run may read, so that what it says is told without it, read or not.

        Raises:
            StockadeError: `catalog.unavailable`, `secret.…`.
        """
        for name in self._grants.secrets - self._known:
            await self._secret(name)

    async def _secret(self, name: str) -> bytes | None:
        sealed = await self._broker.catalog.secret(self._tenant, name)
        if sealed is None:
            self._known.add(name)
            return None
        value = self._broker.secret_box.open(self._tenant, name, sealed)
        self.redaction.add(name, value)
        self._known.add(name)
        return value

    async def _get_key(self, call: HostCall) -> HostReply:
        namespace, key = self._place(call.text, write=False)
        value = await self._broker.key_values.get(self._tenant, namespace, key)
        return HostReply(ABSENT) if value is None else HostReply(DONE, value)

    async def _set_key(self, call: HostCall) -> HostReply:
        namespace, key = self._place(call.text, write=True)
        ttl_seconds = max(0, call.number)
        await self._broker.key_values.set(self._tenant, namespace, key, call.data, ttl_seconds)
        return HostReply(DONE)

    async def _delete_key(self, call: HostCall) -> HostReply:
        namespace, key = self._place(call.text, write=True)
        there = await self._broker.key_values.delete(self._tenant, namespace, key)
        return HostReply(DONE if there else ABSENT)

    async def _add_to_key(self, call: HostCall) -> HostReply:
        namespace, key = self._place(call.text, write=True)
        value = await self._broker.key_values.add(self._tenant, namespace, key, call.number)
        return HostReply(DONE, value.to_bytes(8, "little", signed=True))

    async def _fetch(self, call: HostCall) -> HostReply:
        request = parse_request(call.data)
        self._spans.fetches(request, self._grants.http)
        self._fetches += 1
        egress = self._broker.egress
        if self._fetches > egress.policy.max_fetches:
            raise StockadeError(
                "http_fetch.too_many",
                f"One run makes at most {egress.policy.max_fetches} requests. Make fewer.",
            )
        if egress.policy.trace_context:
            request = self._spans.with_context(request)
        try:
            response = await egress.fetch(self._tenant, request, self._grants.http)
        except StockadeError as error:
            self.met = met_by_error(error)
            raise
        self.met = Met(response.upstream, cause_of_status(response.status))
        self._spans.fetched(response)
        return HostReply(DONE, build_response(response))

    def _place(self, text: str, *, write: bool) -> tuple[str, str]:
        namespace, key = check_key(text)
        if not self._grants.kv(namespace, write=write):
            need = f"kv:{namespace}" if write else f"kv:{namespace}:read"
            raise _not_granted(f"the namespace {namespace!a} (grant {need!a})")
        self._spans.note(names.KV_NAMESPACE, namespace)
        return namespace, key


def _unsaid(result: RunResult) -> RunResult:
    """The result without a word of the guest's."""
    detail = result.detail
    if result.outcome is Outcome.REJECTED:
        detail = "What the guest said is left out: the secrets that it may read could not be read."
    return replace(
        result,
        detail=detail,
        logs=(),
        logs_truncated=result.logs_truncated or bool(result.logs),
        events=(),
        events_truncated=result.events_truncated or bool(result.events),
        spans=(),
        spans_dropped=result.spans_dropped + len(result.spans),
    )


def _not_granted(what: str) -> StockadeError:
    return StockadeError(
        "host_call.not_granted", f"This function version was not granted {what}. Deploy with it."
    )
