"""The asyncio client."""

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Self, TypeVar

import httpx

from stockade_client import calls
from stockade_client.alias_methods import AsyncAliasMethods
from stockade_client.attempts import DEFAULT_RETRIES, RetryRule, looks, timeout_for
from stockade_client.attestations import AsyncAttestationMethods
from stockade_client.audit_methods import AsyncAuditMethods
from stockade_client.calls import Call
from stockade_client.errors import ConnectionFailed, StockadeApiError, StockadeClientError
from stockade_client.event_methods import AsyncEventMethods
from stockade_client.function_methods import AsyncFunctionMethods
from stockade_client.history_methods import AsyncHistoryMethods
from stockade_client.key_methods import AsyncKeyMethods
from stockade_client.module_methods import AsyncModuleMethods
from stockade_client.recordings import AsyncRecordingMethods
from stockade_client.retry_methods import AsyncRetryMethods
from stockade_client.retry_states import AsyncRetryStateMethods
from stockade_client.run_events import SILENCE_SECONDS, Course
from stockade_client.schedule_methods import AsyncScheduleMethods
from stockade_client.status import AsyncStatusMethods
from stockade_client.traces import AsyncTraceMethods
from stockade_client.trust_methods import AsyncTrustMethods
from stockade_client.types import (
    Health,
    Invocation,
    InvokeResult,
    Logs,
    Module,
    Secret,
)
from stockade_client.upstreams import AsyncUpstreamMethods

_Answer = TypeVar("_Answer")


