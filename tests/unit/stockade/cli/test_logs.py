import json

import httpx
import pytest

from tests.unit.sdk_python.fake_gateway import ID
from tests.unit.stockade.cli.conftest import CommandLine

EVENTS = [
    ("state", {"state": "queued"}),
    ("state", {"state": "running", "attempt": 1}),
    ("log", {"attempt": 1, "number": 0, "level": "info", "text": "a\x1b[31m\nb"}),
    ("progress", {"percent": 50, "message": "half\x07"}),
    ("event", {"attempt": 1, "number": 0, "name": "e", "data": "d"}),
    ("dropped", {"attempt": 1, "what": "logs", "count": 7}),
    (
        "state",
        {"state": "retry", "attempt": 1, "outcome": "crashed", "reason": "Again in 1 s."},
    ),
    ("dropped", {"attempt": 2, "what": "logs", "count": None}),
    ("state", {"state": "done", "outcome": "trapped", "detail": "gone\x1b"}),
]


@pytest.fixture
def followed(cli: CommandLine) -> CommandLine:
    body = "".join(f"event: {kind}\ndata: {json.dumps(data)}\n\n" for kind, data in EVENTS)
    cli.gateway.on(f"GET /v1/invocations/{ID}/events", httpx.Response(200, content=body))
    return cli


@pytest.mark.parametrize("words", [("logs", "-f"), ("runs", "logs", "--follow")])
def test_lines_go_to_stdout_and_the_rest_to_stderr(
    followed: CommandLine, words: tuple[str, ...]
) -> None:
    result = followed.run(*words, ID)
    assert result.exit_code == 0
    assert result.stdout == "info   a\\x1b[31m\\nb\n"
    assert result.stderr.splitlines() == [
        "Queued.",
        "Attempt 1 runs.",
        "50 % half\\x07",
        "7 of attempt 1's logs dropped.",
        "Attempt 1 ended: crashed. Again in 1 s.",
        "The rest of attempt 2's logs dropped.",
        "Done: trapped. gone\\x1b",
    ]


def test_each_event_is_a_line_of_json(followed: CommandLine) -> None:
    result = followed.run("logs", "-f", "--json", ID)
    told = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(one["kind"], one["data"]) for one in told] == EVENTS
    assert "\x1b" not in result.output


def test_lines_of_several_attempts_say_which(cli: CommandLine) -> None:
    lines = [{"attempt": n, "level": "warn", "text": f"t{n}"} for n in (1, 2)]
    answer = httpx.Response(200, json={"lines": lines, "truncated": False})
    cli.gateway.on(f"GET /v1/invocations/{ID}/logs", answer)
    assert cli.run("logs", ID).stdout == " 1  warn   t1\n 2  warn   t2\n"
