"""Limits: the ceilings of one attempt, and how a request is clamped to its tenant's ceilings."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Literal

from stockade.core.errors import StockadeError

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """What one attempt may use at most. All are positive integers; units stand in the names."""

    fuel: int = 1_000_000_000
    memory_bytes: int = 64 * MIB
    table_elements: int = 10_000
    wall_ms: int = 10_000
    input_bytes: int = 6 * MIB
    output_bytes: int = 6 * MIB
    log_bytes: int = 64 * 1024
    host_calls: int = 10_000


LIMIT_NAMES = tuple(field.name for field in fields(Limits))

LEARNED_LIMITS = ("fuel", "memory_bytes", "wall_ms")
"""Limits that may follow what earlier runs needed, up to their ceilings."""

AUTO: Literal["auto"] = "auto"
"""What a deploy asks for instead of a number when a limit is to follow what runs needed."""

DEFAULT_LIMITS = Limits()
"""What a function gets for each limit that it does not name."""

CEILINGS = Limits(
    fuel=100_000_000_000,
    memory_bytes=512 * MIB,
    table_elements=100_000,
    wall_ms=120_000,
    input_bytes=6 * MIB,
    output_bytes=6 * MIB,
    log_bytes=1 * MIB,
    host_calls=1_000_000,
)
"""What a function may ask for at most where its tenant's profile says nothing else."""

HARD_CEILINGS = Limits(
    fuel=2**62,
    memory_bytes=1024 * MIB,
    table_elements=1_000_000,
    wall_ms=3_600_000,
    input_bytes=64 * MIB,
    output_bytes=64 * MIB,
    log_bytes=16 * MIB,
    host_calls=100_000_000,
)
"""What no profile may allow: the executors' own walls stand here."""


def split_auto(asked: Mapping[str, int | str] | str) -> tuple[dict[str, int], tuple[str, ...]]:
    """The numbers that a deploy asks for, and the names of the limits that are to be learned.

    Raises:
        StockadeError: `limits.unknown` or `limits.not_learned`.
    """
    if isinstance(asked, str):
        return {}, LEARNED_LIMITS
    auto = tuple(sorted(name for name, value in asked.items() if value == AUTO))
    for name in auto:
        _check_known(name)
        if name not in LEARNED_LIMITS:
            raise StockadeError(
                "limits.not_learned",
                f"The limit {name!r} must be a number: only {', '.join(LEARNED_LIMITS)} can be"
                f" {AUTO!r}.",
            )
    return {name: value for name, value in asked.items() if isinstance(value, int)}, auto


def limits_from_request(
    asked: dict[str, int],
    defaults: Limits = DEFAULT_LIMITS,
    ceilings: Limits = CEILINGS,
    plan: str = "default",
) -> Limits:
    """Completes what a deploy asks for with the defaults, and refuses what exceeds a ceiling.

    Raises:
        StockadeError: `limits.unknown`, `limits.not_positive` or `limits.above_ceiling`.
    """
    for name, value in asked.items():
        _check_limit(name, value, ceilings, plan)
    return replace(defaults, **asked)


def _check_limit(name: str, value: int, ceilings: Limits, plan: str) -> None:
    _check_known(name)
    if value <= 0:
        raise StockadeError(
            "limits.not_positive", f"The limit {name!r} must be 1 or more, not {value}."
        )
    ceiling = getattr(ceilings, name)
    if value > ceiling:
        raise StockadeError(
            "limits.above_ceiling",
            f"The limit {name!r} is {value}; this tenant's ceiling is {ceiling}, by the plan"
            f" {plan!r}. Ask for less.",
            detail={"limit": name, "asked": value, "ceiling": ceiling, "plan": plan},
        )


def _check_known(name: str) -> None:
    if name not in LIMIT_NAMES:
        raise StockadeError(
            "limits.unknown", f"There is no limit {name!r}. Limits are: {', '.join(LIMIT_NAMES)}."
        )
