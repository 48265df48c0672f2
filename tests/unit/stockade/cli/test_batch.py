import json
from pathlib import Path

import httpx

from tests.unit.sdk_python.fake_gateway import ID, problem
from tests.unit.stockade.cli.conftest import CommandLine

PATH = "POST /v1/functions/echo/invocations:batch"
OTHER = ID[:-1] + "2"
REFUSED = {"code": "batch.line_invalid", "status": 400, "detail": "No JSON.", "retryable": False}


def answered(*lines: object) -> httpx.Response:
    body = "".join(json.dumps(line) + "\n" for line in lines)
    return httpx.Response(202, content=body.encode())


def test_every_line_is_queued_and_told_by_its_id(cli: CommandLine) -> None:
    cli.gateway.on(PATH, answered({"id": ID}, {"id": OTHER}))
    Path("in").write_bytes(b'{"a": 1}\r\n\n  2  ')
    done = cli.run("batch", "echo", "in", "--priority", "low", "--alias", "prod")
    assert (done.exit_code, done.stdout.split()) == (0, [ID, OTHER])
    sent = cli.gateway.last
    assert sent.content == b'{"a": 1}\n2'
    assert sent.headers["Content-Type"] == "application/x-ndjson"
    assert (sent.headers["Stockade-Priority"], sent.url.params["alias"]) == ("low", "prod")


def test_refused_lines_keep_their_place_and_are_told_by_number(cli: CommandLine) -> None:
    cli.gateway.on(PATH, answered({"id": ID}, REFUSED, {"id": OTHER}))
    done = cli.run("batch", "echo", data=b"1\n\nx\n3\n")
    assert (done.exit_code, done.stdout.splitlines()) == (2, [ID, "", OTHER])
    assert done.stderr.splitlines() == ["Line 3: batch.line_invalid (400): No JSON."]


def test_a_line_that_is_refused_for_now_says_when_to_try_again(cli: CommandLine) -> None:
    over = REFUSED | {"code": "tenant.rate_limited", "facts": {"retry_after_ms": 12_000}}
    cli.gateway.on(PATH, answered(over))
    done = cli.run("batch", "echo", data=b"1\n")
    assert done.stderr == ("Line 1: tenant.rate_limited (400): No JSON. Try again in 12 seconds.\n")


def test_lines_that_were_not_read_are_told_too(cli: CommandLine) -> None:
    stop = {"code": "queue.unavailable", "status": 503, "detail": "Away.", "retryable": True}
    cli.gateway.on(PATH, answered({"id": ID}, stop))
    done = cli.run("batch", "echo", data=b"1\n2\n3\n")
    assert (done.exit_code, done.stdout.splitlines()) == (2, [ID, "", ""])
    assert [line.split(":")[0] for line in done.stderr.splitlines()] == ["Line 2", "Line 3"]


def test_a_long_file_goes_in_several_calls_with_keys_of_their_own(cli: CommandLine) -> None:
    full = answered(*[{"id": ID}] * 10_000)
    cli.gateway.on(PATH, full, answered({"id": OTHER}))
    done = cli.run("batch", "echo", "--idempotency-key", "day-1", data=b"1\n" * 10_001)
    assert (done.exit_code, len(done.stdout.splitlines())) == (0, 10_001)
    keys = [sent.headers["Idempotency-Key"] for sent in cli.gateway.requests]
    assert keys == ["day-1/0", "day-1/1"]


def test_large_lines_go_in_several_calls(cli: CommandLine) -> None:
    cli.gateway.on(PATH, answered({"id": ID}))
    line = b'"' + b"x" * (5 << 20) + b'"\n'
    done = cli.run("batch", "echo", data=line * 3)
    assert done.exit_code == 0
    assert [sent.content.count(b"x" * 100 + b'"') for sent in cli.gateway.requests] == [2, 1]


def test_nothing_to_queue_is_no_call(cli: CommandLine) -> None:
    done = cli.run("batch", "echo", data=b"\n \n")
    assert (done.exit_code, done.stdout, cli.gateway.requests) == (0, "", [])


def test_a_refused_batch_is_told_as_a_whole(cli: CommandLine) -> None:
    cli.gateway.on(PATH, problem(404, "function.not_found"))
    done = cli.run("batch", "echo", data=b"1")
    assert done.exit_code == 2
    assert "function.not_found" in done.stderr


def test_a_file_that_is_not_there_is_told(cli: CommandLine) -> None:
    done = cli.run("batch", "echo", "absent")
    assert done.exit_code == 2
    assert "absent" in done.stderr
