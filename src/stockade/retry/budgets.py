"""Budgets of retries: earned by successes, so that retries never outweigh the work itself.

A tenant's retries are paid from what its own successes earned. Beyond that each tenant has a small
allowance that need not be earned; all allowances together are bounded by the platform's. So a
tenant that burns its own, and even the platform's, never slows who earns.

Workers share the accounts: each spends by what it saw of them last, and tells what it spent
(`Spending`). What several spent twice over becomes a debt, which time pays back before anything
else. The platform is never charged more of one tenant's than that tenant's own allowance.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from stockade.retry.rates import CLOCK_ERROR_MS

EARNED = 0.6
"""Retries for each success (Finagle's default is 0.2)."""
MOST_EARNED = 100.0
PLENTY = 80.0
"""Tokens above which nothing is spaced."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How much an allowance holds, and what time brings."""

    per_second: float
    most: float


TENANTS = Terms(1.0, 100.0)
PLATFORMS = Terms(50.0, 5000.0)


@dataclass(slots=True)
class Spending:
    """What one worker saw earned, and spent: of what was earned, and of the allowance."""

    earned: float = 0.0
    of_earned: float = 0.0
    of_allowance: float = 0.0
    now_ms: int = 0

    def add(self, other: "Spending") -> None:
        """Counts what was spent besides."""
        self.earned += other.earned
        self.of_earned += other.of_earned
        self.of_allowance += other.of_allowance
        self.now_ms = max(self.now_ms, other.now_ms)

    @property
    def is_nothing(self) -> bool:
        """Whether there is nothing to tell."""
        return not (self.earned or self.of_earned or self.of_allowance)


@dataclass(slots=True)
class Account:
    """What is left, told by what is gone.

    `drawn` of the allowance may be more than it holds: then the future's was taken. `charged` is
    what the platform was asked for of it. Clocks may jump.
    """

    earned: float = 0.0
    drawn: float = 0.0
    charged: float = 0.0
    seen_ms: int = 0

    def pass_time(self, now_ms: int, terms: Terms) -> None:
        """Lets time bring its tokens; a clock that went back brings none."""
        passed_ms = max(0, now_ms) - self.seen_ms
        if passed_ms > 0:
            brought = passed_ms / 1000 * terms.per_second
            self.drawn = max(0.0, self.drawn - brought)
            self.charged = max(0.0, self.charged - brought)
        if passed_ms > 0 or passed_ms < -CLOCK_ERROR_MS:
            self.seen_ms = max(0, now_ms)

    def wait_ms(self, now_ms: int, terms: Terms) -> int:
        """How long until the allowance has a token."""
        self.pass_time(now_ms, terms)
        left = terms.most - self.drawn
        return 0 if left >= 1 else int((1 - left) / terms.per_second * 1000) + 1

    def spend(self, spending: Spending, terms: Terms) -> float:
        """Books what was spent; what of it the platform is to be charged.

        Time passes only when the allowance is drawn on: what is scarce after a shortage stays so
        until then (in faults that come and go this wastes a seventh less).
        """
        earned = min(MOST_EARNED, self.earned + spending.earned) - spending.of_earned
        self.earned = max(0.0, earned)
        taken = spending.of_allowance + max(0.0, -earned)
        if not taken:
            return 0.0
        self.pass_time(spending.now_ms, terms)
        self.drawn += taken
        charge = min(taken, max(0.0, terms.most - self.charged))
        self.charged += charge
        return charge


@dataclass(frozen=True, slots=True)
class Budgets:
    """Those of all tenants, and the platform's.

    Args:
        account: The account of a tenant, or of the platform (the empty name), as seen last.
        book: Books what a tenant earned and spent.
    """

    account: Callable[[str], Account]
    book: Callable[[str, Spending], None]

    def earn(self, tenant: str, now_ms: int) -> None:
        """A success."""
        self.book(tenant, Spending(earned=EARNED, now_ms=now_ms))

    def look(self, tenant: str, now_ms: int) -> tuple[int, float]:
        """How long one more retry must wait, and the scarcity: 0 with plenty, 1 with nothing left.

        Changes nothing.
        """
        own, wait_ms = replace(self.account(tenant)), 0
        if own.earned < 1:
            platform = replace(self.account(""))
            wait_ms = max(own.wait_ms(now_ms, TENANTS), platform.wait_ms(now_ms, PLATFORMS))
        left = own.earned + TENANTS.most - own.drawn
        return wait_ms, min(1.0, max(0.0, 1 - left / PLENTY))

    def take(self, tenant: str, now_ms: int, cost: float = 1.0) -> None:
        """A retry that was decided."""
        if self.account(tenant).earned >= 1:
            self.book(tenant, Spending(of_earned=cost, now_ms=now_ms))
        else:
            self.book(tenant, Spending(of_allowance=cost, now_ms=now_ms))
