"""The `HistoryStore` port in this process's memory: for tests, and to hold the database against."""

from collections.abc import Mapping, Sequence

from stockade.core.history import (
    InvocationHistory,
    PastAttempt,
    Recorded,
    Run,
    RunQuery,
    UsageDay,
    UsageQuery,
)
from stockade.core.history_rows import usage_of
from stockade.infra.catalog_values import check_storable
from stockade.infra.history_values import place_of, rows_of


class MemoryHistoryStore:
    """The history in dictionaries. No method awaits anything, so each one is atomic."""

    def __init__(self) -> None:
        self._runs: dict[tuple[str, str, int], Run] = {}
        self._attempts: dict[tuple[str, str, int], PastAttempt] = {}
        self._usage: dict[tuple[str, int, str], UsageDay] = {}
        self._horizon_ms: int | None = None

    async def record(self, histories: Sequence[InvocationHistory]) -> Recorded:
        """Takes over what is new in them, and counts it; twice is no harm."""
        rows = rows_of(list(histories))
        runs = [run for run in rows.runs if self._is_young(run.finished_ms)]
        attempts = [one for one in rows.attempts if self._is_young(one.ended_ms)]
        runs = [one for one in runs if _run_key(one) not in self._runs]
        attempts = [one for one in attempts if _attempt_key(one) not in self._attempts]
        self._runs |= {_run_key(one): one for one in runs}
        self._attempts |= {_attempt_key(one): one for one in attempts}
        for more in usage_of(runs, attempts):
            self._count(more)
        return Recorded(len(runs), len(attempts))

    async def runs(self, tenant: str, query: RunQuery) -> Sequence[Run]:
        """Runs that the query asks for."""
        newest_first = not query.oldest_first
        ordered = sorted(self._runs.values(), key=place_of, reverse=newest_first)
        found = [run for run in ordered if run.tenant == tenant and _fits(run, query)]
        return found[: query.most]

    async def runs_of(self, tenant: str, invocation: str) -> Sequence[Run]:
        """All runs of an invocation, the first one first."""
        return [self._runs[key] for key in sorted(self._runs) if key[:2] == (tenant, invocation)]

    async def attempts_of(
        self, tenant: str, invocations: Sequence[str]
    ) -> Mapping[str, Sequence[PastAttempt]]:
        """The attempts of these invocations by their ids, the first one first."""
        found: dict[str, list[PastAttempt]] = {}
        for key in sorted(self._attempts):
            if key[0] == tenant and key[1] in invocations:
                found.setdefault(key[1], []).append(self._attempts[key])
        return found

    async def usage(self, tenant: str, query: UsageQuery) -> Sequence[UsageDay]:
        """Usage that the query asks for."""
        ordered = sorted(self._usage.values(), key=lambda one: (-one.day, one.function))
        return [one for one in ordered if one.tenant == tenant and _is_asked(one, query)][
            : query.most
        ]

    async def prune(self, before_ms: int, most: int) -> int:
        """Deletes runs and attempts that ended before this time."""
        check_storable(before_ms)
        before_ms = max(before_ms, before_ms if self._horizon_ms is None else self._horizon_ms)
        self._horizon_ms = before_ms
        runs = [key for key, run in self._runs.items() if run.finished_ms < before_ms][:most]
        old = [key for key, one in self._attempts.items() if one.ended_ms < before_ms][:most]
        for key in runs:
            del self._runs[key]
        for key in old:
            del self._attempts[key]
        return len(runs) + len(old)

    async def prune_usage(self, before_day: int, most: int) -> int:
        """Deletes usage of days before this one."""
        check_storable(before_day)
        old = [key for key in self._usage if key[1] < before_day][:most]
        for key in old:
            del self._usage[key]
        return len(old)

    def _is_young(self, time_ms: int) -> bool:
        return self._horizon_ms is None or time_ms >= self._horizon_ms

    def _count(self, more: UsageDay) -> None:
        key = (more.tenant, more.day, more.function)
        known = self._usage.get(key, UsageDay(more.tenant, more.function, more.day))
        runs = {
            outcome: known.runs.get(outcome, 0) + more.runs.get(outcome, 0)
            for outcome in known.runs.keys() | more.runs.keys()
        }
        attempts, amounts = known.attempts + more.attempts, known.amounts + more.amounts
        self._usage[key] = UsageDay(more.tenant, more.function, more.day, runs, attempts, amounts)


def _run_key(run: Run) -> tuple[str, str, int]:
    return run.tenant, run.invocation, run.redrive


def _attempt_key(one: PastAttempt) -> tuple[str, str, int]:
    return one.tenant, one.invocation, one.position


def _fits(run: Run, query: RunQuery) -> bool:
    place, after = place_of(run), query.after
    return (
        query.function in {"", run.function}
        and query.version in {None, run.version}
        and query.outcome in {None, run.outcome}
        and query.limit in {"", run.limit}
        and (query.since_ms is None or run.finished_ms >= query.since_ms)
        and (query.until_ms is None or run.finished_ms < query.until_ms)
        and (after is None or (place > after if query.oldest_first else place < after))
    )


def _is_asked(usage: UsageDay, query: UsageQuery) -> bool:
    return (
        query.function in {"", usage.function}
        and (query.first_day is None or usage.day >= query.first_day)
        and (query.last_day is None or usage.day <= query.last_day)
        and (
            query.after is None or (-usage.day, usage.function) > (-query.after[0], query.after[1])
        )
    )
