"""Submits many inputs of one function, a group at a time; every line gets an answer of its own."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec

from gateway.services import Services
from gateway.usecases.clamp_limits import input_bound
from gateway.usecases.invoke_function import InvokeOptions, discard_input, new_invocation
from gateway.usecases.resolve_function import FunctionResolver
from stockade.core.errors import StockadeError
from stockade.core.invocations import Invocation, SubmitReceipt

MAX_LINES = 10_000


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a batch: its number from 1, and its bytes, or None when it was too long."""

    number: int
    body: bytes | None


@dataclass(frozen=True, slots=True)
class Target:
    """What a batch invokes."""

    tenant: str
    function: str
    alias: str | None
    version: int | None


async def submit_lines(
    services: Services,
    resolver: FunctionResolver,
    target: Target,
    options: InvokeOptions,
    lines: Sequence[Line],
) -> list[SubmitReceipt | StockadeError]:
    """The answers to these lines, in their order.

    With an idempotency key, each line has one of its own, so that a batch may be sent again.
    """
    made = [await _invocation(services, resolver, target, options, line) for line in lines]
    good = [one for one in made if isinstance(one, Invocation)]
    try:
        taken = await services.queue.submit_many(target.tenant, good)
    except StockadeError as error:
        return [error if isinstance(one, Invocation) else one for one in made]
    for invocation, answer in zip(good, taken, strict=True):
        await discard_input(services, invocation, answer)
    answers = iter(taken)
    return [next(answers) if isinstance(one, Invocation) else one for one in made]


async def _invocation(
    services: Services,
    resolver: FunctionResolver,
    target: Target,
    options: InvokeOptions,
    line: Line,
) -> Invocation | StockadeError:
    invocation_id = services.clock.new_id()
    key = options.idempotency_key
    own = replace(options, idempotency_key=None if key is None else f"{key}#{line.number}")
    try:
        version = await resolver.resolve(
            target.tenant, target.function, target.alias, target.version, invocation_id
        )
        body = _checked(line, input_bound(services, version))
        return await new_invocation(services, version, invocation_id, body, own)
    except StockadeError as error:
        return error


def _checked(line: Line, bound: int) -> bytes:
    if line.body is None or len(line.body) > bound:
        raise StockadeError(
            "request.too_large",
            f"The line has more than the {bound} bytes that are allowed here.",
            detail={"max_bytes": bound},
        )
    try:
        msgspec.json.decode(line.body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise StockadeError(
            "batch.line_invalid", "The line is not one JSON value. Send one value on each line."
        ) from None
    return line.body
