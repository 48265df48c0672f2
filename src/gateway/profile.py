"""Reads the limit profile, `policies/limits/default.toml`."""

import tomllib
from pathlib import Path

import msgspec

from gateway.services import LimitProfile
from stockade.core.errors import StockadeError
from stockade.core.limits import HARD_CEILINGS, LIMIT_NAMES, Limits


class _ProfileFile(msgspec.Struct, forbid_unknown_fields=True):
    defaults: dict[str, int]
    ceilings: dict[str, int]


def load_profile(path: Path) -> LimitProfile:
    """The profile in this file, which must name every limit.

    Raises:
        StockadeError: `config.limits_invalid`: the gateway does not start with limits it cannot
            read.
    """
    try:
        file = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), _ProfileFile)
        profile = LimitProfile(_limits(file.defaults), _limits(file.ceilings))
    except (OSError, ValueError, TypeError) as error:
        raise StockadeError(
            "config.limits_invalid", f"The limit profile {path} cannot be used: {error}."
        ) from error
    for name in LIMIT_NAMES:
        default, ceiling = getattr(profile.defaults, name), getattr(profile.ceilings, name)
        if not 0 < default <= ceiling <= getattr(HARD_CEILINGS, name):
            raise StockadeError(
                "config.limits_invalid",
                f"In {path} the default of {name} is not between 1 and its ceiling, or the ceiling"
                f" is above {getattr(HARD_CEILINGS, name)}, which no executor can give.",
            )
    return profile


def _limits(values: dict[str, int]) -> Limits:
    if set(values) != set(LIMIT_NAMES):
        raise ValueError(f"a table does not name exactly {', '.join(LIMIT_NAMES)}")
    return Limits(**values)
