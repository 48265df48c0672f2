"""How the walls of a host are judged; that they are really tried is tests/security's."""

import os
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from stockade.core.errors import StockadeError
from stockade.core.walls import REQUIRABLE, Wall, WallState, parse_walls
from stockade.infra.host_walls import remedies
from stockade.infra.host_walls.cgroup import judge_cgroup, own_cgroup
from stockade.infra.host_walls.host_facts import judge_kernel, judge_processor
from stockade.infra.host_walls.probing import PROBED, probe_walls
from stockade.infra.host_walls.survey import require_walls, survey_walls
from stockade.infra.host_walls.verdicts import judge

ROOT = Path(__file__).parents[4]
POLICY = ROOT / "policies" / "seccomp" / "guest.toml"
OK, WEAK, MISSING = WallState.OK, WallState.WEAK, WallState.MISSING
LANDLOCK = {
    "network_before": "ok",
    "version": "6",
    "files": "EACCES",
    "network": "EACCES",
    "signals": "EPERM",
    "end": "0",
}
RLIMITS = {
    "file": "EFBIG",
    "data": "ENOMEM",
    "descriptors": "EMFILE",
    "processes": "EAGAIN",
    "end": "0",
    "core": "SIGSYS",
}
SECCOMP = {"policy": "ok", "no_new_privs": "ok", "install": "ok", "end": "SIGSYS"}
JAIL = {"close_files": "ok", "enter": "ok", "end": "SIGSYS", "kill": "ok"}
NOBODY = {"user": "0", "drop": "ok", "return": "EPERM", "end": "0"}


def test_every_requirable_wall_of_this_host_is_surveyed_in_order() -> None:
    reports = survey_walls(POLICY, REQUIRABLE)
    assert tuple(report.wall for report in reports) == REQUIRABLE
    assert all(report.finding and report.meaning for report in reports)
    assert all((report.remedy is None) is (report.state is OK) for report in reports)


def test_only_what_was_asked_for_is_surveyed() -> None:
    (report,) = survey_walls(POLICY, {Wall.KERNEL})
    assert report.wall is Wall.KERNEL


