"""What the learned policy remembers, and how it learns from the ends of attempts.

A failure's *basis* names its class: outcome, limit, cause, whether it repeats the one before,
whether others fail too, and the attempt. A function version is remembered by the whole basis; its
tenant and the platform without the cause, which is the guest's own word.
"""

from dataclasses import dataclass, field

from stockade.core.outcomes import Outcome
from stockade.retry.certainties import RAISABLE_LIMITS
from stockade.retry.needs import Sketch
from stockade.retry.outages import Outage
from stockade.retry.rates import FIRST_SHIFT, PRIOR
from stockade.retry.state import MOST_BASES, MOST_SHARED_BASES, Part
from stockade.retry.types import AttemptObservation, FailureContext, Source

MOST_PARTS = 50_000
"""Parts in memory; those of which nothing was heard for longest go first."""
MOST_OF_ONE_TENANT = 3.0
"""Trials that a tenant has in mind when it stops telling the platform's."""
EXPLORING = "?"
"""Ends the basis of a retry against the estimate: its success is reason enough to begin anew."""
_LAST_ATTEMPT = 3
_CAUSE_LENGTH = 12
_A_RUN = 2

Key = tuple[str, ...]


@dataclass(slots=True)
class Memory:
    """The parts by their key: `()`, `(tenant,)`, `(tenant, function, version)`, an upstream's."""

    parts: dict[Key, Part] = field(default_factory=dict)
    most: int = MOST_PARTS

    def basis(self, context: FailureContext, attempt: int) -> str:
        """The class of this failure, were it of that attempt."""
        many = self.outage(context.source).failures > _A_RUN
        cause = context.cause[:_CAUSE_LENGTH] if context.cause.isascii() else "other"
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
            part = self.parts.get(key)
            rate = part.rates.get(name) if part else None
            if rate is not None:
                chance, trials = rate.estimate(chance, now_ms), rate.trials
        return chance, trials

    def need(self, source: Source, limit: str, share: float, above: float = 0.0) -> float | None:
        """What so many runs of the function version stay within; None when nothing is known."""
        part = self.parts.get(_function(source))
        sketch = part.needs.get(limit) if part else None
        return sketch.quantile(share, above) if sketch else None

    def outage(self, source: Source) -> Outage:
        """That of the upstream if there is one, or of the function version; not to be changed."""
        part = self.parts.get(_subject(source))
        return part.outage if part else Outage()

    def put_off(self, source: Source) -> None:
        """Counts a retry that waits for an outage's end."""
        self._part(_subject(source)).outage.waiting += 1

    def observe(self, observation: AttemptObservation) -> None:
        """Learns from an attempt's end."""
        success = observation.outcome is Outcome.COMPLETED
        source, now_ms = observation.source, max(0, observation.now_ms)
        self._part(_subject(source)).outage.observe(success=success, now_ms=now_ms)
        self._learn_need(observation)
        if observation.attempt == 1:
            part = self._part(_function(source))
            if part.firsts.add(float(success), 1.0, now_ms, FIRST_SHIFT):
                part.renew()
        if observation.basis:
            self._learn_chance(source, observation.basis, float(success), now_ms)

    def _learn_chance(self, source: Source, basis: str, success: float, now_ms: int) -> None:
        explored, basis = basis.endswith(EXPLORING), basis.removesuffix(EXPLORING)
        platform, tenant, function = _scopes(source, basis)
        narrow = self._part(tenant[0]).rate(tenant[1], MOST_SHARED_BASES)
        if narrow.trials < MOST_OF_ONE_TENANT:
            wide = self._part(platform[0]).rate(platform[1], MOST_SHARED_BASES)
            wide.add(success, 1.0, now_ms)
        narrow.add(success, 1.0, now_ms)
        part = self._part(function[0])
        if explored and success:
            part.renew()
        part.rate(function[1], MOST_BASES).add(success, 1.0, now_ms)

    def _learn_need(self, observation: AttemptObservation) -> None:
        usage, limit = observation.usage, observation.limit
        needs: dict[str, float]
        if observation.outcome is Outcome.COMPLETED:
            needs = {"fuel": usage.fuel, "memory": usage.peak_memory_bytes, "wall": usage.wall_ms}
        elif limit in RAISABLE_LIMITS:
            needs = {limit: 2 * getattr(observation.limits, RAISABLE_LIMITS[limit])}
        else:
            return
        part = self._part(_function(observation.source))
        for name, need in needs.items():
            part.needs.setdefault(name, Sketch()).add(need)

    def _part(self, key: Key) -> Part:
        part = self.parts.pop(key, None)
        if part is None:
            part = Part()
            if len(self.parts) >= self.most:
                del self.parts[next(iter(self.parts))]
        self.parts[key] = part
        return part


def _function(source: Source) -> Key:
    return source.tenant, source.function, str(source.version)


def _subject(source: Source) -> Key:
    return (source.tenant, "", source.upstream) if source.upstream else _function(source)


def _scopes(source: Source, basis: str) -> tuple[tuple[Key, str], ...]:
    """From the widest to the narrowest, with the basis's name in each."""
    outcome, limit, *_, rest = basis.split(".")
    shared = f"{outcome}.{limit}..{rest}"
    return ((), shared), ((source.tenant,), shared), (_function(source), basis)
