"""Shares of an alias over versions: what is sound, how they mix, and who gets which version."""

import hashlib
import math
from collections.abc import Mapping

from stockade.core.errors import StockadeError

Weights = tuple[tuple[int, int], ...]
"""Versions and their shares, by version."""

MAX_WEIGHTS, MAX_WEIGHT = 16, 10_000
WHOLE = 10_000
"""All of an alias, in hundredths of a percent."""
_MAX_VERSION = 2**31 - 1
_TOLERANCE = 1e-6


def check_weights(weights: Mapping[int, int]) -> Weights:
    """The shares in order.

    Raises:
        StockadeError: `alias.weights_invalid`.
    """
    sound = 0 < len(weights) <= MAX_WEIGHTS and all(
        0 < version <= _MAX_VERSION and 0 < weight <= MAX_WEIGHT
        for version, weight in weights.items()
    )
    if not sound:
        raise StockadeError(
            "alias.weights_invalid",
            f"Weights are 1 to {MAX_WEIGHTS} versions, each with a share of 1 to {MAX_WEIGHT}.",
        )
    return tuple(sorted(weights.items()))


def check_percent(percent: Mapping[int, float]) -> Weights:
    """The shares that percentages stand for: they sum to 100, in steps of 0.01.

    Raises:
        StockadeError: `alias.percent_invalid` or `alias.weights_invalid`.
    """
    shares = {version: _hundredths(share) for version, share in percent.items()}
    total = sum(shares.values())
    if total != WHOLE:
        raise StockadeError(
            "alias.percent_invalid",
            f"The percentages sum to {total / 100:g}; they must sum to 100. Use weights for shares"
            " without a sum.",
        )
    return check_weights(dict(_smallest(tuple(sorted(shares.items())))))


def check_share(percent: float) -> int:
    """A part of an alias in hundredths of a percent.

    Raises:
        StockadeError: `alias.percent_invalid`.
    """
    share = _hundredths(percent)
    if share > WHOLE:
        raise _no_percentage()
    return share


def percentages(weights: Weights) -> dict[int, float]:
    """The shares in percent, rounded to hundredths."""
    total = sum(weight for _, weight in weights)
    return {version: round(100 * weight / total, 2) for version, weight in weights}


def pick(weights: Weights, draw: str) -> int:
    """The version for this draw, always the same one for the same weights.

    Each version runs a race of its own for the draw (weighted rendezvous hashing): when shares
    change, a draw moves only to a version whose part grew, or away from one whose part shrank.
    """
    return min(weights, key=lambda share: _finish(draw, *share))[0]


def mixed(current: Weights, source: Weights, share: int) -> Weights:
    """`source` gets its share, and the other versions of `current` the rest, as they had it.

    Raises:
        StockadeError: `alias.weights_invalid` when they are too many together.
    """
    taken = {version for version, _ in source}
    rest = tuple(one for one in current if one[0] not in taken)
    if not rest:
        return source
    parts = dict(_apportioned(source, share)) | dict(_apportioned(rest, WHOLE - share))
    return check_weights(dict(_smallest(tuple(sorted(parts.items())))))


def _apportioned(weights: Weights, whole: int) -> Weights:
    """Whole numbers that sum to `whole`, or a little more where parts are tiny: none is empty."""
    total = sum(weight for _, weight in weights)
    floors = {version: whole * weight // total for version, weight in weights}
    left = whole - sum(floors.values())
    by_remainder = sorted(weights, key=lambda one: (-(whole * one[1] % total), one[0]))
    for version, _ in by_remainder[:left]:
        floors[version] += 1
    return tuple((version, max(part, 1)) for version, part in floors.items())


def _smallest(weights: Weights) -> Weights:
    divisor = math.gcd(*(weight for _, weight in weights))
    return tuple((version, weight // divisor) for version, weight in weights)


def _finish(draw: str, version: int, weight: int) -> float:
    """When a version's run ends: exponential with its weight as the rate, from an even hash."""
    digest = hashlib.sha256(f"{version}:{draw}".encode()).digest()
    even = (int.from_bytes(digest[:8]) + 1) / (2**64 + 1)
    return -math.log(even) / weight


def _hundredths(percent: float) -> int:
    share = round(percent * 100) if 0 < percent <= WHOLE else 0
    if share < 1 or abs(share - percent * 100) > _TOLERANCE:
        raise _no_percentage()
    return share


def _no_percentage() -> StockadeError:
    return StockadeError("alias.percent_invalid", "A percentage is 0.01 to 100, in steps of 0.01.")
