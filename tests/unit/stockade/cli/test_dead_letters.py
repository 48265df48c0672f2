import json

import httpx

from tests.unit.sdk_python.fake_gateway import ID, RECORD, problem
from tests.unit.stockade.cli.conftest import CommandLine

DEAD = RECORD | {"outcome": "limit_exceeded", "limit": "fuel", "detail": "Out\x1b of fuel."}
LIST = "GET /v1/dead-letters"


def test_the_dead_are_listed_with_their_reasons(cli: CommandLine) -> None:
    cli.gateway.on(LIST, httpx.Response(200, json={"dead_letters": [DEAD]}))
    done = cli.run("runs", "dead")
    head, row = done.stdout.splitlines()
    assert head.split() == ["ID", "FUNCTION", "OUTCOME", "LIMIT", "ATTEMPTS", "DETAIL"]
    assert row.split()[:5] == [ID, "hello", "limit_exceeded", "fuel", "1"]
    assert "\x1b" not in done.output
    (shown,) = json.loads(cli.run("runs", "dead", "--json").stdout)
    assert (shown["id"], shown["limit"]) == (ID, "fuel")


def test_one_or_all_are_redriven(cli: CommandLine) -> None:
    cli.gateway.on(f"POST /v1/invocations/{ID}/redrive", httpx.Response(202, json={"id": ID}))
    cli.gateway.on("POST /v1/dead-letters/redrive", httpx.Response(202, json={"redriven": [ID]}))
    assert f"Invocation {ID} is queued again." in cli.run("runs", "redrive", ID).stderr
    assert "1 invocations are queued again." in cli.run("runs", "redrive", "--all").stderr


def test_redrive_needs_one_choice(cli: CommandLine) -> None:
    for words in ((), (ID, "--all")):
        done = cli.run("runs", "redrive", *words)
        assert done.exit_code == 2
        assert "Give an id, or --all." in done.stderr
    assert cli.gateway.requests == []


def test_what_is_not_dead_is_refused_in_words(cli: CommandLine) -> None:
    cli.gateway.on(f"POST /v1/invocations/{ID}/redrive", problem(409, "invocation.not_dead"))
    done = cli.run("runs", "redrive", ID)
    assert done.exit_code == 2
    assert "[invocation.not_dead]" in done.stderr
