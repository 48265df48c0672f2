"""How `stockade doctor` shows what it found."""

from collections.abc import Iterator
from dataclasses import dataclass

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from stockade.cli.words import print_json, safe
from stockade.core.walls import Wall, WallReport, WallState
from stockade.infra.host_walls.engine_advisories import Advisory

_INDENT = " " * 9


@dataclass(frozen=True, slots=True)
class Findings:
    """What there is to show: the walls, those that must stand, and the engine's advisories."""

    reports: tuple[WallReport, ...]
    required: frozenset[Wall]
    missing: tuple[Wall, ...]
    advisories: tuple[Advisory, ...]


def show(findings: Findings, *, as_json: bool) -> None:
    """Shows them on stdout: as JSON, as a table on a terminal, as lines elsewhere."""
    console = Console(highlight=False)
    if as_json:
        print_json(_facts(findings))
    elif console.is_terminal:
        print_table(console, findings)
    else:
        for line in _lines(findings):
            typer.echo(line)


def print_table(console: Console, findings: Findings) -> None:
    """A table that fits a terminal, and the advisories below it."""
    table = Table("wall", "state", "what was seen, what it means, what to do", box=SIMPLE)
    for report in findings.reports:
        state = Text(report.state, style=_style(report, findings))
        table.add_row(_name(report, findings), state, Text("\n".join(_told(report))))
    console.print(table)
    for line in (*_advisories(findings), _conclusion(findings)):
        console.print(Text(line))


def _lines(findings: Findings) -> Iterator[str]:
    for report in findings.reports:
        seen, *rest = _told(report)
        yield f"{report.state:<{len(_INDENT)}}{_name(report, findings):<17}{seen}"
        yield from (_INDENT + line for line in rest)
    yield from ("", *_advisories(findings), _conclusion(findings))


def _name(report: WallReport, findings: Findings) -> str:
    return report.wall + (" *" if report.wall in findings.required else "")


def _style(report: WallReport, findings: Findings) -> str:
    if report.state is WallState.OK:
        return "green"
    return "bold red" if report.wall in findings.missing else "yellow"


def _told(report: WallReport) -> tuple[str, ...]:
    if report.remedy is None:
        return (safe(report.finding),)
    return safe(report.finding), report.meaning, f"To do: {report.remedy}"


def _advisories(findings: Findings) -> Iterator[str]:
    if findings.advisories:
        yield "Advisories that touch the installed engine:"
    for item in findings.advisories:
        reach = "A guest can reach it" if item.reached else "No guest reaches it"
        yield f"  {item.id} (mended in {item.fixed[-1]}): {item.about}"
        yield f"    {reach}: {item.because}"


def _conclusion(findings: Findings) -> str:
    if findings.missing:
        return f"* required. Missing of these: {', '.join(findings.missing)}."
    return "* required. All of these stand."


def _facts(findings: Findings) -> dict[str, object]:
    return {
        "ready": not findings.missing,
        "missing": list(findings.missing),
        "walls": [_wall_facts(report, findings) for report in findings.reports],
        "engine_advisories": [
            {
                "id": item.id,
                "aliases": list(item.aliases),
                "about": item.about,
                "fixed": list(item.fixed),
                "reached": item.reached,
                "because": item.because,
            }
            for item in findings.advisories
        ],
    }


def _wall_facts(report: WallReport, findings: Findings) -> dict[str, object]:
    return {
        "wall": report.wall,
        "state": report.state,
        "required": report.wall in findings.required,
        "finding": report.finding,
        "meaning": report.meaning,
        "remedy": report.remedy,
        "readings": report.readings,
    }
