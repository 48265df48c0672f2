"""Makes the step that a schedule is due for: submit, then move on; safe to repeat at any point."""

import structlog

from gateway.services import Services
from gateway.usecases.invoke_function import InvokeOptions, submit_invocation
from gateway.usecases.keep_schedules import check_input
from gateway.usecases.resolve_function import FunctionResolver
from stockade.core.errors import StockadeError
from stockade.core.schedules import Schedule, firing_id, refused, step, stepped

_log = structlog.get_logger()
_NOBODY_CAN_FIRE = {"queue.unavailable", "catalog.unavailable"}


async def fire_schedule(services: Services, resolver: FunctionResolver, seen: Schedule) -> None:
    """Fires the schedule for the time it stands at, and moves it on; a refusal is kept on it.

    Killed in between, or done by two gateways at once, it makes one invocation all the same: the
    invocation's id follows from the schedule and its time.

    Raises:
        StockadeError: `queue.unavailable` or `catalog.unavailable`: nothing can fire now.
    """
    try:
        await _step(services, resolver, seen)
    except StockadeError as error:
        if error.code in _NOBODY_CAN_FIRE:
            raise
        await _refuse(services, seen, error)
    except Exception as error:  # noqa: BLE001 - one schedule's trouble must not be the others'
        _log.error("schedule_failed", tenant=seen.tenant, schedule=seen.name, exc_info=error)
        unknown = StockadeError("internal.error", "Something went wrong here; tell the operator.")
        await _refuse(services, seen, unknown)


async def _step(services: Services, resolver: FunctionResolver, seen: Schedule) -> None:
    if seen.next_ms is None:
        raise RuntimeError("a schedule without a next time was due")
    done = step(services.calendar, seen, seen.next_ms, services.clock.now_ms())
    if done.fires_ms is not None:
        await _submit(services, resolver, seen, firing_id(seen, done.fires_ms))
    await services.schedules.change(
        seen.tenant, seen.name, lambda stored: stepped(stored, seen, done)
    )


async def _submit(
    services: Services, resolver: FunctionResolver, seen: Schedule, invocation_id: str
) -> None:
    asked = seen.definition
    version = await resolver.resolve(
        seen.tenant, asked.function, asked.alias, asked.version, invocation_id
    )
    check_input(services, asked, version)
    options = InvokeOptions(priority=asked.priority)
    await submit_invocation(services, version, invocation_id, asked.input, options, waits=False)


async def _refuse(services: Services, seen: Schedule, error: StockadeError) -> None:
    now_ms = services.clock.now_ms()
    await services.schedules.change(
        seen.tenant, seen.name, lambda stored: refused(stored, seen, error, now_ms)
    )
