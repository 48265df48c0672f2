"""New limits after one was passed: as the learned need suggests, within the ceilings."""

from dataclasses import replace

from stockade.core.limits import Limits
from stockade.retry.certainties import RAISABLE_LIMITS
from stockade.retry.memory import Memory
from stockade.retry.types import FailureContext

MARGIN = 1.25
"""How much more than the need is given."""
_OFTEN, _ALMOST_ALWAYS = 0.95, 0.99


def raised(memory: Memory, context: FailureContext, passed: str) -> Limits | None:
    """Limits with more of what was passed; None when the ceiling is reached already.

    The limit at least doubles, or goes to what is enough for most runs that needed more. The others
    are raised too, as far as their need is known: one failure is enough.
    """
    name = RAISABLE_LIMITS[passed]
    had, ceiling = _pair(context, name)
    if had >= ceiling:
        return None
    need = memory.need(context.source, passed, _OFTEN, had) or 0
    limits = {name: min(ceiling, max(2 * had, int(MARGIN * need)))}
    for other, field in RAISABLE_LIMITS.items():
        if other != passed:
            had, ceiling = _pair(context, field)
            need = memory.need(context.source, other, _ALMOST_ALWAYS) or 0
            limits[field] = max(had, min(ceiling, int(MARGIN * need)))
    return replace(context.limits, **limits)


def _pair(context: FailureContext, name: str) -> tuple[int, int]:
    """What the attempt had, and what is the most."""
    return getattr(context.limits, name), getattr(context.ceilings, name)
