"""What is learned of one scope: versioned, bounded, mergeable, and told in plain tuples.

A part is kept for the platform, for each tenant, each function version and each upstream. Whoever
stores parts sends each what it saw since it last did (a part too) and merges: in any order, up to
rounding. Plain forms hold integers and strings alone, so no NaN and no infinity can be in them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from stockade.retry.needs import MOST_BIN, MOST_BINS, Sketch
from stockade.retry.outages import BINS, Outage
from stockade.retry.rates import Rate

VERSION = 1
MOST_BASES, MOST_SHARED_BASES = 10, 32
"""Bases of one function version, and of a tenant or the platform; the longest unseen goes first."""
MOST_BASIS_LENGTH = 24
SCALE = 100
"""Counts are told in hundredths."""
LIMITS = ("fuel", "memory", "wall")

Plain = tuple[object, ...]
Migration = Callable[[Plain], Plain]
MIGRATIONS: Mapping[int, Migration] = {}
"""From each older version, its plain form to that of the next version."""

_MOST_MS = 2**53
_FIELDS = 5
_RATE_FIELDS = 6


@dataclass(slots=True)
class Part:
    """One scope's memory: success by basis, of first attempts, the outage, and needs by limit."""

    rates: dict[str, Rate] = field(default_factory=dict)
    firsts: Rate = field(default_factory=Rate)
    outage: Outage = field(default_factory=Outage)
    needs: dict[str, Sketch] = field(default_factory=dict)

    def rate(self, basis: str, most: int) -> Rate:
        """The basis's rate, for learning."""
        if basis not in self.rates:
            self.rates = _newest(self.rates, most - 1)
            self.rates[basis] = Rate()
        return self.rates[basis]

    def renew(self) -> None:
        """The world has changed: what was learned of retries is void."""
        for rate in self.rates.values():
            rate.renew()


def merged(one: Part, other: Part, most: int = MOST_BASES) -> Part:
    """What both saw together."""
    rates = {
        basis: one.rates.get(basis, Rate()).merged(other.rates.get(basis, Rate()))
        for basis in one.rates.keys() | other.rates.keys()
    }
    needs = {
        limit: one.needs.get(limit, Sketch()).merged(other.needs.get(limit, Sketch()))
        for limit in one.needs.keys() | other.needs.keys()
    }
    outage = one.outage.merged(other.outage)
    return Part(_newest(rates, most), one.firsts.merged(other.firsts), outage, needs)


def _newest(rates: dict[str, Rate], most: int) -> dict[str, Rate]:
    if len(rates) <= most:
        return rates
    order = sorted(rates, key=lambda basis: (rates[basis].seen_ms, basis), reverse=True)
    return {basis: rates[basis] for basis in order[:most]}


# -- to plain ----------------------------------------------------------------------------------


def plain(part: Part) -> Plain:
    """Tuples of integers and strings."""
    outage = part.outage
    return (
        VERSION,
        tuple((basis, *_plain_rate(rate)) for basis, rate in sorted(part.rates.items())),
        _plain_rate(part.firsts),
        (
            *_plain_rate(outage.health), outage.failures, outage.since_ms, outage.seen_ms,
            *map(_hundredths, outage.lengths),
        ),
        tuple((limit, *_plain_sketch(sketch)) for limit, sketch in sorted(part.needs.items())),
    )  # fmt: skip


def _plain_sketch(sketch: Sketch) -> tuple[int, ...]:
    return tuple(n for i, count in sorted(sketch.counts.items()) for n in (i, _hundredths(count)))


def _plain_rate(rate: Rate) -> tuple[int, ...]:
    return (
        _hundredths(rate.successes), _hundredths(rate.trials), rate.changes, rate.seen_ms,
        _hundredths(rate.better), _hundredths(rate.worse),
    )  # fmt: skip


def _hundredths(count: float) -> int:
    return round(count * SCALE)


# -- from plain --------------------------------------------------------------------------------


def part_of(found: object, migrations: Mapping[int, Migration] = MIGRATIONS) -> Part:
    """Reads a plain form, of an older version too.

    Raises:
        ValueError: It is not a plain form that this release knows.
    """
    fields = _tuple(found)
    version = _count(fields[0] if fields else None)
    while version != VERSION:
        if version not in migrations:
            raise ValueError(f"State of version {version} is unknown to this release.")
        fields = _tuple(migrations[version](fields))
        version = _count(fields[0])
    if len(fields) != _FIELDS:
        raise ValueError(f"State has {len(fields)} fields instead of {_FIELDS}.")
    _, rates, firsts, outage, needs = fields
    return Part(_rates_of(rates), _rate_of(_tuple(firsts)), _outage_of(outage), _needs_of(needs))


def _rates_of(found: object) -> dict[str, Rate]:
    rates = {}
    for row in _tuple(found, MOST_SHARED_BASES):
        basis, *numbers = _tuple(row) or (None,)
        if not isinstance(basis, str) or not 0 < len(basis) <= MOST_BASIS_LENGTH:
            raise ValueError("The name of a basis is missing or too long.")
        rates[basis] = _rate_of(tuple(numbers))
    return rates


def _rate_of(found: Plain) -> Rate:
    if len(found) != _RATE_FIELDS:
        raise ValueError(f"A rate has {len(found)} fields instead of {_RATE_FIELDS}.")
    successes, trials, changes, seen_ms, better, worse = map(_count, found)
    if successes > trials:
        raise ValueError("A rate has more successes than trials.")
    return Rate(successes / SCALE, trials / SCALE, changes, seen_ms, better / SCALE, worse / SCALE)


def _outage_of(found: object) -> Outage:
    numbers = _tuple(found)
    rest = tuple(map(_count, numbers[_RATE_FIELDS:]))
    if len(rest) != 3 + BINS:
        raise ValueError(f"An outage has {len(numbers)} fields.")
    failures, since_ms, seen_ms, *lengths = rest
    health = _rate_of(numbers[:_RATE_FIELDS])
    return Outage(health, failures, since_ms, seen_ms, [n / SCALE for n in lengths])


def _needs_of(found: object) -> dict[str, Sketch]:
    needs = {}
    for row in _tuple(found, len(LIMITS)):
        limit, *pairs = _tuple(row, 1 + 2 * MOST_BINS) or (None,)
        numbers = tuple(map(_count, pairs))
        if limit not in LIMITS or len(numbers) % 2 or max(numbers[::2], default=0) > MOST_BIN:
            raise ValueError("A sketch of needs is malformed.")
        needs[str(limit)] = Sketch(
            {i: n / SCALE for i, n in zip(numbers[::2], numbers[1::2], strict=True)}
        )
    return needs


def _tuple(found: object, most: int = 64) -> Plain:
    if not isinstance(found, (tuple, list)) or len(found) > most:
        raise ValueError("State is malformed: a short list is expected.")
    return tuple(found)


def _count(found: object) -> int:
    if type(found) is not int or not 0 <= found <= _MOST_MS:
        raise ValueError("State holds what is no count: whole numbers from 0 to 2^53 are expected.")
    return found
