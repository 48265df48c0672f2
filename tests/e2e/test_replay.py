"""Replay through all of it: a recorded run on a real installation, `stockade replay`, the store."""

import json
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox_worker.replay import replay as run_again
from stockade.cli.connection import open_client
from stockade.cli.environment import own_program
from stockade.cli.paths import policy_dir
from stockade.cli.replay_plan import fetch
from stockade.core.replays import differences
from stockade.infra.jailed_compiler import JailedCompiler
from stockade.infra.zygote_jail import ZygoteJail
from tests.e2e.service import PUBLIC, Service, running_service

WASM = Path(__file__).parents[2] / "examples" / "wasm"
EXAMPLES = sorted(path.parent.name for path in WASM.glob("*/stockade.toml"))
EXAMPLE = WASM / "host-calls-rust" / "host-calls-rust.wasm"
CANARY = "canary-4d1e-never-to-be-seen"
LINES = "now_ms\nrandom 40\nkv_add n/count 3\nsecret_get TOKEN\nprogress 50 half\nrandom 9\nnow_ms"
GRANTS = ["now_ms", "random", "kv:n", "secret:TOKEN", "progress", "config_get", "emit"]
FETCH = "http_fetch:GET https://example.com/"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running_service(tmp_path_factory.mktemp("replay") / "data") as running:
        signer = {"name": "test", "public_key": PUBLIC}
        assert running.http.post("/v1/signers", json=signer).status_code == 201
        assert running.http.put("/v1/secrets/TOKEN", content=CANARY.encode()).is_success
        yield running


@pytest.fixture(scope="module")
def recorded(service: Service) -> str:
    """The id of a recorded run."""
    service.deploy("calls", EXAMPLE.read_bytes(), grants=[*GRANTS, FETCH], record=True)
    answer = service.invoke("calls", LINES.encode())
    assert b"secret_get: ok 28 bytes" in answer.content
    return str(answer.headers["stockade-invocation-id"])


def replay(service: Service, *words: str) -> subprocess.CompletedProcess[bytes]:
    key_file = str(service.data_dir / "dev-api-key")
    place = ("--url", service.url, "--api-key-file", key_file)
    command = own_program("replay", *words, *place)
    return subprocess.run(command, capture_output=True, timeout=120, check=False)


def test_a_recorded_run_is_equal_on_another_engine_process(service: Service, recorded: str) -> None:
    done = replay(service, recorded, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["equal"], told["differences"]) == (True, [])
    assert told["engine"]["same"] is True
    assert told["recorded"]["fuel"] == told["replayed"]["fuel"] > 0
    record = service.http.get(f"/v1/invocations/{recorded}").json()
    (attempt,) = record["attempts"]
    assert attempt["engine"] == told["engine"]["here"]
    assert attempt["recording"].startswith("sha256:")


def run_example(service: Service, name: str) -> str:
    """The id of a recorded run of an example that ended as its manifest says."""
    place = WASM / name
    manifest = tomllib.loads((place / "stockade.toml").read_text())
    asked = {key: manifest.get(key, {}) for key in ("limits", "env")}
    grants = manifest.get("grants", [])
    body = (place / manifest["module"]).read_bytes()
    service.deploy(name, body, grants=grants, record=True, retry={"max_attempts": 1}, **asked)
    answer = service.invoke(name, (place / manifest["input"]).read_bytes())
    assert answer.headers["stockade-outcome"] == manifest["expected_outcome"]
    return str(answer.headers["stockade-invocation-id"])


async def test_every_example_repeats_from_what_the_gateway_tells(service: Service) -> None:
    jail = ZygoteJail(policy_dir() / "seccomp" / "guest.toml")
    compiler = JailedCompiler(jail)
    key = (service.data_dir / "dev-api-key").read_text().strip()
    with open_client(service.url, key) as client:
        for name in EXAMPLES:
            fetched = fetch(client, run_example(service, name), None, None, {}, {})
            again = await run_again(jail, compiler, fetched.plan)
            assert again.difference is None, name
            assert differences(fetched.expected, again.ending) == (), name
            assert fetched.expected.fuel > 0
    await jail.aclose()


def test_what_if_it_had_less(service: Service, recorded: str) -> None:
    done = replay(service, recorded, "--fuel", "5000", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["equal"], told["replayed"]["limit"]) == (False, "fuel")


def test_a_run_that_was_not_recorded_is_refused(service: Service) -> None:
    service.deploy("calls-unrecorded", EXAMPLE.read_bytes(), grants=[*GRANTS, FETCH])
    answer = service.invoke("calls-unrecorded", b"now_ms")
    done = replay(service, answer.headers["stockade-invocation-id"])
    assert (done.returncode, b"[replay.not_recorded]" in done.stderr) == (2, True)


def test_a_secret_is_in_nothing_that_is_kept_or_told(service: Service, recorded: str) -> None:
    told = service.http.get(f"/v1/invocations/{recorded}/recording")
    assert told.status_code == 200
    names = [call["name"] for call in told.json()["recording"]["calls"]]
    assert names == ["now_ms", "random", "kv_add", "secret_get", "random", "now_ms"]
    blank = {"secret": "TOKEN", "start": 0, "length": len(CANARY)}
    assert told.json()["recording"]["calls"][3]["blanks"] == [blank]
    done = replay(service, recorded)
    log = service.data_dir.parent / f"{service.data_dir.name}.log"
    kept = [path.read_bytes() for path in service.data_dir.rglob("*") if path.is_file()]
    for content in (told.content, done.stdout, done.stderr, log.read_bytes(), *kept):
        assert CANARY.encode() not in content
        assert b"canary-4d1e" not in content
