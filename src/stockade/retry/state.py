"""A part told in plain tuples: versioned, bounded, checked as if an attacker had sent it.

Plain forms hold integers and strings alone, so no NaN and no infinity can be in them.
"""

from collections.abc import Callable, Mapping

from stockade.retry.budgets import Account
from stockade.retry.needs import MEMORY as MOST_NEEDS
from stockade.retry.needs import MOST_BIN, MOST_BINS, Sketch
from stockade.retry.outages import BINS, MOST_LENGTHS, Outage
from stockade.retry.parts import MOST_SHARED_BASES, Part
from stockade.retry.rates import MEMORY as MOST_TRIALS
from stockade.retry.rates import MOST_CHANGES, Rate

VERSION = 2
MOST_BASIS_LENGTH = 24
SCALE = 100
"""Counts are told in hundredths."""
LIMITS = ("fuel", "memory", "wall")

Plain = tuple[object, ...]
Migration = Callable[[Plain], Plain]

_MOST_MS = 2**53
_FIELDS = 6
_RATE_FIELDS, _RUN_FIELDS, _ACCOUNT_FIELDS = 6, 4, 4
_MOST_EVIDENCE = 1000
"""Hundredths; far beyond what raises the alarm."""
_SLACK = 2
"""What a full sum may hold beyond its bound, by rounding and by the one that was added last."""


class UnknownVersionError(ValueError):
    """The state is of a release that is newer, or too old."""


def _from_1(old: Plain) -> Plain:
    """Version 2 has the time of the last success behind those of the run, and accounts."""
    _, rates, firsts, outage, needs = _sized(old, _FIELDS - 1)
    run, at = _tuple(outage), _RATE_FIELDS + _RUN_FIELDS - 1
    return 2, rates, firsts, (*run[:at], 0, *run[at:]), needs, ()


MIGRATIONS: Mapping[int, Migration] = {1: _from_1}
"""From each older version, its plain form to that of the next version."""


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
            outage.succeeded_ms, *map(_hundredths, outage.lengths),
        ),
        tuple((limit, *_plain_sketch(sketch)) for limit, sketch in sorted(part.needs.items())),
        _plain_account(part.account),
    )  # fmt: skip


def _plain_account(account: Account) -> tuple[int, ...]:
    counts = tuple(map(_hundredths, (account.earned, account.drawn, account.charged)))
    return (*counts, account.seen_ms) if any(counts) else ()


def _plain_sketch(sketch: Sketch) -> tuple[int, ...]:
    return tuple(n for i, count in sorted(sketch.counts.items()) for n in (i, _hundredths(count)))


def _plain_rate(rate: Rate) -> tuple[int, ...]:
    return (
        _hundredths(rate.successes), _hundredths(rate.trials), rate.changes, rate.seen_ms,
        min(_MOST_EVIDENCE, _hundredths(rate.better)), min(_MOST_EVIDENCE, _hundredths(rate.worse)),
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
            raise UnknownVersionError(f"State of version {version} is unknown to this release.")
        fields = _tuple(migrations[version](fields))
        version = _count(fields[0])
    _, rates, firsts, outage, needs, account = _sized(fields, _FIELDS)
    return Part(
        _rates_of(rates),
        _rate_of(_tuple(firsts)),
        _outage_of(outage),
        _needs_of(needs),
        _account_of(_tuple(account)),
    )


def _rates_of(found: object) -> dict[str, Rate]:
    rates = {}
    for row in _tuple(found, MOST_SHARED_BASES):
        basis, *numbers = _tuple(row) or (None,)
        if not isinstance(basis, str) or not _is_basis(basis):
            raise ValueError("The name of a basis is missing, too long or not printable.")
        rates[basis] = _rate_of(tuple(numbers))
    return rates


def _rate_of(found: Plain) -> Rate:
    if len(found) != _RATE_FIELDS:
        raise ValueError(f"A rate has {len(found)} fields instead of {_RATE_FIELDS}.")
    successes, trials, changes, seen_ms, better, worse = map(_count, found)
    if successes > trials:
        raise ValueError("A rate has more successes than trials.")
    if changes > MOST_CHANGES or max(better, worse) > _MOST_EVIDENCE:
        raise ValueError("A rate has more changes, or more evidence of one, than there can be.")
    if trials > MOST_TRIALS * SCALE:
        raise ValueError(f"A rate has more than {MOST_TRIALS:g} trials.")
    return Rate(successes / SCALE, trials / SCALE, changes, seen_ms, better / SCALE, worse / SCALE)


def _outage_of(found: object) -> Outage:
    numbers = _sized(_tuple(found), _RATE_FIELDS + _RUN_FIELDS + BINS)
    failures, since_ms, seen_ms, succeeded_ms, *lengths = map(_count, numbers[_RATE_FIELDS:])
    if since_ms > seen_ms or sum(lengths) > (MOST_LENGTHS + _SLACK) * SCALE:
        raise ValueError("An outage ends before it begins, or has too many lengths.")
    health = _rate_of(numbers[:_RATE_FIELDS])
    counts = [n / SCALE for n in lengths]
    return Outage(health, failures, since_ms, seen_ms, succeeded_ms, counts)


def _needs_of(found: object) -> dict[str, Sketch]:
    needs = {}
    for row in _tuple(found, len(LIMITS)):
        limit, *pairs = _tuple(row, 1 + 2 * MOST_BINS) or (None,)
        numbers = tuple(map(_count, pairs))
        if limit not in LIMITS or len(numbers) % 2 or max(numbers[::2], default=0) > MOST_BIN:
            raise ValueError("A sketch of needs is malformed.")
        if sum(numbers[1::2]) > (MOST_NEEDS + _SLACK) * SCALE:
            raise ValueError(f"A sketch has more than {MOST_NEEDS:g} needs.")
        needs[str(limit)] = Sketch(
            {i: n / SCALE for i, n in zip(numbers[::2], numbers[1::2], strict=True)}
        )
    return needs


def _account_of(found: Plain) -> Account:
    if not found:
        return Account()
    earned, drawn, charged, seen_ms = map(_count, _sized(found, _ACCOUNT_FIELDS))
    return Account(earned / SCALE, drawn / SCALE, charged / SCALE, seen_ms)


def _is_basis(text: str) -> bool:
    return 0 < len(text) <= MOST_BASIS_LENGTH and text.isascii() and text.isprintable()


def _sized(found: Plain, size: int) -> Plain:
    if len(found) != size:
        raise ValueError(f"State has {len(found)} fields in one place instead of {size}.")
    return found


def _tuple(found: object, most: int = MOST_SHARED_BASES) -> Plain:
    if not isinstance(found, (tuple, list)) or len(found) > most:
        raise ValueError("State is malformed: a short list is expected.")
    return tuple(found)


def _count(found: object) -> int:
    if type(found) is not int or not 0 <= found <= _MOST_MS:
        raise ValueError("State holds what is no count: whole numbers from 0 to 2^53 are expected.")
    return found
