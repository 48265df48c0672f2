"""Submits an invocation, and waits for it when the caller does."""

from contextlib import suppress
from dataclasses import dataclass, replace

from gateway.services import Services
from gateway.usecases.clamp_limits import clamped_content, raise_ceilings
from registry.trust import check_denied
from stockade.core.digests import digest_of
from stockade.core.errors import StockadeError, not_found
from stockade.core.invocations import Invocation, InvocationRecord, Priority, SubmitReceipt
from stockade.core.modules import FunctionVersion
from stockade.core.outcomes import State
from stockade.core.trace_context import NO_CARRY, TraceCarry

_PERHAPS_TAKEN = {"queue.unavailable", "queue.not_durable"}
"""The answer may have got lost, or it was taken and nobody can say that it stays."""


@dataclass(frozen=True, slots=True)
class InvokeOptions:
    """What a caller may say about one invocation. Times are Unix milliseconds."""

    priority: Priority = Priority.NORMAL
    run_at_ms: int | None = None
    deadline_ms: int | None = None
    idempotency_key: str | None = None
    traceparent: str = ""
    trace: TraceCarry = NO_CARRY


def under(options: InvokeOptions, trace: tuple[str, TraceCarry]) -> InvokeOptions:
    """The same in this trace: a `traceparent`, and what else the invocation carries."""
    return replace(options, traceparent=trace[0], trace=trace[1])


async def submit_invocation(
    services: Services,
    version: FunctionVersion,
    invocation_id: str,
    data: bytes,
    options: InvokeOptions,
    *,
    waits: bool,
) -> str:
    """Acknowledges the invocation and returns its id, or the earlier one's with the same key.

    Raises:
        StockadeError: `queue.unavailable`, `invocation.idempotency_conflict`, and what admission
            refuses with: `tenant.rate_limited`, `queue.full`, `queue.shedding`.
    """
    invocation = await new_invocation(services, version, invocation_id, data, options, waits=waits)
    try:
        receipt = await services.queue.submit(invocation)
    except StockadeError as refusal:
        await discard_input(services, invocation, refusal)
        raise
    await discard_input(services, invocation, receipt)
    return receipt.id


async def new_invocation(
    services: Services,
    version: FunctionVersion,
    invocation_id: str,
    data: bytes,
    options: InvokeOptions,
    *,
    waits: bool = False,
) -> Invocation:
    """The invocation, its input stored; not submitted yet.

    Raises:
        StockadeError: `module.denied`, or a store's own trouble.
    """
    check_denied(services.trust_rules.current, version.content.digest)
    share = services.shares.share(version.tenant)
    inline = len(data) <= services.settings.inline_input_bytes
    content = clamped_content(services, version)
    return Invocation(
        id=invocation_id,
        tenant=version.tenant,
        function=version.name,
        version=version.version,
        content=content,
        submitted_ms=services.clock.now_ms(),
        input_inline=data if inline else None,
        input_blob=None if inline else await _put(services, version.tenant, invocation_id, data),
        priority=options.priority,
        run_at_ms=options.run_at_ms,
        deadline_ms=options.deadline_ms,
        idempotency_key=options.idempotency_key,
        input_digest=digest_of(data),
        reply_to=services.name if waits else "",
        traceparent=options.traceparent,
        trace=options.trace,
        ceilings=raise_ceilings(services, version.tenant, content),
        weight=share.weight,
        tenant_concurrency=share.concurrency,
        rate_limit=share.rate_limit,
        tenant_backlog=share.backlog,
    )


async def _put(services: Services, tenant: str, invocation_id: str, data: bytes) -> str:
    return await services.payloads.put(tenant, invocation_id, data)


async def discard_input(
    services: Services, invocation: Invocation, answer: SubmitReceipt | StockadeError
) -> None:
    """Deletes a stored input that no record will name: it was refused, or is an earlier one's."""
    if invocation.input_blob is None:
        return
    if isinstance(answer, StockadeError):
        taken = answer.code in _PERHAPS_TAKEN
    else:
        taken = answer.id == invocation.id
    if not taken:
        # Whatever fails here must not change the answer; what is left is swept when it is old.
        with suppress(StockadeError):
            await services.payloads.discard(invocation.tenant, invocation.id, invocation.input_blob)


async def wait_for_end(
    services: Services, tenant: str, invocation_id: str, seconds: float
) -> InvocationRecord | None:
    """The record once the invocation is done, or None when that takes longer."""
    await services.queue.wait(tenant, invocation_id, seconds)
    record = await services.queue.record(tenant, invocation_id)
    return record if record is not None and record.state is State.DONE else None


async def find_record(services: Services, tenant: str, invocation_id: str) -> InvocationRecord:
    """The tenant's record of this id.

    Raises:
        StockadeError: `invocation.not_found`.
    """
    record = await services.queue.record(tenant, invocation_id)
    if record is None:
        raise not_found("invocation", invocation_id)
    return record


async def read_output(services: Services, record: InvocationRecord) -> bytes:
    """What a completed invocation returned.

    Raises:
        StockadeError: `invocation.result_lost`.
    """
    if record.output_blob is None:
        return record.output_inline or b""
    output = await services.payloads.get(record.tenant, record.id, record.output_blob)
    if output is None:
        raise StockadeError(
            "invocation.result_lost", "The result is no longer in the blob store. Invoke again."
        )
    return output


async def cancel_invocation(
    services: Services, tenant: str, invocation_id: str
) -> InvocationRecord:
    """Cancels what is queued at once, and asks for the end of what runs.

    Raises:
        StockadeError: `invocation.not_found` or `invocation.already_done`.
    """
    done = await services.queue.cancel(tenant, invocation_id, services.clock.now_ms())
    if done is None:
        raise not_found("invocation", invocation_id)
    if not done:
        raise StockadeError("invocation.already_done", "The invocation is done already.")
    return await find_record(services, tenant, invocation_id)
