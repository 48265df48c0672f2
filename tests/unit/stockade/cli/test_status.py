"""`stockade status`."""

import json

import httpx

from tests.unit.sdk_python.fake_gateway import INSTALLATION
from tests.unit.stockade.cli.conftest import CommandLine


def answer(cli: CommandLine, **changes: object) -> None:
    cli.gateway.on("GET /v1/status", httpx.Response(200, json=INSTALLATION | changes))


def test_an_operator_sees_the_queue_the_workers_and_what_is_not_well(cli: CommandLine) -> None:
    answer(cli)
    shown = cli.run("status")
    assert shown.exit_code == 0
    for words in (
        "the installation",
        "1.5 s",
        "1 of 4",
        "1 of 10 (10.0%) in the last 5 minutes",
        "4, quarantined 5",
        "acme    resize    2",
        "w1      1.2.3    working  2/4   60 s  stale trust, weak aslr",
    ):
        assert words in shown.stdout, words


def test_a_tenant_is_told_when_nobody_works(cli: CommandLine) -> None:
    queue = {"backlog": 1, "later": 0, "oldest_wait_ms": 0}
    recent = {"minutes": 5, "ended": 0, "failed": 0, "error_rate": None}
    nothing: dict[str, object] = {"workers": [], "running": [], "stale": [], "weak_walls": []}
    answer(cli, scope="tenant", queue=queue, recent=recent, working=False, **nothing)
    shown = cli.run("status")
    assert "your tenant" in shown.stdout
    assert "WORKER" not in shown.stdout
    assert "No worker works" in shown.stderr


def test_only_so_many_functions_are_shown_and_names_are_made_safe(cli: CommandLine) -> None:
    running = [{"tenant": "a\x1b[31m", "function": f"f{n}", "count": 1} for n in range(25)]
    answer(cli, running=running)
    shown = cli.run("status")
    assert "f19" in shown.stdout
    assert "f20" not in shown.stdout
    assert "5 more functions run." in shown.stderr
    assert "\x1b" not in shown.stdout


def test_scripts_get_json(cli: CommandLine) -> None:
    answer(cli)
    told = json.loads(cli.run("status", "--json").stdout)
    assert told["queue"]["backlog"] == 7
    assert told["workers"][0]["running"] == [{"tenant": "acme", "function": "resize", "count": 2}]
