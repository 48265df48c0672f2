"""The operator's trust policy: read whole or not at all, and followed while it changes."""

import asyncio
import os
from pathlib import Path

import pytest

from stockade.core.digests import digest_of
from stockade.core.errors import StockadeError
from stockade.core.trust import OnDistrust, TrustPolicy
from stockade.infra.policies.watched_files import WatchedFiles
from stockade.infra.policies.watched_trust import trust_file, watched_trust_rules

SHIPPED = Path(__file__).parents[5] / "policies" / "trust.toml"
DIGEST = digest_of(b"module")
EMPTY = 'running = "finish"\n[tenants]\n[denied]\n'
DENYING = (
    f'running = "kill"\n[tenants]\nacme = "finish"\n[denied]\n"{DIGEST}" = "It mines coins."\n'
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "trust.toml"
    made.write_text(EMPTY, encoding="utf-8")
    return made


def change(path: Path, text: str) -> None:
    """Writes it aside and renames it, as tools that spread settings do."""
    aside = path.with_suffix(".new")
    aside.write_text(text, encoding="utf-8")
    aside.rename(path)


def test_the_shipped_policy_denies_nothing_and_ends_runs() -> None:
    assert trust_file(SHIPPED).current == TrustPolicy()


def test_a_policy_says_what_is_denied_and_what_becomes_of_runs(path: Path) -> None:
    path.write_text(DENYING, encoding="utf-8")
    policy = trust_file(path).current
    assert policy.denied == {DIGEST: "It mines coins."}
    assert policy.on_distrust("acme") is OnDistrust.FINISH
    assert policy.on_distrust("rival") is OnDistrust.KILL


@pytest.mark.parametrize(
    "text",
    [
        "",
        "running = ",
        'running = "kill"\n[tenants]\n',
        EMPTY.replace("finish", "maybe"),
        EMPTY + "[more]\n",
        EMPTY + f'"{DIGEST.upper()}" = "reason"\n',
        EMPTY + f'"{DIGEST[:-1]}" = "reason"\n',
        EMPTY + f'"{DIGEST.removeprefix("sha256:")}" = "reason"\n',
        EMPTY + f'"{DIGEST}" = " "\n',
        EMPTY + f'"{DIGEST}" = "two\\nlines"\n',
        EMPTY + f'"{DIGEST}" = "\\u001b[2J"\n',
        EMPTY + f'"{DIGEST}" = "{"x" * 501}"\n',
        EMPTY + f'"{DIGEST}" = 1\n',
        "running = " + "[" * 100_000,
    ],
)
def test_a_policy_that_cannot_be_read_stops_the_start(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    with pytest.raises(StockadeError) as refused:
        trust_file(path)
    assert refused.value.code == "config.trust_invalid"


@pytest.mark.parametrize("fault", ["absent", "not UTF-8", "huge"])
def test_a_file_that_cannot_be_read_stops_the_start(path: Path, fault: str) -> None:
    path.write_bytes(b"\xff")
    if fault == "absent":
        path.unlink()
    if fault == "huge":
        os.truncate(path, 17 * 1024 * 1024)
    with pytest.raises(StockadeError, match=r"^config\.trust_invalid"):
        trust_file(path)


def settle(rules: WatchedFiles[TrustPolicy]) -> None:
    """A change counts once two looks find the same."""
    rules.refresh()
    rules.refresh()


def test_a_change_is_in_force_and_a_broken_one_is_not(path: Path) -> None:
    rules = trust_file(path)
    change(path, DENYING)
    settle(rules)
    assert (rules.current.denied, rules.alarm) == ({DIGEST: "It mines coins."}, None)
    change(path, "broken")
    settle(rules)
    assert rules.current.denied == {DIGEST: "It mines coins."}
    assert rules.alarm is not None
    path.unlink()
    settle(rules)
    assert rules.current.denied == {DIGEST: "It mines coins."}
    assert rules.alarm is not None
    change(path, EMPTY)
    settle(rules)
    assert (rules.current.denied, rules.alarm) == ({}, None)


async def test_rules_follow_their_file(path: Path) -> None:
    async with watched_trust_rules(path) as rules:
        change(path, DENYING)
        await _until_denied(rules)
    assert rules.current.denied


async def _until_denied(rules: WatchedFiles[TrustPolicy]) -> None:

    async with asyncio.timeout(20):
        while not rules.current.denied:
            await asyncio.sleep(0.01)