class AsyncClient(
    AsyncAliasMethods,
    AsyncAttestationMethods,
    AsyncAuditMethods,
    AsyncEventMethods,
    AsyncFunctionMethods,
    AsyncHistoryMethods,
    AsyncKeyMethods,
    AsyncModuleMethods,
    AsyncRetryMethods,
    AsyncRecordingMethods,
    AsyncRetryStateMethods,
    AsyncScheduleMethods,
    AsyncStatusMethods,
    AsyncTraceMethods,
    AsyncTrustMethods,
    AsyncUpstreamMethods,
):
    """Talks to one gateway as one tenant; close it, or use it in `async with`.

    Every method may raise `StockadeApiError` and `ConnectionFailed`; see `stockade_client.errors`.

    Args:
        url: Where the gateway listens, such as `http://127.0.0.1:8080`.
        api_key: The tenant's key, `stk_…`; without one only `health` works.
        timeout_seconds: For each answer, beyond what a call asks the gateway to wait.
        transport: Another way to send; `httpx.MockTransport` in tests.
        retries: When a call is sent again.
    """

    def __init__(
        self,
        url: str,
        api_key: str | None = None,
        *,
        timeout_seconds: float = 30.0,
        transport: httpx.AsyncBaseTransport | None = None,
        retries: RetryRule = DEFAULT_RETRIES,
    ) -> None:
        headers = {"User-Agent": "stockade-client/0.1"}
        if api_key is not None:
            headers["Authorization"] = f"Bearer {api_key}"
        self._http = httpx.AsyncClient(base_url=url, headers=headers, transport=transport)
        self._timeout_seconds = timeout_seconds
        self._retries = retries

    async def __aenter__(self) -> Self:
        """Itself."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Closes the connections."""
        await self.aclose()

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._http.aclose()

    async def upload_module(self, wasm: bytes, detached_signature: bytes | None = None) -> Module:
        """Uploads a module, signed within or by a detached signature. Twice is no harm."""
        return await self._send(calls.upload_module(wasm, detached_signature))

    async def module_from_oci(self, reference: str) -> Module:
        """Makes a module of what was pushed as `NAME:TAG` or `NAME@DIGEST`. Twice is no harm."""
        return await self._send(calls.module_from_oci(reference))

    async def module_to_oci(self, digest: str, reference: str) -> str:
        """Makes an OCI artifact of a module, as `NAME:TAG`; returns `TENANT/NAME@DIGEST`."""
        return await self._send(calls.module_to_oci(digest, reference))

    async def invoke(
        self,
        name: str,
        content: bytes = b"",
        *,
        alias: str | None = None,
        version: int | None = None,
        idempotency_key: str | None = None,
        wait_seconds: float | None = None,
        traceparent: str | None = None,
    ) -> InvokeResult:
        """Runs a function on an input and waits for its output.

        `traceparent` (W3C trace context) puts the run into the caller's own trace.

        Raises:
            GuestFailed: The guest failed.
            InvocationPending: `wait_seconds` (or the gateway's own bound) passed first.
        """
        options = {
            "Idempotency-Key": idempotency_key,
            "Stockade-Wait-Seconds": wait_seconds,
            "traceparent": traceparent,
        }
        call = calls.invoke(name, content, alias, version, options)
        return await self._send(call)

    async def submit(
        self,
        name: str,
        content: bytes = b"",
        *,
        alias: str | None = None,
        version: int | None = None,
        idempotency_key: str | None = None,
        priority: str | None = None,
        run_at: str | None = None,
        deadline_seconds: float | None = None,
        traceparent: str | None = None,
    ) -> str:
        """Queues an invocation and returns its id; once acknowledged it is never lost.

        Args:
            name: The function's.
            content: The input.
            alias: Which alias to run; or
            version: which version; the latest when neither is given.
            idempotency_key: The same key and input name the same invocation.
            priority: `urgent`, `high`, `normal` or `low`.
            run_at: Not before this time (RFC 3339).
            deadline_seconds: Not after so many seconds from now.
            traceparent: W3C trace context; the run becomes part of the caller's own trace.
        """
        options = {
            "Idempotency-Key": idempotency_key,
            "Stockade-Priority": priority,
            "Stockade-Run-At": run_at,
            "Stockade-Deadline-Seconds": deadline_seconds,
            "traceparent": traceparent,
        }
        return await self._send(calls.submit(name, content, alias, version, options))

    async def submit_batch(
        self,
        name: str,
        lines: Sequence[bytes],
        *,
        alias: str | None = None,
        version: int | None = None,
        idempotency_key: str | None = None,
        priority: str | None = None,
    ) -> tuple[str | StockadeApiError, ...]:
        """Queues an invocation for each of up to 10,000 inputs, each one JSON value on one line.

        Returns:
            For each input, in order, its id, or why it was refused; the others are not touched by
            that. One answer more, at the end, says why the gateway stopped reading, if it did.
        """
        options = {"Idempotency-Key": idempotency_key, "Stockade-Priority": priority}
        call = calls.submit_batch(name, lines, alias, version, options)
        return await self._send(call)

    async def get(self, invocation_id: str) -> Invocation:
        """The record of an invocation."""
        return await self._send(calls.get(invocation_id))

    async def result(self, invocation_id: str) -> bytes:
        """The output of a finished invocation.

        Raises:
            GuestFailed: It has none, because the guest failed.
            InvocationPending: It has none yet.
        """
        return await self._send(calls.result(invocation_id))

    async def logs(self, invocation_id: str) -> Logs:
        """What the guest logged, in all attempts; so far while it runs. The text is its own."""
        return await self._send(calls.logs(invocation_id))

    async def cancel(self, invocation_id: str) -> None:
        """Ends a queued invocation, and asks for the end of a running one."""
        await self._send(calls.cancel(invocation_id))

    async def wait(self, invocation_id: str, timeout_seconds: float | None = None) -> Invocation:
        """Waits until an invocation is done and returns its record, whatever the outcome.

        Raises:
            InvocationPending: The time was over first.
        """
        look = looks(invocation_id, timeout_seconds)
        record = await self.get(invocation_id)
        while not record.done:
            await asyncio.sleep(next(look))
            record = await self.get(invocation_id)
        return record

    async def put_secret(self, name: str, value: bytes) -> None:
        """Sets a secret, which only guests that are granted it can read."""
        await self._send(calls.put_secret(name, value))

    async def secrets(self) -> tuple[Secret, ...]:
        """All secrets by name; what they hold is never told."""
        return await self._send(calls.secrets())

    async def delete_secret(self, name: str) -> None:
        """Deletes a secret: guests find it absent."""
        await self._send(calls.delete_secret(name))

    async def dead_letters(
        self, *, limit: int | None = None, after: str | None = None
    ) -> tuple[Invocation, ...]:
        """What failed for good, newest first; `after` is the last id of the page before."""
        return await self._send(calls.dead_letters(limit, after))

    async def redrive(self, invocation_id: str) -> None:
        """Queues a dead letter again, settings kept and attempts counted on."""
        await self._send(calls.redrive(invocation_id))

    async def redrive_all(self) -> tuple[str, ...]:
        """Queues up to a thousand dead letters again; their ids."""
        return await self._send(calls.redrive_all())

    async def health(self) -> Health:
        """Whether the gateway lives, and whether it can serve."""
        return Health(await self._answers("/healthz"), await self._answers("/readyz"))

    async def _answers(self, path: str) -> bool:
        try:
            await self._send_once(calls.probe(path))
        except StockadeClientError:
            return False
        return True

    async def _send(self, call: Call[_Answer]) -> _Answer:
        attempt = 1
        while True:
            try:
                response = await self._request(call)
            except httpx.TransportError as error:
                pause = self._retries.after_error(call, attempt, error)
            else:
                again = self._retries.after_answer(call, attempt, response)
                if again is None:
                    return call.answer(response)
                pause = again
            await asyncio.sleep(pause)
            attempt += 1

    def _open(self, course: Course) -> AbstractAsyncContextManager[httpx.Response]:
        timeout = httpx.Timeout(self._timeout_seconds, read=SILENCE_SECONDS)
        path, headers = course.call.path, course.headers
        return self._http.stream("GET", path, headers=headers, timeout=timeout)

    async def _send_once(self, call: Call[_Answer]) -> _Answer:
        try:
            return call.answer(await self._request(call))
        except httpx.TransportError as error:
            raise ConnectionFailed(str(error)) from error

    async def _request(self, call: Call[_Answer]) -> httpx.Response:
        return await self._http.request(
            call.method,
            call.path,
            params=dict(call.params),
            headers=dict(call.headers),
            json=call.json,
            content=call.content,
            timeout=timeout_for(call, self._timeout_seconds),
        )
