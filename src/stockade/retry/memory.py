"""What the learned policy remembers, and how it learns from the ends of attempts.

A failure's *basis* names its class: outcome, limit, cause, whether it repeats the one before,
whether others fail too, and the attempt. A function version is remembered by the whole basis; its
tenant and the platform without the cause, which is the guest's own word.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from stockade.core.outcomes import Outcome
from stockade.retry.budgets import PLATFORMS, TENANTS, Account, Spending
from stockade.retry.certainties import RAISABLE_LIMITS
from stockade.retry.journal import MOST_OF_SCOPE, Batch, Journal, replay
from stockade.retry.needs import Sketch
from stockade.retry.outages import Outage
from stockade.retry.parts import PLATFORM, Key, Lesson, Part, most_bases
from stockade.retry.rates import PRIOR
from stockade.retry.types import AttemptObservation, FailureContext, Source

MOST_PARTS = 50_000
"""Parts in memory; those of which nothing was heard for longest go first."""
EXPLORING = "?"
"""Ends the basis of a retry against the estimate: its success is reason enough to begin anew."""
_LAST_ATTEMPT = 3
_CAUSE_LENGTH = 12
_A_RUN = 2


@dataclass(slots=True)
class Memory:
    """The parts by their key. With a journal, what is learned here is noted for the others too.

    Then a part learns what is `behind` when it is looked at: mostly what all workers know takes its
    place before that, and has it.
    """

    parts: dict[Key, Part] = field(default_factory=dict)
    most: int = MOST_PARTS
    journal: Journal | None = None
    behind: dict[Key, deque[Lesson]] = field(default_factory=dict)

    def basis(self, context: FailureContext, attempt: int) -> str:
        """The class of this failure, were it of that attempt."""
        many = self.outage(context.source).failures > _A_RUN
        cause = context.cause[:_CAUSE_LENGTH]
        cause = cause if cause.isascii() and cause.isprintable() else "other"
        return (
            f"{context.outcome[:3]}.{(context.limit or '')[:1]}.{cause}"
            f".{context.repeats:d}{many:d}{min(attempt, _LAST_ATTEMPT)}"
        )

    def chance(
        self, context: FailureContext, attempt: int, prior: float = PRIOR
    ) -> tuple[float, float]:
        """How likely a retry after that attempt completes, and the trials that tell it."""
        basis, now_ms = self.basis(context, attempt), context.now_ms
        chance, trials = prior, 0.0
        for key, name in _scopes(context.source, basis):
            part = self.known(key)
            rate = part.rates.get(name) if part else None
            if rate is not None:
                chance, trials = rate.estimate(chance, now_ms), rate.trials
        return chance, trials

    def need(self, source: Source, limit: str, share: float, above: float = 0.0) -> float | None:
        """What so many runs of the function version stay within; None when nothing is known."""
        part = self.known(function_key(source))
        sketch = part.needs.get(limit) if part else None
        return sketch.quantile(share, above) if sketch else None

    def needs(self, source: Source) -> Mapping[str, Sketch]:
        """What runs of the function version needed, by limit; not to be changed."""
        part = self.known(function_key(source))
        return part.needs if part else {}

    def outage(self, source: Source) -> Outage:
        """That of the upstream if there is one, or of the function version; not to be changed."""
        part = self.known(subject_key(source))
        return part.outage if part else Outage()

    def put_off(self, source: Source) -> None:
        """Counts a retry that waits for an outage's end."""
        self.part(subject_key(source)).outage.waiting += 1

    def account(self, tenant: str) -> Account:
        """What is left of a tenant's budget, or the platform's (no name); not to be changed."""
        part = self.parts.get((tenant,) if tenant else PLATFORM)
        return part.account if part else Account()

    def spend(self, tenant: str, spending: Spending) -> None:
        """Books what a tenant earned and spent."""
        if self.journal is not None:
            self.journal.spend(tenant, spending)
        charge = self.part((tenant,)).account.spend(spending, TENANTS)
        if charge:
            platform = Spending(of_allowance=charge, now_ms=spending.now_ms)
            self.part(PLATFORM).account.spend(platform, PLATFORMS)

    def observe(self, observation: AttemptObservation) -> None:
        """Learns from an attempt's end."""
        for key, lesson in _lessons(observation):
            if self.journal is not None:
                self.journal.note(key, (lesson,))
                if not lesson.basis:
                    self._put_behind(key, lesson)
                    continue
            part = self.part(key)
            if len(key) == 1 and part.tells(lesson.basis):
                self.part(PLATFORM).learn(lesson, most_bases(PLATFORM))
            part.learn(lesson, most_bases(key))

    def adopt(self, key: Key, part: Part, unshared: Iterable[Batch] = ()) -> None:
        """Takes what all workers know of a scope, and adds what they have not been told yet."""
        had = self._kept(key).outage.waiting
        waiting = self.part(key).outage.waiting if had else 0
        self.behind.pop(key, None)
        for batch in unshared:
            replay(key, part, batch)
        part.outage.waiting = waiting if part.outage.failures else 0
        self.parts[key] = part

    def part(self, key: Key) -> Part:
        """A scope's part, new if nothing is known."""
        part = self._kept(key)
        self._catch_up(key, part)
        return part

    def known(self, key: Key) -> Part | None:
        """A scope's part, if something is known."""
        part = self.parts.get(key)
        if part is not None:
            self._catch_up(key, part)
        return part

    def _kept(self, key: Key) -> Part:
        part = self.parts.pop(key, None)
        if part is None:
            part = Part()
            if len(self.parts) >= self.most:
                gone = next(iter(self.parts))
                del self.parts[gone]
                self.behind.pop(gone, None)
        self.parts[key] = part
        return part

    def _put_behind(self, key: Key, lesson: Lesson) -> None:
        self._kept(key)
        lessons = self.behind.get(key)
        if lessons is None:
            lessons = self.behind[key] = deque(maxlen=MOST_OF_SCOPE)
        lessons.append(lesson)

    def _catch_up(self, key: Key, part: Part) -> None:
        lessons = self.behind.pop(key, None)
        if lessons:
            part.learn_all(lessons, most_bases(key))


