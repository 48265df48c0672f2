"""Rows of the history as every adapter keeps them, and what none can keep."""

from dataclasses import asdict, dataclass
from typing import Any

import msgspec

from stockade.core.history import (
    AMOUNTS,
    Amounts,
    InvocationHistory,
    PastAttempt,
    Run,
    RunPlace,
    UsageDay,
)
from stockade.core.history_rows import attempts_of, runs_of
from stockade.core.limits import Limits
from stockade.core.outcomes import Outcome
from stockade.infra.catalog_values import check_storable


@dataclass(frozen=True, slots=True)
class Rows:
    """What records make."""

    runs: list[Run]
    attempts: list[PastAttempt]


def rows_of(histories: list[InvocationHistory]) -> Rows:
    """All rows, each once, sorted by their keys, so that no two recorders wait for each other.

    Raises:
        StockadeError: `catalog.value_invalid`.
        OverflowError, TypeError, ValueError: A figure is none.
    """
    runs: dict[tuple[str, str, int], Run] = {}
    attempts: dict[tuple[str, str, int], PastAttempt] = {}
    for history in histories:
        own = attempts_of(history)
        for run in runs_of(history, own):
            _check(run, run.amounts)
            runs[run.tenant, run.invocation, run.redrive] = run
        for one in own:
            _check(one, one.amounts)
            attempts[one.tenant, one.invocation, one.position] = one
    return Rows([runs[key] for key in sorted(runs)], [attempts[key] for key in sorted(attempts)])


def place_of(run: Run) -> RunPlace:
    """Where a run stands in lists."""
    return run.finished_ms, run.invocation, run.redrive


def row_of(one: Run | PastAttempt) -> dict[str, object]:
    """The columns of a run or an attempt."""
    row: dict[str, object] = {
        name: getattr(one, name) for name in one.__slots__ if name not in _OTHERWISE
    }
    row["limit_name"] = one.limit
    for name in AMOUNTS:
        row[name] = getattr(one.amounts, name)
    if isinstance(one, PastAttempt):
        row["limits"] = None if one.limits is None else msgspec.json.encode(one.limits).decode()
    return row


_OTHERWISE = frozenset({"limit", "amounts", "limits"})


def usage_row(usage: UsageDay) -> dict[str, object]:
    """The columns of a day's usage."""
    runs = {f"runs_{outcome}": usage.runs.get(outcome, 0) for outcome in Outcome}
    place = {"tenant": usage.tenant, "day": usage.day, "function": usage.function}
    return place | runs | {"attempts": usage.attempts} | asdict(usage.amounts)


def run_from(row: Any) -> Run:  # noqa: ANN401 - any mapping of columns
    """A run from its columns."""
    return Run(**_shared(row, Run))


def attempt_from(row: Any) -> PastAttempt:  # noqa: ANN401 - any mapping of columns
    """An attempt from its columns."""
    limits = row["limits"]
    decoded = None if limits is None else msgspec.json.decode(limits, type=Limits)
    return PastAttempt(**_shared(row, PastAttempt), limits=decoded)


def usage_from(row: Any) -> UsageDay:  # noqa: ANN401 - any mapping of columns
    """A day's usage from its columns; outcomes that did not happen are left out."""
    counted = {outcome: row[f"runs_{outcome}"] for outcome in Outcome}
    runs = {outcome: count for outcome, count in counted.items() if count}
    return UsageDay(
        row["tenant"], row["function"], row["day"], runs, row["attempts"], _amounts(row)
    )


def _shared(row: Any, shape: type[Run] | type[PastAttempt]) -> dict[str, Any]:  # noqa: ANN401
    plain = {name: row[name] for name in shape.__slots__ if name not in _OTHERWISE}
    outcome = Outcome(row["outcome"])
    return plain | {"outcome": outcome, "limit": row["limit_name"], "amounts": _amounts(row)}


def _amounts(row: Any) -> Amounts:  # noqa: ANN401 - any mapping of columns
    return Amounts(*(row[name] for name in AMOUNTS))


def _check(one: Run | PastAttempt, amounts: Amounts) -> None:
    plain = (getattr(one, name) for name in one.__slots__ if name not in _UNCHECKED)
    check_storable(*plain)
    check_storable(*(getattr(amounts, name) for name in AMOUNTS))


_UNCHECKED = frozenset({"amounts", "limits", "success"})
