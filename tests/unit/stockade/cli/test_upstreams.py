"""`stockade upstreams`."""

import json

import httpx

from tests.unit.sdk_python.fake_gateway import problem
from tests.unit.sdk_python.test_upstreams import OUT
from tests.unit.stockade.cli.conftest import CommandLine


def test_what_fails_is_listed(cli: CommandLine) -> None:
    closed = OUT | {"upstream": "http_fetch:a\x1b[2J", "state": "closed", "next_probe_ms": None}
    cli.gateway.on("GET /v1/upstreams", httpx.Response(200, json={"upstreams": [OUT, closed]}))
    _head, out, well = cli.run("upstreams", "list").stdout.splitlines()
    assert out.split() == [
        *("*.example.org:8443", "open", "5", "timeout"),
        *("00:00:00", "UTC", "00:00:00", "UTC", "3"),
    ]
    assert well.split()[:2] == ["a\\x1b[2J", "closed"]
    assert well.split()[-2:] == ["-", "3"]
    shown = json.loads(cli.run("upstreams", "list", "--json").stdout)
    assert shown[0]["next_probe_ms"] == 2


def test_one_is_reset_with_or_without_its_kind(cli: CommandLine) -> None:
    path = "/v1/upstreams/http_fetch:api.example.org"
    cli.gateway.on(f"DELETE {path}", httpx.Response(204))
    for name in ("api.example.org", "http_fetch:api.example.org"):
        done = cli.run("upstreams", "reset", name)
        assert done.exit_code == 0
        assert "Calls to api.example.org go out again." in done.stderr


def test_one_that_is_not_listed_is_a_refusal(cli: CommandLine) -> None:
    cli.gateway.on("DELETE /v1/upstreams/http_fetch:x", problem(404, "upstream.not_found"))
    done = cli.run("upstreams", "reset", "x")
    assert done.exit_code == 2
    assert "upstream.not_found" in done.stderr
