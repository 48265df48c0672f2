"""`stockade trace`: what happened to an invocation, drawn along time."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from stockade.cli.connection import connected
from stockade.cli.options import InvocationId, JsonFlag
from stockade.cli.words import print_json, safe

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console
    from rich.text import Text

    from stockade_client import Client, Trace, TraceSpan

_NANOS_OF_MS = 1_000_000
_BAR_COLUMNS, _NAME_COLUMNS, _NARROW_COLUMNS = 40, 34, 16
_WIDTH_WITHOUT_TERMINAL = 160
_LONGEST_NAME, _LONGEST_FACT = 48, 60
_DEEPEST = 16
_ATTEMPT, _OUTCOME = "stockade.attempt", "stockade.outcome"
_TOLD = (
    "stockade.module.source",
    "faas.coldstart",
    "stockade.fuel",
    "stockade.memory.peak_bytes",
    "stockade.limit",
    "stockade.trap",
    "server.address",
    "http.request.method",
    "http.response.status_code",
    "stockade.kv.namespace",
    "stockade.outcome",
    "stockade.host_calls.not_recorded",
    "stockade.retry.delay_ms",
    "stockade.retry.estimate",
    "stockade.retry.reason",
)
"""What a line says of its span, by its last word; the rest is in the JSON."""
_WAITS = frozenset({"queue wait", "wait", "executor", "shared"})

_Facts = Annotated[bool, typer.Option("--all", help="Show every attribute of every span.")]


@connected
def trace(
    client: "Client",
    invocation_id: InvocationId,
    *,
    every: _Facts = False,
    as_json: JsonFlag = False,
) -> None:
    """Draw what happened to a recent invocation: every step, wait, attempt and host call in time.

    What failed or was refused is red, waits are dim. --json prints the trace as one OTLP message,
    which other tools read.

    Example: stockade trace 01a21f4d-40c3-70cc-b039-e92e3d40ffc9
    """
    found = client.trace(invocation_id)
    if as_json:
        print_json(found.otlp)
        return
    from rich.console import Console  # noqa: PLC0415 - keeps --help fast

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_WIDTH_WITHOUT_TERMINAL)
    # Only a drawing on a terminal is cut at its edge; what a file or --all gets is whole.
    whole = every or not console.is_terminal
    for line in waterfall(found, console, every=every):
        console.print(
            line, soft_wrap=whole, overflow="ignore" if whole else "ellipsis", no_wrap=True
        )


@dataclass(frozen=True, slots=True)
class _Row:
    """A span and how deep it stands."""

    span: "TraceSpan"
    depth: int


def waterfall(found: "Trace", console: "Console", *, every: bool = False) -> "Iterator[Text]":
    """The lines of the drawing: a head, then one for each span below the one that it belongs to."""
    from rich.text import Text  # noqa: PLC0415 - keeps --help fast

    rows = list(_rows(found.spans))
    if not rows:
        yield Text("The trace has no spans.")
        return
    begin_ns = min(row.span.start_ns for row in rows)
    whole_ns = max(1, max(row.span.end_ns for row in rows) - begin_ns)
    bars = max(_NARROW_COLUMNS, min(_BAR_COLUMNS, console.width - 2 * _NAME_COLUMNS))
    yield Text(f"trace {safe(found.trace_id)}  {whole_ns / _NANOS_OF_MS:,.3f} ms", style="bold")
    for row in rows:
        yield _line(row, begin_ns, whole_ns, bars, every=every)


def _rows(spans: "Sequence[TraceSpan]") -> "Iterator[_Row]":
    """Depth first; what belongs to a span that is not here stands at the left.

    Without recursion, and each span once, whatever the parents say.
    """
    known = {span.span_id for span in spans}
    below: dict[str, list[TraceSpan]] = {}
    for span in spans:
        below.setdefault(span.parent_id if span.parent_id in known else "", []).append(span)
    told: set[str] = set()
    # Spans that are their own ancestors hang from nowhere: they come last, from the left.
    for root in (*below.get("", ()), *spans):
        stack = [_Row(root, 0)]
        while stack:
            row = stack.pop()
            if row.span.span_id in told:
                continue
            told.add(row.span.span_id)
            yield row
            depth = min(row.depth + 1, _DEEPEST)
            stack += [_Row(one, depth) for one in reversed(below.get(row.span.span_id, []))]


def _line(row: _Row, begin_ns: int, whole_ns: int, bars: int, *, every: bool) -> "Text":
    from rich.text import Text  # noqa: PLC0415 - keeps --help fast

    span = row.span
    style = _style(span)
    name = "  " * row.depth + _name(span)
    late_ms = (span.start_ns - begin_ns) / _NANOS_OF_MS
    took_ms = (span.end_ns - span.start_ns) / _NANOS_OF_MS
    line = Text(name[:_LONGEST_NAME].ljust(_NAME_COLUMNS), style=style)
    line.append(f" {late_ms:>9,.3f} {took_ms:>9,.3f} ms ", style="dim")
    line.append(_bar(span, begin_ns, whole_ns, bars), style=style or "cyan")
    line.append("  " + _facts(span, every=every), style="red" if span.error else "dim")
    line.rstrip()
    return line


def _style(span: "TraceSpan") -> str:
    if span.error:
        return "bold red"
    return "dim" if span.name in _WAITS else ""


def _name(span: "TraceSpan") -> str:
    number = span.attributes.get(_ATTEMPT)
    return safe(f"{span.name} {number}" if number is not None else span.name)


def _bar(span: "TraceSpan", begin_ns: int, whole_ns: int, bars: int) -> str:
    start = min(bars - 1, (span.start_ns - begin_ns) * bars // whole_ns)
    end = min(bars, -((begin_ns - span.end_ns) * bars // whole_ns))
    return (" " * start + "█" * max(1, end - start)).ljust(bars)


def _facts(span: "TraceSpan", *, every: bool) -> str:
    names = sorted(span.attributes) if every else [one for one in _TOLD if one in span.attributes]
    facts = [f"error={span.error}"] if span.error else []
    facts += [f"{_short(name, every=every)}={span.attributes[name]}" for name in names]
    facts += [f"after={link}" for link in span.links]
    longest = None if every else _LONGEST_FACT
    return "  ".join(safe(fact)[:longest] for fact in facts)


def _short(name: str, *, every: bool) -> str:
    return name if every else name.rpartition(".")[2]
