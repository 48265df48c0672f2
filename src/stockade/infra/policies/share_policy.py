"""Reads `policies/shares.toml`."""

import math
from pathlib import Path

import msgspec

from stockade.core.errors import StockadeError
from stockade.core.rate_limits import RateLimit
from stockade.core.shares import SharePolicy, TenantShare
from stockade.core.shedding import DEFAULT_SHEDDING, Shedding
from stockade.infra.policies.toml_files import load_toml

_MAX_WEIGHT, _MAX_CONCURRENCY = 1000, 100_000
_MAX_WAITING = 100_000_000
_MIN_RATE, _MAX_RATE, _MAX_BURST, _MAX_BACKLOG = 0.001, 10_000.0, 1_000_000, 10_000_000


class _Share(msgspec.Struct, forbid_unknown_fields=True):
    weight: int = 1
    concurrency: int | None = None
    rate_per_second: float | None = None
    burst: int | None = None
    backlog: int | None = None


class _Shedding(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    waiting_limit: int = DEFAULT_SHEDDING.waiting_limit
    low: float = DEFAULT_SHEDDING.low
    normal: float = DEFAULT_SHEDDING.normal
    high: float = DEFAULT_SHEDDING.high
    few: int = DEFAULT_SHEDDING.few


class _File(msgspec.Struct, forbid_unknown_fields=True):
    default: _Share
    tenants: dict[str, _Share]
    shedding: _Shedding = _Shedding()


def load_share_policy(path: Path) -> SharePolicy:
    """The policy in this file.

    Raises:
        StockadeError: `config.shares_invalid`: nothing starts with a policy it cannot read.
    """
    try:
        file = load_toml(path, _File)
        tenants = {name: _checked(share) for name, share in file.tenants.items()}
        return SharePolicy(_checked(file.default), tenants, _shedding(file.shedding))
    except (OSError, ValueError) as error:
        raise StockadeError(
            "config.shares_invalid", f"The shares in {path} cannot be used: {error}."
        ) from error


def _checked(share: _Share) -> TenantShare:
    if not 1 <= share.weight <= _MAX_WEIGHT:
        raise ValueError(f"a weight is not between 1 and {_MAX_WEIGHT}")
    if share.concurrency is not None and not 1 <= share.concurrency <= _MAX_CONCURRENCY:
        raise ValueError(f"a concurrency is not between 1 and {_MAX_CONCURRENCY}")
    if share.backlog is not None and not 1 <= share.backlog <= _MAX_BACKLOG:
        raise ValueError(f"a backlog is not between 1 and {_MAX_BACKLOG}")
    return TenantShare(share.weight, share.concurrency, _rate_limit(share), share.backlog)


def _shedding(asked: _Shedding) -> Shedding:
    if not 1 <= asked.waiting_limit <= _MAX_WAITING:
        raise ValueError(f"the waiting_limit is not between 1 and {_MAX_WAITING}")
    if not 0 < asked.low <= asked.normal <= asked.high <= 1:
        raise ValueError("low, normal and high are not fractions, each at least the one before")
    if asked.few < 0:
        raise ValueError("few is below 0")
    return Shedding(asked.waiting_limit, asked.low, asked.normal, asked.high, asked.few)


def _rate_limit(share: _Share) -> RateLimit | None:
    rate, burst = share.rate_per_second, share.burst
    if rate is None:
        if burst is not None:
            raise ValueError("a burst has no rate_per_second beside it")
        return None
    if not _MIN_RATE <= rate <= _MAX_RATE:
        raise ValueError(f"a rate_per_second is not between {_MIN_RATE} and {_MAX_RATE:g}")
    if burst is not None and not 1 <= burst <= _MAX_BURST:
        raise ValueError(f"a burst is not between 1 and {_MAX_BURST}")
    return RateLimit(rate, math.ceil(rate) if burst is None else burst)
