"""Creates, replaces, pauses and resumes schedules, by the queue's clock as they fire by it."""

from gateway.services import Services
from gateway.usecases.clamp_limits import input_bound
from gateway.usecases.resolve_function import FunctionResolver
from stockade.core.errors import StockadeError, not_found
from stockade.core.modules import FunctionVersion
from stockade.core.schedules import (
    MAX_SCHEDULES,
    Schedule,
    ScheduleDefinition,
    check_timing,
    paused,
    redefined,
    resumed,
    started,
)


async def put_schedule(
    services: Services,
    resolver: FunctionResolver,
    tenant: str,
    name: str,
    asked: ScheduleDefinition,
) -> tuple[Schedule, bool]:
    """The schedule, and whether it is new. One that is paused stays so.

    Raises:
        StockadeError: `schedule.…`, `function.not_found`, `alias.not_found`, `version.not_found`,
            `queue.unavailable`.
    """
    now_ms, calendar = await services.queue.time_ms(), services.calendar
    check_timing(calendar, asked.timing, now_ms)
    version = await resolver.resolve(tenant, asked.function, asked.alias, asked.version, draw=name)
    check_input(services, asked, version)
    fresh = Schedule(tenant, name, services.clock.new_id(), asked, created_ms=now_ms)
    fresh = started(calendar, fresh, now_ms)
    while True:  # another gateway may add or delete it in between
        changed = await services.schedules.change(
            tenant, name, lambda stored: redefined(calendar, stored, asked, now_ms)
        )
        if changed is not None:
            return changed, False
        if await services.schedules.add(fresh, MAX_SCHEDULES):
            return fresh, True


async def find_schedule(services: Services, tenant: str, name: str) -> Schedule:
    """The tenant's schedule of this name.

    Raises:
        StockadeError: `schedule.not_found`.
    """
    return _found(await services.schedules.schedule(tenant, name), name)


async def pause_schedule(services: Services, tenant: str, name: str) -> Schedule:
    """Stops it from firing until it is resumed.

    Raises:
        StockadeError: `schedule.not_found`.
    """
    return _found(await services.schedules.change(tenant, name, paused), name)


async def resume_schedule(services: Services, tenant: str, name: str) -> Schedule:
    """Lets it fire again from now on; what the pause kept from firing does not.

    Raises:
        StockadeError: `schedule.not_found`.
    """
    now_ms = await services.queue.time_ms()
    changed = await services.schedules.change(
        tenant, name, lambda stored: resumed(services.calendar, stored, now_ms)
    )
    return _found(changed, name)


def check_input(services: Services, asked: ScheduleDefinition, version: FunctionVersion) -> None:
    """Checks that the version takes an input of this size, and that it goes with the invocation.

    One that is stored beside could be discarded by a gateway that is refused, when another with
    the same firing was not.

    Raises:
        StockadeError: `schedule.input_too_large`.
    """
    most = min(input_bound(services, version), services.settings.inline_input_bytes)
    if len(asked.input) > most:
        raise StockadeError(
            "schedule.input_too_large",
            f"The input has {len(asked.input)} bytes; {most} are allowed here.",
            detail={"max_bytes": most},
        )


def _found(schedule: Schedule | None, name: str) -> Schedule:
    if schedule is None:
        raise not_found("schedule", name)
    return schedule
