"""`stockade trace` draws what there is, in order, and nothing that the terminal would obey."""

import json

import httpx
import pytest
from rich.console import Console

from stockade.cli.trace import waterfall
from stockade_client import Trace, TraceSpan
from tests.unit.sdk_python.fake_gateway import problem
from tests.unit.stockade.cli.conftest import CommandLine

ID = "01a21f4d-40c3-70cc-b039-e92e3d40ffc9"
MS = 1_000_000


def span(
    name: str, own: str, parent: str, start_ms: int, end_ms: int, **facts: object
) -> TraceSpan:
    error = str(facts.pop("error", ""))
    links = (str(facts.pop("link")),) if "link" in facts else ()
    attributes = {f"stockade.{key}": value for key, value in facts.items()}
    return TraceSpan(name, "s", own, parent, start_ms * MS, end_ms * MS, error, attributes, links)  # type: ignore[arg-type]


SPANS = (
    span("POST /invoke", "a", "elsewhere", 0, 10),
    span("queue wait", "b", "a", 1, 3),
    span("attempt", "c", "a", 3, 5, attempt=1, error="trapped", outcome="trapped"),
    span("run", "d", "c", 4, 5, trap="unreachable"),
    span("attempt", "e", "a", 7, 10, attempt=2, link="c"),
)


def drawn(trace: Trace, *, every: bool = False, width: int = 160) -> list[str]:
    console = Console(width=width, record=True)
    return [line.plain for line in waterfall(trace, console, every=every)]


def test_each_span_stands_below_its_own_at_its_time() -> None:
    head, *lines = drawn(Trace("ab", SPANS))
    assert head == "trace ab  10.000 ms"
    names = [line[:34].rstrip() for line in lines]
    assert names == ["POST /invoke", "  queue wait", "  attempt 1", "    run", "  attempt 2"]
    bars = [line[line.index(" ms ") + 4 :][:40] for line in lines]
    assert bars[0] == "█" * 40
    assert bars[1] == " " * 4 + "█" * 8
    assert bars[4] == " " * 28 + "█" * 12
    assert "error=trapped" in lines[2]
    assert "trap=unreachable" in lines[3]
    assert "after=c" in lines[4]
    assert "    3.000     2.000 ms" in lines[2]


def test_what_failed_is_red_and_what_waits_is_dim() -> None:
    styles = [line.style for line in waterfall(Trace("ab", SPANS), Console(width=160))]
    assert styles == ["bold", "", "dim", "bold red", "", ""]


def test_nothing_in_it_moves_the_cursor() -> None:
    evil = "\x1b[2J\r\n\u202e"
    facts = TraceSpan(evil, evil, "a", "", 0, 1, evil, {"stockade.trap": evil}, (evil,))
    for every in (False, True):
        text = "\n".join(drawn(Trace(evil, (facts,)), every=every))
        assert "\x1b" not in text
        assert "\r" not in text
        assert "\u202e" not in text


def test_parents_in_a_circle_and_very_deep_ones_are_drawn_once() -> None:
    circle = (span("x", "a", "b", 0, 1), span("y", "b", "a", 0, 1))
    assert len(drawn(Trace("t", circle))) == 3
    deep = tuple(span("x", str(n), str(n - 1), 0, 1) for n in range(5000))
    assert len(drawn(Trace("t", deep))) == 5001
    assert max(map(len, drawn(Trace("t", deep)))) < 200


def test_spans_without_length_and_a_narrow_terminal_are_drawn() -> None:
    point = (span("x", "a", "", 5, 5),)
    (_, line) = drawn(Trace("t", point), width=40)
    assert "█" in line
    assert drawn(Trace("t", ())) == ["The trace has no spans."]


@pytest.mark.parametrize(("every", "there"), [(False, False), (True, True)])
def test_all_shows_every_attribute(*, every: bool, there: bool) -> None:
    text = "\n".join(drawn(Trace("t", (span("run", "a", "", 0, 1, tenant="acme"),)), every=every))
    assert ("stockade.tenant=acme" in text) is there


def test_the_command_draws_or_prints_otlp(cli: CommandLine) -> None:
    told = {
        "traceId": "ab" * 16,
        "spanId": "01" * 8,
        "name": "run",
        "startTimeUnixNano": "1",
        "endTimeUnixNano": "1000001",
    }
    message = {"resourceSpans": [{"scopeSpans": [{"spans": [told]}]}]}
    cli.gateway.on(f"GET /v1/invocations/{ID}/trace", httpx.Response(200, json=message))
    shown = cli.run("trace", ID).stdout
    assert "run" in shown
    assert "1.000 ms" in shown
    assert json.loads(cli.run("trace", ID, "--json").stdout) == message


@pytest.mark.parametrize("words", [(), ("--all",)])
def test_what_goes_into_a_file_is_cut_nowhere(cli: CommandLine, words: tuple[str, ...]) -> None:
    names = [f"stockade.{n}" for n in ("fuel", "limit", "trap", "outcome", "retry.reason")]
    told = {
        "traceId": "ab" * 16,
        "spanId": "01" * 8,
        "name": "complete",
        "startTimeUnixNano": "1",
        "endTimeUnixNano": "2",
        "attributes": [{"key": one, "value": {"stringValue": "x" * 40}} for one in names],
    }
    message = {"resourceSpans": [{"scopeSpans": [{"spans": [told]}]}]}
    cli.gateway.on(f"GET /v1/invocations/{ID}/trace", httpx.Response(200, json=message))
    line = cli.run("trace", ID, *words).stdout.splitlines()[1]
    assert line.count("x" * 40) == len(names)


def test_a_trace_that_is_not_kept_says_so(cli: CommandLine) -> None:
    cli.gateway.on(f"GET /v1/invocations/{ID}/trace", problem(404, "trace.not_kept"))
    result = cli.run("trace", ID)
    assert result.exit_code == 2
    assert "trace.not_kept" in result.stderr
