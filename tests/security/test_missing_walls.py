"""Hosts that lack a wall: doctor says so, processes refuse to start, no child runs without."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from stockade.core.walls import Wall
from stockade.infra.host_walls.verdicts import judge
from tests.e2e.service import PUBLIC, running_service
from tests.guest import guests

ROOT = Path(__file__).parents[2]
POLICY = ROOT / "policies" / "seccomp" / "guest.toml"
WITHOUT = ROOT / "tests" / "security" / "host_without.py"
STOCKADE = (sys.executable, "-P", "-m", "stockade.cli.main")

JAIL = f"""
import asyncio, pathlib, sys
from stockade.core.jail_control import JailRole
from stockade.infra.zygote_jail import ZygoteJail

def filters(process_id):
    lines = pathlib.Path(f"/proc/{{process_id}}/status").read_text().splitlines()
    return next(line.split()[1] for line in lines if line.startswith("Seccomp_filters:"))

async def main():
    jail = ZygoteJail(pathlib.Path({str(POLICY)!r}), landlock_required=sys.argv[1] == "required")
    try:
        child = await jail.fork(JailRole[sys.argv[2]])
        jailed = False
        async with asyncio.timeout(20):
            while child.alive and not jailed:
                try:
                    # The host's own filter, which answers with errors, is the first.
                    jailed = filters(child.process_id) == "2"
                except OSError:
                    pass
                await asyncio.sleep(0.002)
        print("jailed" if jailed else await child.ended())
        child.connection.close()
    finally:
        await jail.aclose()

asyncio.run(main())
"""


def without(what: str, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a command on a host that lacks something."""
    return subprocess.run(
        [sys.executable, str(WITHOUT), what, *command],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=_environment(environment),
    )


def _environment(extra: dict[str, str]) -> dict[str, str]:
    inherited = os.environ  # noqa: TID251 - a child's
    kept = {name: value for name, value in inherited.items() if not name.startswith("STOCKADE_")}
    return kept | extra


