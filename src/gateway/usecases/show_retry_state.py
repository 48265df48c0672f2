"""How a learned state reads to people: rates, outage, needs, budget."""

from dataclasses import replace

import msgspec

from gateway.usecases.keep_retry_states import Found, named
from stockade.retry.budgets import TENANTS, Account
from stockade.retry.needs import Sketch
from stockade.retry.outages import Outage
from stockade.retry.parts import Part
from stockade.retry.rates import PRIOR, Rate
from stockade.retry.state import plain

_SHARES = (0.5, 0.95, 0.99)


def shown(found: Found, now_ms: int) -> dict[str, object]:
    """A scope's state, or that it cannot be read."""
    kept, part = found.kept, found.part
    facts: dict[str, object] = {
        **named(found.scope),
        "frozen": kept.frozen,
        "set_aside": kept.aside,
        "readable": part is not None,
        "known": kept.state is not None,
    }
    return facts | (_shown(part, found, now_ms) if part is not None else {})


def _shown(part: Part, found: Found, now_ms: int) -> dict[str, object]:
    is_tenant = len(found.scope) == 1
    budget = _budget(part.account, now_ms) if is_tenant else None
    return {
        "size_bytes": len(msgspec.msgpack.encode(plain(part))),
        "first_attempts": _rate(part.firsts, now_ms),
        "retries": [
            {"basis": basis, **_rate(rate, now_ms)} for basis, rate in sorted(part.rates.items())
        ],
        "outage": _outage(part.outage, now_ms),
        "needs": {limit: _need(sketch) for limit, sketch in sorted(part.needs.items())},
        "budget": budget,
    }


def _rate(rate: Rate, now_ms: int) -> dict[str, object]:
    return {
        "success": round(rate.estimate(PRIOR, now_ms), 4),
        "trials": round(rate.kept(now_ms) * rate.trials, 2),
        "changes": rate.changes,
        "seen_ms": rate.seen_ms,
    }


def _outage(outage: Outage, now_ms: int) -> dict[str, object]:
    return {
        "is_out": outage.is_out,
        "failures": outage.failures,
        "since_ms": outage.since_ms if outage.failures else None,
        "remaining_ms": outage.remaining_ms(now_ms) if outage.is_out else None,
        "outages_seen": round(sum(outage.lengths), 2),
    }


def _need(sketch: Sketch) -> dict[str, object]:
    quantiles = {f"p{share * 100:.0f}": sketch.quantile(share) for share in _SHARES}
    return {"seen": round(sum(sketch.counts.values()), 2), **quantiles}


def _budget(account: Account, now_ms: int) -> dict[str, object]:
    now = replace(account)
    now.pass_time(now_ms, TENANTS)
    return {"earned": round(now.earned, 2), "allowance": round(TENANTS.most - now.drawn, 2)}
