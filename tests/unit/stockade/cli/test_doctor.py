import io
import json
import os
import pty
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from rich.console import Console

from stockade.cli.doctor_report import Findings, print_table
from stockade.core.walls import ALWAYS_REQUIRED, REQUIRABLE, Wall, WallReport, WallState
from stockade.infra.host_walls.engine_advisories import load_advisories
from tests.unit.stockade.cli.conftest import CommandLine

BARE = {
    "STOCKADE_POLICY_DIR": "",
    "STOCKADE_REQUIRE_WALLS": "seccomp",
    "STOCKADE_CGROUP": "",
    "STOCKADE_REDIS_URL": "",
}
TERMINAL = {"TERM": "xterm", "COLUMNS": "100", "STOCKADE_REDIS_URL": ""}


def test_help_explains_every_option(cli: CommandLine) -> None:
    shown = " ".join(cli.run("doctor", "--help").stdout.split())
    assert "stockade doctor [OPTIONS]" in shown.replace("root doctor", "stockade doctor")
    for option in ("--strict", "--require-walls", "--policy-dir", "--cgroup", "--redis-url"):
        assert option in shown
    assert "[default: landlock]" in shown


def test_lines_name_each_wall_with_its_state_and_what_to_do(cli: CommandLine) -> None:
    result = cli.run("doctor", **BARE)
    assert result.exit_code == 0, result.stderr
    for wall in REQUIRABLE:
        assert f" {wall}" in result.stdout
    assert result.stdout.count("To do: ") == sum(
        line.startswith(("weak", "missing")) for line in result.stdout.splitlines()
    )
    assert "seccomp *" in result.stdout
    assert "landlock *" not in result.stdout
    assert "* required. All of these stand." in result.stdout
    assert "\x1b" not in result.stdout


def test_json_holds_the_same_for_machines(cli: CommandLine) -> None:
    result = cli.run("doctor", "--json", "--require-walls", "nobody,landlock", **BARE)
    told = json.loads(result.stdout)
    assert [wall["wall"] for wall in told["walls"]] == [str(wall) for wall in REQUIRABLE]
    required = {wall["wall"] for wall in told["walls"] if wall["required"]}
    assert required == ALWAYS_REQUIRED | {Wall.NOBODY, Wall.LANDLOCK}
    assert told["ready"] is (told["missing"] == [])
    assert all(set(item) >= {"id", "reached", "because"} for item in told["engine_advisories"])


def test_strict_exits_with_1_and_a_code(cli: CommandLine, tmp_path: Path) -> None:
    result = cli.run("doctor", "--strict", "--policy-dir", str(tmp_path), **BARE)
    assert result.exit_code == 1
    assert "[jail.wall_missing]" in result.stderr
    assert "Required walls are missing: seccomp, jail." in result.stderr
    assert "seccomp/guest.toml cannot be used (ENOENT)" in result.stdout
    told = cli.run("doctor", "--strict", "--json", "--policy-dir", str(tmp_path), **BARE)
    assert (told.exit_code, json.loads(told.stdout)["missing"]) == (1, ["seccomp", "jail"])


@pytest.mark.parametrize("walls", ["bogus", "landlock,,nobody", "durability"])
def test_walls_that_do_not_exist_are_refused(cli: CommandLine, walls: str) -> None:
    result = cli.run("doctor", "--require-walls", walls, **BARE)
    assert result.exit_code == 2
    assert "--require-walls" in result.stderr
    assert "landlock" in result.stderr


def test_a_policy_directory_that_is_not_there_is_refused(cli: CommandLine) -> None:
    assert cli.run("doctor", "--policy-dir", "nowhere", **BARE).exit_code == 2


def test_a_queue_is_asked_when_it_is_named_and_its_password_never_shown(
    cli: CommandLine,
) -> None:
    url = "redis://:s3cret@127.0.0.1:1/0"
    result = cli.run("doctor", **(BARE | {"STOCKADE_REDIS_URL": url}))
    assert result.exit_code == 0
    assert "durability       no server answers" in result.stdout
    assert "s3cret" not in result.output


def test_a_cgroup_can_be_named(cli: CommandLine, tmp_path: Path) -> None:
    result = cli.run("doctor", "--cgroup", str(tmp_path), **BARE)
    assert f"{tmp_path} is no cgroup v2 directory" in result.stdout


def test_a_terminal_gets_a_table_without_what_would_act_on_it() -> None:
    hostile = WallReport(Wall.KERNEL, WallState.WEAK, "Linux \x1b[2J6", "old", "renew [it]")
    missing = WallReport(Wall.SECCOMP, WallState.MISSING, "refused", "none", "allow it")
    standing = WallReport(Wall.PIDFD, WallState.OK, "there", "good")
    required, advisories = frozenset({Wall.SECCOMP}), load_advisories().advisory
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=True, width=100, color_system="standard")
    reports = (missing, hostile, standing)
    print_table(console, Findings(reports, required, (Wall.SECCOMP,), advisories))
    text = shown.getvalue()
    assert "\x1b[2J" not in text
    assert r"\x1b[2J" in text
    assert "renew [it]" in text
    assert "seccomp *" in text
    assert "A guest can reach it" in text
    assert "No guest reaches it" in text
    assert "Missing of these: seccomp." in text


def test_a_real_terminal_gets_the_table() -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "stockade.cli.main", "doctor"]
    with (
        os.fdopen(ours, "rb") as terminal,
        subprocess.Popen(command, stdout=theirs, stdin=theirs, env=os.environ | TERMINAL) as run,  # noqa: TID251 - a child's
    ):
        os.close(theirs)
        shown = b""
        with suppress(OSError):
            while more := terminal.read1():
                shown += more
    assert run.returncode == 0
    assert b"what was seen, what it means, what to do" in shown
    assert b"\x1b[32mok" in shown


def test_help_of_doctor_loads_nothing_heavy() -> None:
    program = (
        "import sys; from stockade.cli import main\n"
        "try: main.app(['doctor', '--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'redis', 'msgspec', 'structlog', 'wasmtime', 'sqlalchemy'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or None)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
