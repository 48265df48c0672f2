"""What a worker saw and has not shared yet: lessons and spending by scope, bounded.

A rate remembers 200 trials and a sketch 400 needs, so the newest `MOST_OF_SCOPE` lessons of a scope
teach what all of them would. While the store is away the oldest go first.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice

from stockade.retry.budgets import PLATFORMS, TENANTS, Spending
from stockade.retry.parts import PLATFORM, Key, Lesson, Part, most_bases

MOST_OF_SCOPE = 400
MOST_LESSONS = 50_000
"""Of all scopes together."""
MOST_SCOPES = 10_000


@dataclass(slots=True)
class Batch:
    """Of one scope. `token` is that of the write which may have brought it to the store already."""

    lessons: deque[Lesson] = field(default_factory=lambda: deque(maxlen=MOST_OF_SCOPE))
    spending: Spending = field(default_factory=Spending)
    token: str = ""

    @property
    def is_nothing(self) -> bool:
        """Whether there is nothing to tell."""
        return not self.lessons and self.spending.is_nothing


@dataclass(slots=True)
class Journal:
    """The batches by scope; the scope that was noted first is told first."""

    batches: dict[Key, Batch] = field(default_factory=dict)
    most_lessons: int = MOST_LESSONS
    most_scopes: int = MOST_SCOPES
    lessons: int = 0
    dropped: int = 0
    """Lessons that were never told, since this process began."""

    def note(self, key: Key, lessons: Iterable[Lesson]) -> None:
        """What a scope is to learn."""
        batch = self._batch(key)
        for lesson in lessons:
            full = len(batch.lessons) == MOST_OF_SCOPE
            batch.lessons.append(lesson)
            self.lessons += not full
            self.dropped += full
        while self.lessons > self.most_lessons:
            self._drop_first()

    def spend(self, tenant: str, spending: Spending) -> None:
        """What a tenant earned and spent."""
        self._batch((tenant,)).spending.add(spending)

    def tell_platform(self, told: Batch) -> None:
        """What the platform hears of a tenant, and is charged for it."""
        if told.lessons:
            self.note(PLATFORM, told.lessons)
        if not told.spending.is_nothing:
            self._batch(PLATFORM).spending.add(told.spending)

    def give_back(self, key: Key, batch: Batch) -> None:
        """A batch that was taken out and not told comes before what was noted since."""
        later = self.cut_one(key)
        later.spending.add(batch.spending)
        self._batch(key).spending = later.spending
        self.note(key, (*batch.lessons, *later.lessons))

    @property
    def waiting(self) -> int:
        """How many scopes have something to tell, but for the platform."""
        return len(self.batches) - (PLATFORM in self.batches)

    def first(self, most: int) -> list[Key]:
        """The scopes that were noted first; the platform is told by itself."""
        return list(islice((key for key in self.batches if key != PLATFORM), most))

    def cut_one(self, key: Key) -> Batch:
        """Takes a scope's batch out."""
        batch = self.batches.pop(key, None) or Batch()
        self.lessons -= len(batch.lessons)
        return batch

    def _batch(self, key: Key) -> Batch:
        if key not in self.batches:
            if len(self.batches) >= self.most_scopes:
                self._drop_first()
            self.batches[key] = Batch()
        return self.batches[key]

    def _drop_first(self) -> None:
        self.dropped += len(self.cut_one(next(iter(self.batches))).lessons)


def replay(key: Key, part: Part, batch: Batch) -> Batch:
    """Teaches a scope what a batch has; what the platform is to hear of it."""
    told = Batch()
    if len(key) == 1:
        for lesson in batch.lessons:
            if part.tells(lesson.basis):
                told.lessons.append(lesson)
            part.learn(lesson, most_bases(key))
    else:
        part.learn_all(batch.lessons, most_bases(key))
    if not batch.spending.is_nothing:
        charge = part.account.spend(batch.spending, TENANTS if key else PLATFORMS)
        told.spending = Spending(of_allowance=charge, now_ms=batch.spending.now_ms)
    return told
