"""`stockade replay` in words, in JSON and by exit codes; the guest runs in a real jail."""

import base64
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx
import pytest

from stockade.core.digests import digest_of
from stockade.core.limits import Limits
from stockade.core.recordings import arguments_digest, stand_in
from tests.guest import guests
from tests.unit.sdk_python.fake_gateway import ID, problem
from tests.unit.stockade.cli.conftest import CommandLine

PLACE = f"/v1/invocations/{ID}"
CANARY = b"canary-77aa-s3cret"
TELLS_TIME = guests.module(
    """(i64.store (i32.const 2049) (call $now)) (i32.store8 (i32.const 2048) (i32.const 0))"""
    + guests.answer("(i32.const 2048)", "(i32.const 9)"),
    imports='(import "stockade:v1" "now_ms" (func $now (result i64)))',
)
NOW_NS = 1_800_000_000_000_000_000
NOW = {
    "number": 1,
    "name": "now_ms",
    "arguments": arguments_digest("", bytes(8), 0, {}),
    "status": 0,
    "answer": base64.b64encode(NOW_NS.to_bytes(8, "little")).decode(),
    "blanks": [],
}
TOLD_TIME = b"".join([(NOW_NS // 1_000_000).to_bytes(8, "little")])


class Gateway:
    """What a gateway tells of one run; `told` may be changed before the command is run."""

    def __init__(self, cli: CommandLine, body: bytes, data: bytes = b"in") -> None:
        self.cli, self.body, self.data = cli, body, data
        self.told: dict[str, Any] = {
            "id": ID,
            "function": "hello",
            "version": 2,
            "attempt": 1,
            "module": digest_of(body),
            "abi": "stockade:v1",
            "deterministic": True,
            "env": {},
            "limits": asdict(Limits(fuel=1_000_000)),
            "engine": "wasmtime-0.0.1-other",
            "input_digest": digest_of(data),
            "ending": {
                "outcome": "completed",
                "limit": None,
                "detail": None,
                "fuel": 0,
                "peak_memory_bytes": 131_072,
                "host_calls": 0,
                "output_digest": digest_of(data),
            },
            "recording": None,
        }

    def run(self, *words: str) -> Any:  # noqa: ANN401 - Typer's own result
        gateway = self.cli.gateway
        gateway.on(f"GET {PLACE}/recording", httpx.Response(200, json=self.told))
        gateway.on(f"GET {PLACE}/input", httpx.Response(200, content=self.data))
        gateway.on(f"GET {PLACE}/module", httpx.Response(200, content=self.body))
        return self.cli.run("replay", ID, *words)


def expected_fuel(gateway: Gateway) -> int:
    """What the run uses here, learned from the command itself."""
    return int(json.loads(gateway.run("--json").stdout)["replayed"]["fuel"])


@pytest.fixture
def echo(cli: CommandLine) -> Gateway:
    made = Gateway(cli, guests.ECHO)
    made.told["ending"]["fuel"] = expected_fuel(made)
    return made


@pytest.fixture
def timed(cli: CommandLine) -> Gateway:
    made = Gateway(cli, TELLS_TIME)
    made.told["deterministic"] = False
    made.told["recording"] = {"cut": None, "calls": [NOW]}
    made.told["ending"] |= {"output_digest": digest_of(TOLD_TIME), "host_calls": 1}
    made.told["ending"]["fuel"] = expected_fuel(made)
    return made


def test_an_equal_run_exits_0_and_tells_of_another_engine(echo: Gateway) -> None:
    result = echo.run()
    assert result.exit_code == 0, result.output
    assert "Attempt 1 of hello (version 2) is equal: outcome, output and fuel." in result.stderr
    assert "The run was made by wasmtime-0.0.1-other; this is wasmtime-" in result.stderr
    told = json.loads(echo.run("--json").stdout)
    assert (told["equal"], told["differences"], told["engine"]["same"]) == (True, [], False)


def test_what_varied_comes_from_the_recording(timed: Gateway) -> None:
    result = timed.run("--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["equal"] is True


def test_a_run_that_differs_exits_5_and_says_where(timed: Gateway) -> None:
    timed.told["recording"]["calls"] = [NOW | {"name": "random"}]
    result = timed.run()
    assert result.exit_code == 5
    assert "differs, first in host call 1:" in result.stderr
    assert "recorded call 1: random" in result.stderr
    assert "replayed call 1: now_ms" in result.stderr


def test_fuel_that_differs_is_told(echo: Gateway) -> None:
    echo.told["ending"]["fuel"] += 1
    result = echo.run("--json")
    assert result.exit_code == 5
    (difference,) = json.loads(result.stdout)["differences"]
    assert difference["what"] == "fuel"
    assert int(difference["expected"]) == int(difference["got"]) + 1


def test_what_if_is_answered_and_is_no_failure(cli: CommandLine) -> None:
    gateway = Gateway(cli, guests.LOOP)
    gateway.told["ending"] |= {"outcome": "limit_exceeded", "limit": "wall"}
    refused = gateway.run()
    assert (refused.exit_code, "[replay.not_deterministic]" in refused.stderr) == (2, True)
    result = gateway.run("--fuel", "5000", "--memory", "200000", "--wall-ms", "9000")
    assert result.exit_code == 0, result.output
    assert "with fuel=5000, memory_bytes=200000, wall_ms=9000: see above." in result.stderr
    told = json.loads(gateway.run("--fuel", "5000", "--json").stdout)
    assert (told["what_if"], told["replayed"]["limit"]) == ({"fuel": 5000}, "fuel")


@pytest.mark.parametrize("words", [("--fuel", "0"), ("--memory", "x"), ("--wall-ms", "99999999")])
def test_what_no_limit_can_be_is_refused(echo: Gateway, words: tuple[str, str]) -> None:
    asked = len(echo.cli.gateway.requests)
    assert echo.run(*words).exit_code == 2
    assert len(echo.cli.gateway.requests) == asked


REFUSED: dict[str, dict[str, Any]] = {
    "not_recorded": {"deterministic": False},
    "recording_cut": {"recording": {"cut": 7, "calls": []}},
    "input_differs": {"input_digest": digest_of(b"other")},
    "module_differs": {"module": digest_of(b"other")},
    "gateway_differs": {"abi": "stockade:v9"},
}


@pytest.mark.parametrize("code", REFUSED)
def test_what_cannot_be_replayed_is_refused(echo: Gateway, code: str) -> None:
    echo.told |= REFUSED[code]
    result = echo.run()
    assert result.exit_code == 2
    assert f"[replay.{code}]" in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    "limits", [{"colours": 7}, {"fuel": 2**70}, {"wall_ms": 10**9}, {"memory_bytes": -1}]
)
def test_limits_that_no_plan_gives_are_refused(echo: Gateway, limits: dict[str, int]) -> None:
    echo.told["limits"] |= limits
    result = echo.run()
    assert (result.exit_code, "[replay.gateway_differs]" in result.stderr) == (2, True)


@pytest.mark.parametrize("outcome", ["crashed", "lost", "cancelled", "expired"])
def test_an_end_that_is_not_the_guests_is_refused(echo: Gateway, outcome: str) -> None:
    echo.told["ending"]["outcome"] = outcome
    result = echo.run()
    assert (result.exit_code, "[replay.not_replayable]" in result.stderr) == (2, True)


def test_what_the_gateway_refuses_is_told(cli: CommandLine) -> None:
    cli.gateway.on(f"GET {PLACE}/recording", problem(500, "recording.unreadable"))
    result = cli.run("replay", ID, "--attempt", "2")
    assert "[recording.unreadable]" in result.stderr
    assert dict(cli.gateway.last.url.params) == {"attempt": "2"}


def test_an_input_that_was_not_kept_may_be_given(echo: Gateway) -> None:
    Path("in").write_bytes(echo.data)
    right = echo.run("--input", "in")
    assert right.exit_code == 0
    assert not any(one.url.path.endswith("/input") for one in echo.cli.gateway.requests[-2:])
    Path("in").write_bytes(b"another")
    assert "[replay.input_differs]" in echo.run("--input", "in").stderr


READS_SECRET = guests.module(
    f"""(drop (call $secret (i32.const 100) (i32.const 3)))
      (i64.or (i64.const {1024 << 32}) (i64.const {1 + len(CANARY)}))""",
    imports='(import "stockade:v1" "secret_get" (func $secret (param i32 i32) (result i64)))',
    extra='(data (i32.const 100) "KEY")',
)


@pytest.fixture
def secretive(cli: CommandLine) -> Gateway:
    made = Gateway(cli, READS_SECRET)
    made.told["deterministic"] = False
    call = NOW | {
        "name": "secret_get",
        "arguments": arguments_digest("KEY", b"", 0, {}),
        "answer": base64.b64encode(stand_in("KEY", len(CANARY))).decode(),
        "blanks": [{"secret": "KEY", "start": 0, "length": len(CANARY)}],
    }
    made.told["recording"] = {"cut": None, "calls": [call]}
    made.told["ending"] |= {"output_digest": digest_of(CANARY), "host_calls": 1}
    made.told["ending"]["fuel"] = expected_fuel(made)
    return made


def test_a_secret_is_given_by_file_and_never_shown(secretive: Gateway) -> None:
    blind = secretive.run()
    assert blind.exit_code == 5
    assert "stood in for KEY. Give the values: --secret NAME=FILE." in blind.stderr
    Path("key").write_bytes(CANARY)
    given = secretive.run("--secret", "KEY=key")
    assert given.exit_code == 0, given.output
    told = secretive.run("--secret", "KEY=key", "--json")
    assert json.loads(told.stdout)["secrets_stood_in"] == []
    for result in (blind, given, told):
        assert CANARY not in result.output.encode()


def test_a_secret_that_cannot_be_it_is_refused(secretive: Gateway) -> None:
    Path("key").write_bytes(b"short")
    assert "[replay.secret_differs]" in secretive.run("--secret", "KEY=key").stderr
    assert "[replay.secret_unknown]" in secretive.run("--secret", "OTHER=key").stderr
    assert secretive.run("--secret", "KEY").exit_code == 2
    assert secretive.run("--secret", "KEY=nowhere").exit_code == 2


def test_a_hostile_module_ends_in_the_jail_and_writes_no_escapes(cli: CommandLine) -> None:
    gateway = Gateway(cli, guests.fixed(b"\x01\x00no\x1b[2J"))
    gateway.told["ending"] |= {"outcome": "rejected", "output_digest": None, "detail": "a\x1b[31mb"}
    result = gateway.run()
    assert result.exit_code == 5
    assert "\x1b" not in result.output
    assert r"no\x1b[2J" in result.stdout


def test_walls_that_are_none_are_refused(echo: Gateway) -> None:
    assert echo.run("--require-walls", "paper").exit_code == 2
