"""The attempts of an invocation, as `stockade runs show` tells them."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import typer

from stockade.cli.words import print_table

if TYPE_CHECKING:
    from stockade_client import Attempt

_LEARNED_LIMITS = ("fuel", "memory_bytes", "wall_ms")


def print_attempts(attempts: Sequence["Attempt"]) -> None:
    """How each ended and why it was tried again or not; what the shadow policy made of it."""
    head = ("ATTEMPT", "OUTCOME", "WALL MS", "FUEL", "POLICY", "CODE", "CHANCE", "REASON")
    print_table(head, map(_row, attempts))
    own = [item for item in attempts if item.limits or item.limits_reason]
    if own:
        typer.echo()
        rows = ((item.number, _limits(item.limits), item.limits_reason) for item in own)
        print_table(("ATTEMPT", "ITS OWN LIMITS", "WHY"), rows)
    shadows = [row for item in attempts for row in _shadow_rows(item)]
    if shadows:
        typer.echo()
        print_table(("ATTEMPT", "SHADOW", "WOULD", "CODE", "CHANCE", "REASON"), shadows)


def chance(success: float | None) -> str:
    """An estimate in per cent; nothing where there is none."""
    return "" if success is None else f"{success:.0%}"


def _row(item: "Attempt") -> tuple[object, ...]:
    cost = (f"{item.usage.wall_ms:.3f}", item.usage.fuel)
    why = (item.policy, item.code, chance(item.success), item.reason)
    return (item.number, item.outcome, *cost, *why)


def _shadow_rows(item: "Attempt") -> list[tuple[object, ...]]:
    shadow = item.shadow
    if shadow is None:
        return []
    would = f"retry after {shadow.delay_ms} ms" if shadow.retry else "stop"
    estimate = chance(shadow.success)
    return [(item.number, shadow.policy, would, shadow.code, estimate, shadow.reason)]


def _limits(limits: Mapping[str, int]) -> str:
    if not limits:
        return "as deployed"
    return " ".join(f"{name}={limits[name]}" for name in _LEARNED_LIMITS if name in limits)
