"""The `ScheduleStore` port in this process's memory; made by `MemoryCatalog.schedule_store`.

No method awaits anything, so each one is atomic to the others.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace

from stockade.core.schedules import Schedule
from stockade.infra.catalog_values import check_schedule_storable, too_many_schedules


class MemoryScheduleStore:
    """Schedules in a dictionary; `check_tenant` refuses tenants that were never created."""

    def __init__(self, check_tenant: Callable[[str], None]) -> None:
        self._check_tenant = check_tenant
        self._schedules: defaultdict[str, dict[str, Schedule]] = defaultdict(dict)

    async def add(self, schedule: Schedule, most: int) -> bool:
        """Adds a schedule; False when the tenant has one of this name."""
        check_schedule_storable(schedule)
        self._check_tenant(schedule.tenant)
        own = self._schedules[schedule.tenant]
        if schedule.name in own:
            return False
        if len(own) >= most:
            raise too_many_schedules(most)
        own[schedule.name] = schedule
        return True

    async def change(
        self, tenant: str, name: str, rule: Callable[[Schedule], Schedule]
    ) -> Schedule | None:
        """Puts what the rule makes of a schedule in its place, in one step; None without one."""
        stored = self._schedules[tenant].get(name)
        if stored is None:
            return None
        changed = rule(stored)
        check_schedule_storable(changed)
        self._schedules[tenant][name] = changed
        return changed

    async def schedule(self, tenant: str, name: str) -> Schedule | None:
        """The schedule of this name."""
        return self._schedules[tenant].get(name)

    async def schedules(self, tenant: str) -> Sequence[Schedule]:
        """The tenant's schedules by name, their inputs left out: together they may be large."""
        own = self._schedules[tenant]
        return tuple(_without_input(own[name]) for name in sorted(own))

    async def delete(self, tenant: str, name: str) -> bool:
        """Deletes a schedule; False when there was none."""
        return self._schedules[tenant].pop(name, None) is not None

    async def due(self, now_ms: int, most: int, most_of_tenant: int) -> Sequence[Schedule]:
        """What is due, tenant by tenant in turn; of each tenant what is due longest comes first."""
        ranked = []
        for tenant, own in self._schedules.items():
            late = sorted((due, name) for name, due in _due_times(own) if due <= now_ms)
            for turn, (due_ms, name) in enumerate(late[:most_of_tenant]):
                ranked.append((turn, due_ms, tenant, name))
        return tuple(self._schedules[tenant][name] for *_, tenant, name in sorted(ranked)[:most])

    async def next_due_ms(self) -> int | None:
        """When the next one of all tenants is due."""
        times = (due for own in self._schedules.values() for _, due in _due_times(own))
        return min(times, default=None)


def _without_input(schedule: Schedule) -> Schedule:
    return replace(schedule, definition=replace(schedule.definition, input=b""))


def _due_times(own: dict[str, Schedule]) -> list[tuple[str, int]]:
    return [(name, one.due_ms) for name, one in own.items() if one.due_ms is not None]
