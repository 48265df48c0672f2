"""How the demo shows what it found."""

from collections.abc import Sequence

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from stockade.cli.demo.tour import Finding, Refusal
from stockade.cli.words import safe

_COLUMNS = ("example", "language", "outcome")
_NUMBERS = ("fuel", "peak memory", "wall ms", "queue ms", "output")
_WIDTH_WITHOUT_TERMINAL = 160
_KIB = 1024


def console() -> Console:
    """Standard output; into a file or pipe it is wide enough for the table."""
    found = Console(highlight=False)
    return found if found.is_terminal else Console(highlight=False, width=_WIDTH_WITHOUT_TERMINAL)


def runs_table(findings: Sequence[Finding]) -> Table:
    """One row for each example."""
    table = Table("check", *_COLUMNS, title="Every example, run through the gateway", box=SIMPLE)
    for name in _NUMBERS:
        table.add_column(name, justify="right", no_wrap=True)
    for finding in findings:
        table.add_row(_check(finding.problem), *_row(finding))
    return table


def refusals_table(refusals: Sequence[Refusal]) -> Table:
    """One row for each upload that must be refused."""
    columns = ("check", "upload", "refused with")
    table = Table(*columns, title="Uploads that must be refused", box=SIMPLE)
    for refusal in refusals:
        problem = None if refusal.right else "should be " + " or ".join(refusal.expected)
        code = Text(safe(refusal.code or "not refused"))
        table.add_row(_check(problem), refusal.what, code)
    return table


def _row(finding: Finding) -> tuple[Text, ...]:
    usage = finding.usage
    outcome = f"{finding.outcome}: {finding.limit}" if finding.limit else finding.outcome
    cells = (
        finding.example.name,
        finding.example.language,
        outcome,
        f"{usage.fuel:,}",
        f"{usage.peak_memory_bytes / _KIB:,.0f} KiB",
        f"{usage.wall_ms:,.2f}",
        f"{usage.queue_ms:,.2f}",
        f"{finding.output_bytes:,} B",
    )
    return tuple(Text(safe(cell)) for cell in cells)


def _check(problem: str | None) -> Text:
    return Text("✓", "green") if problem is None else Text(f"✗ {safe(problem)}", "red")
