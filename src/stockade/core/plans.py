"""Plans: which limits a tenant's functions get, and what they may ask for at most.

A deploy above a ceiling is refused. A ceiling that is lowered later counts for what was deployed
before, too: from then on its invocations run under the ceiling.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from stockade.core.limits import (
    CEILINGS,
    DEFAULT_LIMITS,
    HARD_CEILINGS,
    LIMIT_NAMES,
    Limits,
    limits_from_request,
)

DEFAULT_PLAN = "default"


@dataclass(frozen=True, slots=True)
class Plan:
    """The limits of a function that names none, and what it may ask for at most.

    Raises:
        ValueError: A default is not between 1 and its ceiling, or a ceiling is above what
            executors can give.
    """

    name: str = DEFAULT_PLAN
    defaults: Limits = DEFAULT_LIMITS
    ceilings: Limits = CEILINGS

    def __post_init__(self) -> None:
        for name in LIMIT_NAMES:
            default, ceiling = getattr(self.defaults, name), getattr(self.ceilings, name)
            most = getattr(HARD_CEILINGS, name)
            if not 0 < default <= ceiling:
                raise ValueError(f"the default of {name} is not between 1 and its ceiling")
            if ceiling > most:
                raise ValueError(f"the ceiling of {name} is above {most}, which nobody can give")

    def limits(self, asked: dict[str, int]) -> Limits:
        """What a deploy asks for, completed.

        Raises:
            StockadeError: `limits.…`.
        """
        return limits_from_request(asked, self.defaults, self.ceilings, self.name)

    def clamp(self, limits: Limits) -> Limits:
        """The limits, each at most its ceiling; the same object when all are."""
        above = {
            name: ceiling
            for name in LIMIT_NAMES
            if getattr(limits, name) > (ceiling := getattr(self.ceilings, name))
        }
        return replace(limits, **above) if above else limits


@dataclass(frozen=True, slots=True)
class Plans:
    """All plans by name, and who has which."""

    default: Plan = field(default_factory=Plan)
    tenants: Mapping[str, Plan] = field(default_factory=dict)

    def of(self, tenant: str) -> Plan:
        """The tenant's plan."""
        return self.tenants.get(tenant, self.default)


class PlanBook(Protocol):
    """The plans that are in force now."""

    @property
    def current(self) -> Plans:
        """The newest that could be read."""
        ...

    @property
    def alarm(self) -> str | None:
        """Why newer ones are not in force; None when these are the newest."""
        ...


@dataclass(frozen=True, slots=True)
class FixedPlans:
    """A `PlanBook` that never changes."""

    current: Plans = field(default_factory=Plans)
    alarm: str | None = None