def scopes_of(source: Source) -> tuple[Key, ...]:
    """All that a decision about such an attempt may look at."""
    subject, function = subject_key(source), function_key(source)
    return PLATFORM, (source.tenant,), function, *((subject,) if subject != function else ())


def function_key(source: Source) -> Key:
    """The function version's."""
    return source.tenant, source.function, str(source.version)


def subject_key(source: Source) -> Key:
    """That of whose outages are followed: the upstream's, or the function version's."""
    return (source.tenant, "", source.upstream) if source.upstream else function_key(source)


def _lessons(observation: AttemptObservation) -> Iterator[tuple[Key, Lesson]]:
    """What each scope learns; of the platform its tenants decide."""
    source, now_ms = observation.source, max(0, observation.now_ms)
    success = observation.outcome is Outcome.COMPLETED
    explored, basis = observation.basis.endswith(EXPLORING), observation.basis
    basis = basis.removesuffix(EXPLORING)
    subject, function = subject_key(source), function_key(source)
    if subject != function:
        yield subject, Lesson(now_ms, success, follows=True)
    first, needs = observation.attempt == 1, _needs(observation)
    follows = subject == function
    yield function, Lesson(now_ms, success, follows, first, needs, basis, explored)
    if basis:
        yield (source.tenant,), Lesson(now_ms, success, basis=_shared(basis))


def _needs(observation: AttemptObservation) -> tuple[tuple[str, float], ...]:
    usage, limit = observation.usage, observation.limit
    if observation.outcome is Outcome.COMPLETED:
        return (
            ("fuel", usage.fuel),
            ("memory", usage.peak_memory_bytes),
            # A run shorter than the least size is a run that needed that.
            ("wall", 1.0 if 0 < usage.wall_ms < 1 else usage.wall_ms),
        )
    if limit in RAISABLE_LIMITS:
        return ((limit, 2 * getattr(observation.limits, RAISABLE_LIMITS[limit])),)
    return ()


def _shared(basis: str) -> str:
    """A basis's name beyond the function: without the cause, which is the guest's own word."""
    outcome, limit, *_, rest = basis.split(".")
    return f"{outcome}.{limit}..{rest}"


def _scopes(source: Source, basis: str) -> tuple[tuple[Key, str], ...]:
    """From the widest to the narrowest, with the basis's name in each."""
    shared = _shared(basis)
    return (PLATFORM, shared), ((source.tenant,), shared), (function_key(source), basis)
