"""Rows of the history as every adapter keeps them, and what none can keep."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from operator import attrgetter
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

Shape = type[Run] | type[PastAttempt]
_BOUND = 2**63
_OTHERWISE = frozenset({"limit", "amounts", "limits", "success"})


def _paths(shape: Shape) -> dict[str, str]:
    """Columns, and where their values stand; what is no text or whole number is left out."""
    plain = {name: name for name in shape.__slots__ if name not in _OTHERWISE}
    return plain | {"limit_name": "limit"} | {name: f"amounts.{name}" for name in AMOUNTS}


_RUN_COLUMNS, _ATTEMPT_COLUMNS = tuple(_paths(Run)), tuple(_paths(PastAttempt))
_RUN_VALUES = attrgetter(*_paths(Run).values())
_ATTEMPT_VALUES = attrgetter(*_paths(PastAttempt).values())


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
            _check(_RUN_VALUES(run))
            runs[run.tenant, run.invocation, run.redrive] = run
        for one in own:
            _check(_ATTEMPT_VALUES(one))
            attempts[one.tenant, one.invocation, one.position] = one
    return Rows([runs[key] for key in sorted(runs)], [attempts[key] for key in sorted(attempts)])


def place_of(run: Run) -> RunPlace:
    """Where a run stands in lists."""
    return run.finished_ms, run.invocation, run.redrive


def columns_of(shape: Shape) -> tuple[str, ...]:
    """The columns of such rows, in the order of `values_of`."""
    return _RUN_COLUMNS if shape is Run else (*_ATTEMPT_COLUMNS, "success", "limits")


def values_of(one: Run | PastAttempt) -> tuple[object, ...]:
    """What a run or an attempt has in its columns."""
    if isinstance(one, Run):
        values: tuple[object, ...] = _RUN_VALUES(one)
        return values
    limits = None if one.limits is None else msgspec.json.encode(one.limits).decode()
    return (*_ATTEMPT_VALUES(one), one.success, limits)


def row_of(one: Run | PastAttempt) -> dict[str, object]:
    """The columns of a run or an attempt."""
    return dict(zip(columns_of(type(one)), values_of(one), strict=True))


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
    return PastAttempt(**_shared(row, PastAttempt), limits=decoded, success=row["success"])


def usage_from(row: Any) -> UsageDay:  # noqa: ANN401 - any mapping of columns
    """A day's usage from its columns; outcomes that did not happen are left out."""
    counted = {outcome: row[f"runs_{outcome}"] for outcome in Outcome}
    runs = {outcome: count for outcome, count in counted.items() if count}
    return UsageDay(
        row["tenant"], row["function"], row["day"], runs, row["attempts"], _amounts(row)
    )


def _shared(row: Any, shape: Shape) -> dict[str, Any]:  # noqa: ANN401
    plain = {name: row[name] for name in shape.__slots__ if name not in _OTHERWISE}
    outcome = Outcome(row["outcome"])
    return plain | {"outcome": outcome, "limit": row["limit_name"], "amounts": _amounts(row)}


def _amounts(row: Any) -> Amounts:  # noqa: ANN401 - any mapping of columns
    return Amounts(*(row[name] for name in AMOUNTS))


def _check(values: Sequence[object]) -> None:
    """As `check_storable` does, which this asks about the values that may be none."""
    for value in values:
        if isinstance(value, int):
            if not -_BOUND <= value < _BOUND:
                check_storable(value)
        elif isinstance(value, str) and ("\0" in value or not value.isascii()):
            check_storable(value)
