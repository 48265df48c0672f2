"""Whether an attempt that was run again ended as it did before, and where it did not."""

from dataclasses import dataclass

from stockade.core.outcomes import Attempt, Outcome

REPLAYABLE = frozenset({
    Outcome.COMPLETED, Outcome.REJECTED, Outcome.TRAPPED, Outcome.LIMIT_EXCEEDED,
})  # fmt: skip
"""Outcomes that the guest itself came to."""
WALL = "wall"
"""The limit that depends on the machine: such an end does not repeat exactly."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ended, as far as it must repeat; what is None is not known and not compared."""

    outcome: str
    limit: str | None
    detail: str | None
    fuel: int
    peak_memory_bytes: int
    host_calls: int
    output_digest: str | None


@dataclass(frozen=True, slots=True)
class Difference:
    """Where two runs differ: in a host call (`call` is its number), or in how they ended."""

    what: str
    expected: str
    got: str
    call: int | None = None


def ending_of(attempt: Attempt, output_digest: str | None) -> Ending:
    """How an attempt ended, by its record."""
    usage = attempt.usage
    return Ending(
        attempt.outcome.value,
        attempt.limit,
        attempt.detail,
        usage.fuel,
        usage.peak_memory_bytes,
        usage.host_calls,
        output_digest,
    )


def differences(expected: Ending, got: Ending) -> tuple[Difference, ...]:
    """What differs between two endings, the outcome first."""
    compared = (
        ("outcome", expected.outcome, got.outcome),
        ("limit", expected.limit, got.limit),
        ("output", expected.output_digest, got.output_digest),
        ("fuel", expected.fuel, got.fuel),
        ("host_calls", expected.host_calls, got.host_calls),
        ("peak_memory_bytes", expected.peak_memory_bytes, got.peak_memory_bytes),
        ("detail", expected.detail, got.detail),
    )
    return tuple(
        Difference(what, str(before), str(after))
        for what, before, after in compared
        if before != after and not (what == "output" and before is None)
    )