@pytest.mark.parametrize(
    ("wall", "readings", "state", "finding"),
    [
        (Wall.SECCOMP, SECCOMP, OK, "killed its process"),
        (Wall.SECCOMP, SECCOMP | {"end": "0", "forbidden_call": "ok"}, MISSING, "stops nothing"),
        (Wall.SECCOMP, SECCOMP | {"install": "EPERM", "end": "0"}, MISSING, "(EPERM)"),
        (Wall.SECCOMP, {"policy": "ok", "no_new_privs": "EINVAL", "end": "0"}, MISSING, "EINVAL"),
        (Wall.SECCOMP, {"policy": "ok", "end": "timeout"}, MISSING, "ended with timeout"),
        (Wall.SECCOMP, {"policy": "malformed"}, MISSING, "cannot be used (malformed)"),
        (Wall.SECCOMP, {"probe": "EAGAIN"}, MISSING, "not even be tried (EAGAIN)"),
        (Wall.NO_NEW_PRIVS, {"set": "ok", "reads": "1", "end": "0"}, OK, "reads as set"),
        (Wall.NO_NEW_PRIVS, {"set": "ok", "reads": "0", "end": "0"}, MISSING, "cannot be set"),
        (Wall.NO_NEW_PRIVS, {"set": "EINVAL", "end": "0"}, MISSING, "EINVAL"),
        (Wall.RLIMITS, RLIMITS, OK, "stop at their bounds"),
        (Wall.RLIMITS, RLIMITS | {"core": "SIGSYS+core"}, WEAK, "on: core"),
        (Wall.RLIMITS, RLIMITS | {"data": "ok"}, MISSING, "on: data"),
        (Wall.RLIMITS, {"end": "1"}, MISSING, "data, file"),
        (Wall.PIDFD, {"open": "ok", "signal": "ok"}, OK, "signalled"),
        (Wall.PIDFD, {"open": "ok", "signal": "EPERM"}, MISSING, "EPERM"),
        (Wall.PIDFD, {"open": "ENOSYS"}, MISSING, "ENOSYS"),
        (Wall.JAIL, JAIL, OK, "whole jail"),
        (Wall.JAIL, JAIL | {"end": "0"}, MISSING, "still make a forbidden call"),
        (Wall.JAIL, JAIL | {"kill": "EPERM"}, MISSING, "cannot be killed at its deadline (EPERM)"),
        (Wall.JAIL, JAIL | {"enter": "EPERM"}, MISSING, "cannot enter the jail (EPERM)"),
        (Wall.JAIL, {"close_files": "EINVAL", "end": "0"}, MISSING, "EINVAL"),
        (Wall.LANDLOCK, LANDLOCK, OK, "version 6"),
        (Wall.LANDLOCK, LANDLOCK | {"version": "99"}, OK, "version 99"),
        (Wall.LANDLOCK, LANDLOCK | {"version": "0"}, MISSING, "has none"),
        (Wall.LANDLOCK, LANDLOCK | {"version": "E2BIG"}, MISSING, "has none"),
        (Wall.LANDLOCK, {"no_new_privs": "EINVAL", "end": "1"}, MISSING, "has none"),
        (Wall.LANDLOCK, LANDLOCK | {"files": "ok"}, MISSING, "can still be opened"),
        (Wall.LANDLOCK, LANDLOCK | {"version": "1", "network": "ok"}, WEAK, "not yet TCP"),
        (Wall.LANDLOCK, LANDLOCK | {"network": "ok"}, WEAK, "lets a port be bound"),
        (Wall.LANDLOCK, LANDLOCK | {"version": "4", "signals": "ok"}, WEAK, "not yet signals"),
        (Wall.LANDLOCK, LANDLOCK | {"signals": "ok"}, WEAK, "lets signals through"),
        (Wall.LANDLOCK, LANDLOCK | {"network_before": "ENETDOWN", "network": "ENETDOWN"}, OK, "6"),
        (Wall.NOBODY, NOBODY, OK, "could not become root again"),
        (Wall.NOBODY, NOBODY | {"return": "ok"}, MISSING, "could become root again"),
        (Wall.NOBODY, {"user": "0", "drop": "EPERM"}, MISSING, "may not become nobody"),
        (Wall.NOBODY, {"user": "1000"}, MISSING, "user 1000"),
        (Wall.NOBODY, {"end": "timeout"}, MISSING, "user unknown"),
        (Wall.USER_NAMESPACES, {"make": "ok"}, OK, "can make one"),
        (Wall.USER_NAMESPACES, {"make": "EPERM"}, MISSING, "EPERM"),
        (Wall.ASLR, {"places": "3"}, OK, "elsewhere at every start"),
        (Wall.ASLR, {"places": "1"}, MISSING, "at the same place"),
        (Wall.ASLR, {"places": "0"}, MISSING, "no program could be started"),
        (Wall.PROC, {"mounted": "ok", "first_process": "ENOENT"}, OK, "does not see"),
        (Wall.PROC, {"mounted": "ok", "first_process": "ok"}, WEAK, "sees the processes"),
        (Wall.PROC, {"mounted": "ENOENT", "first_process": "ENOENT"}, WEAK, "cannot be read"),
    ],
)
def test_notes_are_judged(
    wall: Wall, readings: dict[str, str], state: WallState, finding: str
) -> None:
    report = judge(wall, readings)
    assert (report.wall, report.state, report.readings) == (wall, state, readings)
    assert finding in report.finding
    assert (report.remedy is None) is (state is OK)


def test_notes_that_say_nothing_are_never_taken_for_a_wall() -> None:
    for wall in PROBED:
        for end in ("0", "1", "SIGKILL", "timeout"):
            assert judge(wall, {"policy": "ok", "end": end}).state is not OK


def test_every_wall_has_words_for_each_state() -> None:
    for wall in Wall:
        meaning, remedy = remedies.words(wall, OK)
        assert meaning
        assert remedy is None
        for state in (WEAK, MISSING):
            assert all(remedies.words(wall, state))


@pytest.mark.parametrize(
    ("content", "problem"),
    [("[allow]\nread = 1\n", "malformed"), ("allow = [", "malformed"), (None, "ENOENT")],
)
def test_a_policy_that_cannot_be_used_is_a_missing_wall(
    tmp_path: Path, content: str | None, problem: str
) -> None:
    policy = tmp_path / "guest.toml"
    if content is not None:
        policy.write_text(content)
    found = probe_walls(policy, {Wall.SECCOMP, Wall.JAIL})
    assert found[Wall.SECCOMP] == {"policy": problem}
    assert judge(Wall.JAIL, found[Wall.JAIL]).state is MISSING


@pytest.mark.parametrize("python", ["/bin/false", "/bin/echo", "/nowhere/python", "/bin/true"])
def test_a_probe_that_fails_is_an_error_and_no_verdict(python: str) -> None:
    with pytest.raises(StockadeError) as failed:
        probe_walls(POLICY, {Wall.SECCOMP}, python)
    assert failed.value.code == "jail.probe_failed"


def test_walls_that_stand_let_a_process_start_and_others_are_logged() -> None:
    with capture_logs() as logged:
        require_walls(POLICY, parse_walls("seccomp"))
    assert all(line["event"] == "wall_not_whole" and not line["required"] for line in logged)


