"""Queues dead letters again: one by its id, or all that a tenant has.

A call for several asks of each whether the caller may: a policy can keep one function from it.
"""

from collections.abc import Callable

from gateway.services import Services
from gateway.usecases.delete_function import check_callable
from stockade.core.errors import StockadeError, not_found
from stockade.core.invocations import InvocationRecord

MOST_ATTEMPTS = 1000
"""With so many an invocation is not queued again: its record holds each of them."""

Check = Callable[[str], None]
"""Refuses when the caller may not queue what is of this function."""


async def redrive(
    services: Services, tenant: str, invocation_id: str, check: Check | None = None
) -> None:
    """Queues one again.

    Raises:
        StockadeError: `invocation.not_found`, `invocation.not_dead` or
            `invocation.too_many_attempts`; `function.deleted` or `function.not_found` when there is
            no function any more to run; what `check` refuses.
    """
    record = await services.queue.record(tenant, invocation_id)
    if record is not None:
        if check is not None:
            check(record.function)
        await check_callable(services, tenant, record.function)
        _check_attempts(record)
    done = await services.queue.redrive(tenant, invocation_id)
    if done is None:
        raise not_found("invocation", invocation_id)
    if not done:
        raise StockadeError(
            "invocation.not_dead",
            "Only an invocation that failed for good can be redriven: trapped, limit_exceeded,"
            " crashed, lost or expired.",
        )


async def redrive_all(services: Services, tenant: str, most: int, check: Check) -> list[str]:
    """Queues up to so many again, newest first, and returns their ids.

    Those of deleted functions stay where they are, those that `check` refuses, and those that were
    attempted too often.
    """
    found = await services.queue.dead_letters(tenant, most)
    functions = {one.function for one in found}
    allowed = {name for name in functions if _passes(check, name)}
    live = {name for name in allowed if await _is_callable(services, tenant, name)}
    wanted = [one.id for one in found if one.function in live and _has_room(one)]
    return [one for one in wanted if await services.queue.redrive(tenant, one)]


def _has_room(record: InvocationRecord) -> bool:
    return len(record.attempts) < MOST_ATTEMPTS


def _check_attempts(record: InvocationRecord) -> None:
    if not _has_room(record):
        raise StockadeError(
            "invocation.too_many_attempts",
            f"This invocation was attempted {len(record.attempts)} times, as often as one may be."
            " Submit its input anew.",
            detail={"most": MOST_ATTEMPTS},
        )


def _passes(check: Check, function: str) -> bool:
    try:
        check(function)
    except StockadeError:
        return False
    return True


async def _is_callable(services: Services, tenant: str, name: str) -> bool:
    return await services.catalog.function_version(tenant, name, None) is not None
