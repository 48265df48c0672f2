"""Limits that follow what a function version's runs needed, once enough of them were seen.

A limit is fitted when `LEAST_RUNS` runs told their need. Where the learned policy rules, a run that
passes its limit is tried again with more, so the limit is what 99 of 100 runs need, and a quarter
more. Where nothing raises a limit, it is twice the most that was seen. No limit falls below its
floor, and none passes its ceiling.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from stockade.core.limits import Limits
from stockade.retry.needs import Sketch
from stockade.retry.raising import MARGIN

LEAST_RUNS = 30
FLOORS = {"fuel": 100_000, "memory_bytes": 2 * 1024 * 1024, "wall_ms": 1000}
"""Below these a limit saves nothing: short runs are told apart by noise."""
NEEDS = {"fuel": "fuel", "memory_bytes": "memory", "wall_ms": "wall"}
"""The sketch that tells the need for each limit."""
_OFTEN, _ALL, _ROOM = 0.99, 1.0, 2.0


@dataclass(frozen=True, slots=True)
class Fitted:
    """Learned limits, and one sentence about where they come from."""

    limits: Limits
    reason: str


def fitted(
    needs: Mapping[str, Sketch],
    names: Iterable[str],
    limits: Limits,
    ceilings: Limits,
    *,
    raisable: bool,
) -> Fitted:
    """An attempt's limits, those of the names by need where that is known well enough.

    Args:
        needs: What runs of the version needed, by sketch.
        names: The limits that are to follow, of `NEEDS`.
        limits: What counts until then.
        ceilings: What no limit passes.
        raisable: Whether a run that passes its limit is tried again with more.
    """
    found: dict[str, int] = {}
    words = []
    for name in names:
        sketch = needs.get(NEEDS[name], Sketch())
        if sketch.runs < LEAST_RUNS:
            words.append(f"{name} by default ({sketch.runs:.0f} of {LEAST_RUNS} runs seen)")
            continue
        found[name] = fit(sketch, name, ceilings, raisable=raisable)
        words.append(f"{name} by the need of {sketch.runs:.0f} runs")
    return Fitted(replace(limits, **found), f"Automatic limits: {', '.join(words)}.")


def fit(sketch: Sketch, name: str, ceilings: Limits, *, raisable: bool) -> int:
    """A limit that holds what a sketch remembers."""
    share, room = (_OFTEN, MARGIN) if raisable else (_ALL, _ROOM)
    need = sketch.quantile(share) or 0.0
    ceiling: int = getattr(ceilings, name)
    return min(ceiling, max(FLOORS[name], int(room * need)))