def test_a_missing_wall_is_logged_and_stops_a_process(tmp_path: Path) -> None:
    with capture_logs() as logged, pytest.raises(StockadeError) as refused:
        require_walls(tmp_path / "no-policy.toml", parse_walls("seccomp"))
    assert refused.value.code == "jail.wall_missing"
    assert refused.value.detail["walls"] == ["seccomp", "jail"]
    assert {(line["wall"], line["state"]) for line in logged if line["required"]} == {
        ("seccomp", "missing"),
        ("jail", "missing"),
    }


@pytest.mark.parametrize(
    ("release", "state"),
    [
        ("6.12.0-amd64", OK),
        ("5.13.0", OK),
        ("10.1", OK),
        ("5.10.0-28", WEAK),
        ("5.2.1", MISSING),
        ("4.4.0", MISSING),
        ("mystery", WEAK),
    ],
)
def test_kernels_are_judged_by_age(release: str, state: WallState) -> None:
    assert judge_kernel(release).state is state


def test_processors_are_judged_by_kind_and_by_what_the_kernel_leaves_open(tmp_path: Path) -> None:
    (tmp_path / "spectre_v2").write_text("Mitigation: Enhanced IBRS\n")
    assert judge_processor("x86_64", tmp_path).state is OK
    (tmp_path / "mds").write_text("Vulnerable: Clear CPU buffers attempted\n")
    report = judge_processor("aarch64", tmp_path)
    assert (report.state, report.finding) == (WEAK, "aarch64, open to: mds")
    assert judge_processor("riscv64", tmp_path).state is MISSING
    unknown = judge_processor("x86_64", tmp_path / "nowhere")
    assert (unknown.state, "does not tell" in unknown.finding) == (OK, True)


MOUNTS = (
    "23 1 0:20 / /proc rw - proc proc rw\n"
    "30 23 0:26 /{root} /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw\n"
)


@pytest.mark.parametrize(
    ("own", "root", "found"),
    [
        ("0::/system.slice/worker\n", "", "/sys/fs/cgroup/system.slice/worker"),
        ("4:memory:/a\n0::/b\n", "", "/sys/fs/cgroup/b"),
        ("0::/docker/1/a\n", "docker/1", "/sys/fs/cgroup/a"),
        ("0::/../elsewhere\n", "docker/1", None),
        ("4:memory:/a\n", "", None),
    ],
)
def test_the_own_cgroup_is_found_below_its_mount(
    tmp_path: Path, own: str, root: str, found: str | None
) -> None:
    (tmp_path / "cgroup").write_text(own)
    (tmp_path / "mountinfo").write_text(MOUNTS.format(root=root))
    place = own_cgroup(tmp_path / "cgroup", tmp_path / "mountinfo")
    assert place == (Path(found) if found else None)
    assert own_cgroup(tmp_path / "cgroup", tmp_path / "nowhere") is None


def test_a_cgroup_without_what_it_takes_is_missing_and_nothing_is_left_behind(
    tmp_path: Path,
) -> None:
    assert "no cgroup v2 directory" in judge_cgroup(tmp_path).finding
    controllers = tmp_path / "cgroup.controllers"
    controllers.write_text("cpu pids\n")
    assert "no memory controller" in judge_cgroup(tmp_path).finding
    controllers.write_text("cpu memory pids\n")
    report = judge_cgroup(tmp_path)
    assert (report.state, "does not hand" in report.finding) == (MISSING, True)
    assert list(tmp_path.iterdir()) == [controllers]


@pytest.mark.parametrize(
    ("mounts", "finding"),
    [
        ("32 31 0:29 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n", "only cgroup v1"),
        ("23 1 0:20 / /proc rw - proc proc rw\n", "no cgroups are mounted"),
        (None, "cannot be looked at"),
    ],
)
def test_a_host_without_unified_cgroups_is_told_what_it_has(
    tmp_path: Path, mounts: str | None, finding: str
) -> None:
    if mounts is not None:
        (tmp_path / "mountinfo").write_text(mounts)
    report = judge_cgroup(None, tmp_path / "cgroup", tmp_path / "mountinfo")
    assert (report.state, finding in report.finding) == (MISSING, True)


def test_a_cgroup_that_cannot_be_made_is_missing(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("memory\n")
    (tmp_path / f"stockade-doctor-{os.getpid()}").touch()
    assert "no bounded cgroup can be made" in judge_cgroup(tmp_path).finding


def test_a_cgroup_with_a_memory_controller_is_bounded_and_removed() -> None:
    place = own_cgroup()
    handed_on = place / "cgroup.subtree_control" if place else None
    if place is None or handed_on is None or "memory" not in handed_on.read_text().split():
        pytest.skip("this host hands no memory controller of cgroup v2 to the tests")
    report = judge_cgroup(place)
    assert report.state is OK, report.finding
    assert not (place / f"stockade-doctor-{os.getpid()}").exists()


def test_a_cgroup_that_may_not_be_written_is_missing() -> None:
    report = judge_cgroup(Path("/proc/self"))
    assert report.state is MISSING