def states(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    return {wall["wall"]: wall["state"] for wall in json.loads(done.stdout)["walls"]}


@pytest.mark.parametrize(
    ("what", "missing"),
    [
        ("landlock", {"landlock"}),
        ("landlock-hidden", {"landlock"}),
        ("seccomp", {"seccomp", "jail"}),
        ("no_new_privs", {"seccomp", "no_new_privs", "jail", "landlock"}),
        ("pidfd", {"pidfd"}),
        ("user_namespaces", {"user_namespaces"}),
        ("aslr", {"aslr"}),
    ],
)
def test_doctor_finds_what_the_host_lacks(what: str, missing: set[str]) -> None:
    there = states(without("nothing", *STOCKADE, "doctor", "--json"))
    here = states(without(what, *STOCKADE, "doctor", "--json"))
    assert {wall for wall in here if here[wall] == "missing" != there[wall]} == missing
    assert {wall for wall in here if here[wall] != there[wall]} == missing


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes nobody")
def test_doctor_finds_a_root_that_may_not_become_nobody() -> None:
    done = without("nobody", *STOCKADE, "doctor", "--json", "--strict")
    found = {wall["wall"]: wall for wall in json.loads(done.stdout)["walls"]}
    assert (done.returncode, found["nobody"]["state"], found["jail"]["state"]) == (
        1,
        "missing",
        "missing",
    )
    assert found["rlimits"]["state"] == "weak"
    assert "SETUID" in found["nobody"]["remedy"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's executors are another user's")
def test_a_root_that_may_not_kill_its_executors_does_not_start(tmp_path: Path) -> None:
    told = json.loads(without("kill", *STOCKADE, "doctor", "--json").stdout)
    assert told["missing"] == ["jail"]
    (jail,) = (wall for wall in told["walls"] if wall["wall"] == "jail")
    assert "cannot be killed at its deadline (EPERM)" in jail["finding"]
    done = without("kill", *STOCKADE, "serve", "worker", **_settings("worker", tmp_path))
    assert done.returncode == 2
    assert "required here: jail." in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user first")
def test_an_ordinary_user_has_the_jail_but_not_nobody() -> None:
    program = f"""
import json, os, pathlib
from sandbox_worker.guest.wall_probe import PROBES
os.setgroups([]); os.setresgid(12345, 12345, 12345); os.setresuid(12345, 12345, 12345)
os.chdir("/")
policy = pathlib.Path({str(POLICY)!r})
print(json.dumps({{name: PROBES[name](policy) for name in ("jail", "nobody", "rlimits")}}))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, timeout=60
    )
    found = {name: judge(Wall(name), notes) for name, notes in json.loads(done.stdout).items()}
    assert {name: report.state for name, report in found.items()} == {
        "jail": "ok",
        "nobody": "missing",
        "rlimits": "ok",
    }
    assert "user 12345" in found["nobody"].finding


@pytest.mark.parametrize(
    ("what", "required", "exit_code"),
    [
        ("nothing", "landlock", 0),
        ("landlock", "landlock", 1),
        ("landlock", "seccomp", 0),
        ("seccomp", "seccomp", 1),
        ("pidfd", "seccomp", 1),
        ("aslr", "landlock", 0),
        ("aslr", "landlock,aslr", 1),
    ],
)
def test_strict_fails_when_a_required_wall_is_missing(
    what: str, required: str, exit_code: int
) -> None:
    done = without(what, *STOCKADE, "doctor", "--strict", STOCKADE_REQUIRE_WALLS=required)
    assert done.returncode == exit_code, done.stdout + done.stderr
    assert ("[jail.wall_missing]" in done.stderr) is (exit_code == 1)


def test_without_strict_doctor_only_tells() -> None:
    done = without("seccomp", *STOCKADE, "doctor")
    assert done.returncode == 0
    assert "missing  seccomp *" in done.stdout
    assert "Missing of these: seccomp, jail" in done.stdout


@pytest.mark.parametrize("process", ["worker", "gateway"])
@pytest.mark.parametrize(
    ("what", "required", "named"),
    [
        ("landlock", None, "landlock"),
        ("landlock-hidden", "nobody,landlock", "landlock"),
        ("seccomp", "seccomp", "seccomp, jail"),
    ],
)
def test_processes_refuse_to_start_without_a_required_wall(
    process: str, what: str, required: str | None, named: str, tmp_path: Path
) -> None:
    settings = {"STOCKADE_REQUIRE_WALLS": required} if required else {}
    done = without(what, *STOCKADE, "serve", process, **_settings(process, tmp_path), **settings)
    assert done.returncode == 2, done.stderr
    assert f"required here: {named}." in done.stderr
    assert "stockade doctor" in done.stderr
    assert "[jail.wall_missing]" in done.stderr
    assert not (tmp_path / "catalog.sqlite").exists()


@pytest.mark.parametrize("walls", ["", "landlok", "seccomp,", "durability", "SECCOMP"])
def test_a_setting_that_names_no_wall_is_refused(walls: str, tmp_path: Path) -> None:
    settings = _settings("worker", tmp_path) | {"STOCKADE_REQUIRE_WALLS": walls}
    done = without("nothing", *STOCKADE, "serve", "worker", **settings)
    assert done.returncode == 2
    assert "--require-walls (STOCKADE_REQUIRE_WALLS)" in done.stderr
    assert "[config.invalid]" in done.stderr


@pytest.mark.parametrize("role", ["EXECUTOR", "COMPILER"])
@pytest.mark.parametrize(
    ("what", "landlock", "end"),
    [
        ("landlock", "required", "1"),
        ("landlock-hidden", "required", "1"),
        ("landlock", "optional", "jailed"),
        ("landlock-hidden", "optional", "jailed"),
        ("seccomp", "required", "1"),
        ("seccomp", "optional", "1"),
    ],
)
def test_a_child_ends_itself_rather_than_run_without(
    what: str, landlock: str, end: str, role: str
) -> None:
    done = without(what, sys.executable, "-c", JAIL, landlock, role)
    assert done.stdout.strip() == end, done.stderr


def test_guests_run_without_landlock_where_the_operator_says_so(tmp_path: Path) -> None:
    wrapper = sys.executable, str(WITHOUT), "landlock"
    data_dir = tmp_path / "data"
    with running_service(data_dir, *wrapper, STOCKADE_REQUIRE_WALLS="seccomp") as service:
        service.http.post("/v1/signers", json={"name": "tests", "public_key": PUBLIC})
        service.deploy("echo", guests.ECHO)
        answer = service.invoke("echo", b"still walled")
    assert (answer.status_code, answer.content) == (200, b"still walled")
    lines = (tmp_path / "data.log").read_text().splitlines()
    events = [json.loads(line) for line in lines if '"wall_not_whole"' in line]
    told = [event for event in events if event["wall"] == "landlock"]
    assert {line["process"] for line in told} == {"gateway", "worker"}
    assert [(line["state"], line["required"]) for line in told] == [("missing", False)] * 2


def _settings(process: str, directory: Path) -> dict[str, str]:
    common = {
        "STOCKADE_REDIS_URL": "redis://127.0.0.1:1/0",
        "STOCKADE_DATABASE_URL": f"sqlite:///{directory}/catalog.sqlite",
        "STOCKADE_BLOB_DIR": str(directory / "blobs"),
        "STOCKADE_POLICY_DIR": str(ROOT / "policies"),
        "STOCKADE_SECRETS_KEY_FILE": str(directory / "secrets.key"),
    }
    own = {"STOCKADE_CACHE_DIR": str(directory / "cache")} if process == "worker" else {}
    return common | own
