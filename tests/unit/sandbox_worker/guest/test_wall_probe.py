"""The probe's own process, here this one; what it forks is tried in tests/security."""

import errno
import json
import os
import signal
from pathlib import Path

import pytest

from sandbox_worker.guest import wall_probe
from sandbox_worker.guest.trial import Trial, tried

POLICY = Path(__file__).parents[4] / "policies" / "seccomp" / "guest.toml"


def test_a_trial_tells_its_notes_and_its_end() -> None:
    def attempt(trial: Trial) -> None:
        assert trial.step("works", lambda: None)
        assert not trial.step("fails", lambda: os.open("/nowhere", os.O_RDONLY))
        trial.note("said", "a=b")

    assert tried(attempt) == {"works": "ok", "fails": "ENOENT", "said": "a=b", "end": "0"}


def test_what_was_noted_before_a_trial_is_killed_is_kept() -> None:
    def attempt(trial: Trial) -> None:
        trial.note("first", "ok")
        os.kill(os.getpid(), signal.SIGKILL)

    assert tried(attempt) == {"first": "ok", "end": "SIGKILL"}


def test_a_trial_that_raises_ends_with_1_and_runs_nothing_of_its_parents() -> None:
    def attempt(_trial: Trial) -> None:
        raise ValueError("unexpected")

    assert tried(attempt) == {"end": "1"}


def test_a_trial_that_hangs_is_killed_and_reaped() -> None:
    def attempt(trial: Trial) -> None:
        trial.note("hangs", str(os.getpid()))
        signal.pause()

    notes = tried(attempt, patience_seconds=0.2)
    assert notes["end"] == "timeout"
    with pytest.raises(ProcessLookupError):
        os.kill(int(notes["hangs"]), 0)


def test_a_trial_leaves_no_descriptor_behind() -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        tried(lambda trial: trial.note("a", "b"))
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_all_walls_are_noted_as_one_json_document(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["wall_probe", str(POLICY), *wall_probe.PROBES])
    wall_probe.main()
    told = json.loads(capsys.readouterr().out)
    assert list(told) == list(wall_probe.PROBES)
    assert all(notes and "probe" not in notes for notes in told.values())


def test_a_host_that_gives_no_process_is_told_so_wall_by_wall(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["wall_probe", str(POLICY), "pidfd", "aslr", "seccomp"])
    with monkeypatch.context() as full:
        full.setattr(os, "fork", _refuse)
        wall_probe.main()
    told = json.loads(capsys.readouterr().out)
    assert told["pidfd"] == told["seccomp"] == {"probe": "EAGAIN"}


def _refuse() -> int:
    raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
