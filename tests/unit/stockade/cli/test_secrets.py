import json
from pathlib import Path

import httpx

from tests.unit.sdk_python.fake_gateway import problem
from tests.unit.stockade.cli.conftest import CommandLine

PUT, VALUE = "PUT /v1/secrets/token", b"s3cret"


def test_a_value_comes_from_a_pipe_without_its_line_end(cli: CommandLine) -> None:
    cli.gateway.on(PUT, httpx.Response(201, json={}))
    for data in (VALUE, VALUE + b"\n", VALUE + b"\r\n"):
        done = cli.run("secrets", "set", "token", data=data)
        assert (done.exit_code, cli.gateway.last.content) == (0, VALUE)
        assert VALUE.decode() not in done.output


def test_a_file_is_taken_byte_for_byte(cli: CommandLine) -> None:
    cli.gateway.on(PUT, httpx.Response(201, json={}))
    Path("value").write_bytes(b"\0a\n")
    assert cli.run("secrets", "set", "token", "--file", "value").exit_code == 0
    assert cli.gateway.last.content == b"\0a\n"


def test_names_are_listed_and_deleted(cli: CommandLine) -> None:
    listed = {"secrets": [{"name": "token", "updated_ms": 0}]}
    cli.gateway.on("GET /v1/secrets", httpx.Response(200, json=listed))
    cli.gateway.on("DELETE /v1/secrets/token", httpx.Response(204))
    assert cli.run("secrets", "list").stdout.splitlines()[1].split() == [
        *("token", "1970-01-01", "00:00:00", "UTC")
    ]
    assert json.loads(cli.run("secrets", "list", "--json").stdout)[0]["name"] == "token"
    assert "deleted" in cli.run("secrets", "delete", "token").stderr


def test_a_refusal_does_not_show_the_value(cli: CommandLine) -> None:
    cli.gateway.on(PUT, problem(400, "secret.too_large"))
    done = cli.run("secrets", "set", "token", data=VALUE)
    assert done.exit_code == 2
    assert VALUE.decode() not in done.output
