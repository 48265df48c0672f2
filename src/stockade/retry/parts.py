"""What is learned of one scope, and how a scope learns: lesson by lesson, whoever saw them.

A part is kept for the platform, for each tenant, each function version and each upstream. A lesson
is what one attempt's end teaches one of them. Workers that share a part send lessons, not sums: a
change of the world and a run of failures show only in the order of what happened, and so they show
to many workers as they would to one who saw all.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from stockade.retry.budgets import Account
from stockade.retry.needs import Sketch
from stockade.retry.outages import Outage
from stockade.retry.rates import FIRST_SHIFT, Rate

MOST_BASES, MOST_SHARED_BASES = 10, 96
"""Bases of one function version; the longest unseen goes first. Of a tenant or the platform: more
than there can be, since a tenant whose bases went would tell the platform's anew."""
MOST_OF_ONE_TENANT = 3.0
"""Trials that a tenant has in mind when it stops telling the platform's."""
_FRESH_ENDS = 6.0
"""As many as a wider scope's estimate weighs."""

Key = tuple[str, ...]
"""`()`, `(tenant,)`, `(tenant, function, version)`, or `(tenant, "", upstream)`."""
PLATFORM: Key = ()


@dataclass(frozen=True, slots=True)
class Lesson:
    """What one attempt's end teaches one scope.

    `follows` says that the scope's runs of failures are followed, `first` that it was a first
    attempt. `basis` is what the retry was decided by, if it was one; `explored` that it was tried
    against the estimate.
    """

    now_ms: int
    success: bool
    follows: bool = False
    first: bool = False
    needs: tuple[tuple[str, float], ...] = ()
    basis: str = ""
    explored: bool = False


@dataclass(slots=True)
class Part:
    """One scope's memory: success by basis, of first attempts, the outage, needs by limit, budget.

    `frozen`: nothing more is learned, though a run of failures is followed to its end. `aside`:
    what was known could not be read; until enough is learned anew the fixed rules are to be used.
    """

    rates: dict[str, Rate] = field(default_factory=dict)
    firsts: Rate = field(default_factory=Rate)
    outage: Outage = field(default_factory=Outage)
    needs: dict[str, Sketch] = field(default_factory=dict)
    account: Account = field(default_factory=Account)
    frozen: bool = False
    aside: bool = False

    def rate(self, basis: str, most: int) -> Rate:
        """The basis's rate, for learning."""
        if basis not in self.rates:
            self.rates = newest(self.rates, most - 1)
            self.rates[basis] = Rate()
        return self.rates[basis]

    def renew(self) -> None:
        """The world has changed: what was learned of retries is void."""
        for rate in self.rates.values():
            rate.renew()

    def tells(self, basis: str) -> bool:
        """Whether a tenant's lesson is the platform's too: of the first few of each basis."""
        rate = self.rates.get(basis)
        return not self.frozen and (rate is None or rate.trials < MOST_OF_ONE_TENANT)

    @property
    def is_fresh(self) -> bool:
        """Whether enough was learned to go by, after what was known had been set aside."""
        followed = self.outage.health.trials + self.outage.failures
        return max(self.firsts.trials, followed) >= _FRESH_ENDS

    def learn(self, lesson: Lesson, most: int = MOST_BASES) -> None:
        """Takes a lesson in; `most` bases are kept."""
        self.learn_all((lesson,), most)

    def learn_all(self, lessons: Iterable[Lesson], most: int = MOST_BASES) -> None:
        """Takes lessons in, in their order."""
        needs: dict[str, list[float]] = {}
        for lesson in lessons:
            self._learn_rates(lesson, most)
            for name, need in lesson.needs:
                needs.setdefault(name, []).append(need)
        if not self.frozen:
            for name, values in needs.items():
                self.needs.setdefault(name, Sketch()).add_all(values)

    def _learn_rates(self, lesson: Lesson, most: int) -> None:
        success, now_ms = float(lesson.success), lesson.now_ms
        if lesson.follows:
            self.outage.observe(success=lesson.success, now_ms=now_ms, learns=not self.frozen)
        if self.frozen:
            return
        if lesson.first and self.firsts.add(success, 1.0, now_ms, FIRST_SHIFT):
            self.renew()
        if lesson.basis:
            if lesson.explored and lesson.success:
                self.renew()
            self.rate(lesson.basis, most).add(success, 1.0, now_ms)


def most_bases(key: Key) -> int:
    """How many bases a scope keeps."""
    return MOST_BASES if len(key) > 1 else MOST_SHARED_BASES


def newest(rates: dict[str, Rate], most: int) -> dict[str, Rate]:
    """At most so many of them, those that were seen last."""
    if len(rates) <= most:
        return rates
    order = sorted(rates, key=lambda basis: (rates[basis].seen_ms, basis), reverse=True)
    return {basis: rates[basis] for basis in order[:most]}
