"""Figures: timings in seconds in, a row of a table out."""

import statistics
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: a figure, and what it is against the floor of the same run."""

    what: str
    figure: str
    floor: str = ""
    ratio: str = ""


def p50_ms(seconds: list[float]) -> float:
    """The median, in milliseconds."""
    return statistics.median(seconds) * 1000


def p99_ms(seconds: list[float]) -> float:
    """The 99th percentile, in milliseconds."""
    return statistics.quantiles(seconds, n=100)[98] * 1000


def against(what: str, value: float, unit: str, floor: float, floor_name: str) -> Row:
    """A row whose ratio says how many times the floor the value is."""
    return Row(
        what, f"{value:.3g} {unit}", f"{floor:.3g} {unit} ({floor_name})", f"{value / floor:.2f} ×"
    )


def table(rows: list[Row]) -> str:
    """The rows as a Markdown table."""
    lines = ["| what | measured | floor of the same run | ratio |", "|---|---|---|---|"]
    lines += [f"| {row.what} | {row.figure} | {row.floor} | {row.ratio} |" for row in rows]
    return "\n".join(lines)
