"""What limits a function version should have, by what its runs needed, in numbers and a sentence.

Needs come from the learned sketch, which remembers the last few hundred runs, the newest best, and
counts one that passed its limit as twice the limit. What is suggested is what an automatic limit
would be (`stockade.retry.fitting`), rounded up to two digits.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from stockade.core.limits import Limits
from stockade.retry.fitting import LEAST_RUNS, NEEDS, fit
from stockade.retry.needs import Sketch

_WIDE = 4
"""A limit that is so many times what is suggested stops a run away late."""


@dataclass(frozen=True, slots=True)
class LimitAdvice:
    """One limit: what it is, what runs needed, and what it should be (None: nothing to say).

    `runs` are those that the sketch remembers; `failures` all that passed the limit; `automatic`
    says that the limit follows by itself.
    """

    limit: str
    present: int
    ceiling: int
    runs: int
    p50: int | None
    p95: int | None
    p99: int | None
    most: int | None
    failures: int
    automatic: bool
    suggested: int | None
    sentence: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a function version.

    Args:
        needs: What runs needed, by sketch.
        tally: What became of its runs.
        limits: The version's.
        ceilings: What no limit passes.
        automatic: The limits that follow by themselves.
        raisable: Whether a run that passes its limit is tried again with more.
    """

    needs: Mapping[str, Sketch]
    tally: Mapping[str, int]
    limits: Limits
    ceilings: Limits
    automatic: tuple[str, ...]
    raisable: bool


def advise(evidence: Evidence) -> tuple[LimitAdvice, ...]:
    """For each limit that can be learned."""
    found = (_advised(evidence, name) for name in NEEDS)
    return tuple(replace(one, sentence=_sentence(one)) for one in found)


def _advised(evidence: Evidence, name: str) -> LimitAdvice:
    sketch = evidence.needs.get(NEEDS[name], Sketch())
    ceiling: int = getattr(evidence.ceilings, name)
    suggested = None
    if sketch.runs >= LEAST_RUNS:
        exact = fit(sketch, name, evidence.ceilings, raisable=evidence.raisable)
        suggested = min(ceiling, _rounded(exact))
    return LimitAdvice(
        limit=name,
        present=getattr(evidence.limits, name),
        ceiling=ceiling,
        runs=round(sketch.runs),
        p50=_size(sketch, 0.5),
        p95=_size(sketch, 0.95),
        p99=_size(sketch, 0.99),
        most=_size(sketch, 1.0),
        failures=evidence.tally.get(f"limit.{NEEDS[name]}", 0),
        automatic=name in evidence.automatic,
        suggested=suggested,
        sentence="",
    )


def _sentence(found: LimitAdvice) -> str:
    if found.suggested is None:
        return f"{found.runs} of the {LEAST_RUNS} runs that it takes were seen: nothing to say yet."
    if found.automatic:
        return f"It follows by itself: {found.suggested} by what {found.runs} runs needed."
    if (found.most or 0) > found.ceiling:
        return (
            f"Some runs need more than the ceiling of {found.ceiling}: ask the operator for another"
            " plan, or have the function do less in one run."
        )
    passed = found.failures or (found.most or 0) > found.present
    if passed and found.suggested > found.present:
        return (
            f"Raise it to {found.suggested}: {found.failures} runs passed {found.present}, and 99"
            f" of 100 need at most {found.p99}."
        )
    if found.present >= _WIDE * found.suggested:
        times = found.present / found.suggested
        return (
            f"Lower it to {found.suggested}: no run needed more than {found.most}, and one that"
            f" runs away would be stopped {times:.0f} times sooner."
        )
    return f"It fits: 99 of 100 runs need at most {found.p99}."


def _size(sketch: Sketch, share: float) -> int | None:
    size = sketch.quantile(share)
    return None if size is None else round(size)


def _rounded(value: int) -> int:
    """Up to two digits."""
    unit = int(10 ** max(0, len(str(value)) - 2))
    return -(-value // unit) * unit
