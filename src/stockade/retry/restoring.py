"""States that come from elsewhere, or go: what a tenant may put in the place of what was learned.

Whatever a tenant forgets or brings, its budget is as it was, and the platform hears no more of it
than it would have: bases that the tenant is known by stay known, and what is brought takes the room
that they leave, or the state would grow until nobody could read it.
"""

from stockade.retry.outages import Outage
from stockade.retry.parts import MOST_OF_ONE_TENANT, Key, Part, most_bases, newest
from stockade.retry.rates import CLOCK_ERROR_MS, Rate


def restored(key: Key, part: Part, current: Part, now_ms: int) -> Part:
    """The part to keep in the place of the current one. A run of failures is not taken over."""
    part.account = current.account
    part.outage.failures = 0
    if len(key) == 1:
        part.rates = _with_known(part.rates, current.rates, most_bases(key), now_ms)
    return part


def _with_known(
    brought: dict[str, Rate], known: dict[str, Rate], most: int, now_ms: int
) -> dict[str, Rate]:
    """The known bases, and as many others as find room: those give way first when it is scarce."""
    rates = {basis: brought.get(basis, Rate()) for basis in known}
    for rate in rates.values():
        rate.seen_ms = max(1, rate.seen_ms)
        if rate.trials < MOST_OF_ONE_TENANT:
            rate.renew()
            rate.seen_ms = now_ms
    oldest_ms = min((rate.seen_ms for rate in rates.values()), default=None)
    others = {basis: rate for basis, rate in brought.items() if basis not in known}
    for basis, rate in newest(others, max(0, most - len(known))).items():
        rates[basis] = rate
        if oldest_ms is not None:
            rate.seen_ms = min(rate.seen_ms, oldest_ms - 1)
    return rates


def portable(part: Part) -> Part:
    """The part without what holds here alone: budget and run of failures."""
    run = part.outage
    outage = Outage(run.health, lengths=run.lengths)
    return Part(part.rates, part.firsts, outage, part.needs)


def check_portable(key: Key, part: Part, now_ms: int) -> None:
    """Checks that a part which was brought can be this scope's.

    Raises:
        ValueError: It has too many bases, or knows the future.
    """
    if len(part.rates) > most_bases(key):
        raise ValueError(f"A scope of this kind has at most {most_bases(key)} bases.")
    rates = (*part.rates.values(), part.firsts, part.outage.health)
    times = (part.outage.since_ms, part.outage.seen_ms, part.outage.succeeded_ms)
    if max(*(rate.seen_ms for rate in rates), *times) > now_ms + CLOCK_ERROR_MS:
        raise ValueError("It knows of times that are still to come.")
