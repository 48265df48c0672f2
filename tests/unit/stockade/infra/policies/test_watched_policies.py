"""Policies follow their files; what cannot be used is not, and an alarm says so."""

import asyncio
import os
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from stockade.core.actions import Action
from stockade.core.errors import StockadeError
from stockade.core.policy_questions import SAMPLE_VOUCHING, every_question
from stockade.infra.policies.policy_text import SCHEMA_FILE
from stockade.infra.policies.watched_files import following
from stockade.infra.policies.watched_policies import WatchedPolicies, policy_files, watched_policies
from tests.unit.stockade.infra.policies.policy_files import PERMIT_ALL, SCHEMA, policies_in, policy

ASKED = next(every_question())
FORBID = policy("true", "closed").replace("permit", "forbid")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return policies_in(tmp_path / "p", a=PERMIT_ALL, b=policy("true", "b"))


class Policies(WatchedPolicies):
    """With the hand on what follows the files."""

    def __init__(self, directory: Path) -> None:
        self.files = policy_files(directory)
        super().__init__(self.files)


def settle(policies: Policies) -> list[str]:
    """Looks until a change is at rest; the events that were logged."""
    with capture_logs() as logs:
        policies.files.refresh()
        policies.files.refresh()
    return [log["event"] for log in logs]


def test_nothing_starts_without_sound_policies(tmp_path: Path) -> None:
    for directory in (tmp_path / "none", policies_in(tmp_path / "p", a="permit")):
        with pytest.raises(StockadeError) as caught:
            Policies(directory)
        assert caught.value.code == "config.policies_invalid"


def test_a_change_is_taken_once_it_is_at_rest(directory: Path) -> None:
    policies = Policies(directory)
    version = policies.version
    assert (settle(policies), policies.decide(ASKED).allowed) == ([], True)
    (directory / "c.cedar").write_text(FORBID)
    policies.files.refresh()
    assert (policies.version, policies.decide(ASKED).allowed) == (version, True)
    assert settle(policies) == ["changed_files_taken"]
    assert policies.version != version
    assert policies.decide(ASKED).policies == ("closed",)
    assert not policies.vouches(SAMPLE_VOUCHING).allowed
    (directory / "c.cedar").unlink()
    assert settle(policies) == ["changed_files_taken"]
    assert (policies.version, policies.decide(ASKED).allowed) == (version, True)


def test_a_file_that_is_just_being_written_is_not_taken(directory: Path) -> None:
    """Each state is sound by itself, and the last line is the one that forbids."""
    policies = Policies(directory)
    text = "".join(policy("true", f"c{number}") for number in range(20)) + FORBID
    with (directory / "c.cedar").open("w") as file:
        for line in text.splitlines(keepends=True):
            file.write(line)
            file.flush()
            version = policies.version
            policies.files.refresh()
            assert policies.version == version
    policies.files.refresh()
    policies.files.refresh()
    assert policies.decide(ASKED).policies == ("closed",)


@pytest.mark.parametrize("broken", ["permit", "", '@id("a") permit (principal, action, resou'])
def test_a_broken_change_keeps_the_last_good_and_alarms_once(directory: Path, broken: str) -> None:
    policies = Policies(directory)
    version, good = policies.version, (directory / "a.cedar").read_text()
    assert policies.alarm is None
    (directory / "a.cedar").write_text(broken)
    assert settle(policies) == ["changed_files_refused"]
    assert (policies.version, policies.decide(ASKED).allowed) == (version, True)
    assert "a.cedar" in str(policies.alarm)
    assert settle(policies) == []
    (directory / "a.cedar").write_text(broken + "x")
    assert settle(policies) == ["changed_files_refused"]
    (directory / "a.cedar").write_text(good)
    assert settle(policies) == ["changed_files_taken"]
    assert (policies.version, policies.alarm) == (version, None)


def test_files_that_are_gone_keep_the_last_good(directory: Path, tmp_path: Path) -> None:
    policies = Policies(directory)
    directory.rename(tmp_path / "away")
    assert settle(policies) == ["changed_files_refused"]
    assert "No such file" in str(policies.alarm)
    assert policies.decide(ASKED).allowed
    (tmp_path / "away").rename(directory)
    assert settle(policies) == ["changed_files_taken"]
    assert policies.alarm is None


def test_a_schema_that_does_not_fit_keeps_the_last_good(directory: Path) -> None:
    policies = Policies(directory)
    (directory / SCHEMA_FILE).write_text(SCHEMA.replace("action vouch", "action voucher"))
    assert settle(policies) == ["changed_files_refused"]
    assert "does not fit this release" in str(policies.alarm)


def test_a_change_of_equal_size_and_time_is_seen(directory: Path) -> None:
    policies = Policies(directory)
    path = directory / "b.cedar"
    before = path.stat()
    path.write_text(path.read_text().replace("true", "1==1"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert settle(policies) == ["changed_files_taken"]


def test_a_directory_that_is_swapped_by_a_link_is_followed(tmp_path: Path) -> None:
    old = policies_in(tmp_path / "old", a=PERMIT_ALL)
    new = policies_in(tmp_path / "new", a=PERMIT_ALL, b=FORBID)
    (tmp_path / "current").symlink_to(old)
    policies = Policies(tmp_path / "current")
    (tmp_path / "next").symlink_to(new)
    (tmp_path / "next").rename(tmp_path / "current")
    settle(policies)
    assert not policies.decide(ASKED).allowed


async def test_the_watch_takes_changes_until_it_ends(directory: Path) -> None:
    async with watched_policies(directory, 0.001) as policies:
        (directory / "c.cedar").write_text(FORBID)
        async with asyncio.timeout(20):
            while policies.decide(ASKED).allowed:
                await asyncio.sleep(0.001)
    assert policies.alarm is None


async def test_the_watch_outlives_what_nobody_thought_of(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = policy_files(directory)
    policies = WatchedPolicies(files)
    async with following(files, 0.001):
        monkeypatch.setattr(files, "refresh", lambda: 1 / 0)
        async with asyncio.timeout(20):
            while policies.alarm is None:
                await asyncio.sleep(0.001)
        monkeypatch.undo()
        async with asyncio.timeout(20):
            while policies.alarm is not None:
                await asyncio.sleep(0.001)


def test_a_policy_that_fails_is_logged_by_name(directory: Path) -> None:
    condition = "context.fuel * 9223372036854775807 > 0"
    text = policy(condition, "broken", 'principal, action == Action::"deploy", resource')
    (directory / "c.cedar").write_text(text.replace("permit", "forbid"))
    policies = Policies(directory)
    (asked, *_) = (one for one in every_question() if one.action is Action.DEPLOY)
    with capture_logs() as logs:
        assert policies.decide(asked).failed
        assert policies.decide(ASKED).allowed
    (log,) = logs
    assert (log["event"], log["log_level"]) == ("policy_failed", "error")
    assert (log["action"], log["policies"]) == ("deploy", ("broken",))
    assert "integer overflow" in log["reason"]
