"""The processes under `stockade dev`, each by itself."""

import asyncio
import fcntl
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from stockade.cli.dev.child import Child
from stockade.cli.dev.data_dir import free_port
from stockade.cli.dev.readiness import WorkerPresence
from stockade.cli.dev.store import KeptValkey
from stockade.core.errors import StockadeError

PATIENCE_SECONDS = 30.0


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.fixture
async def stored(tmp_path: Path) -> AsyncIterator[KeptValkey]:
    valkey = KeptValkey(tmp_path / "valkey", "everysec")
    yield valkey
    await valkey.stop()


async def answers(valkey: KeptValkey) -> bool:
    workers = WorkerPresence(valkey.url)
    try:
        await workers.look_before_start()
    except StockadeError:
        return False
    finally:
        await workers.aclose()
    return True


async def test_a_port_that_was_just_taken_is_given_up(tmp_path: Path) -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        taken = busy.getsockname()[1]
        ports = iter((taken, taken, free_port()))
        valkey = KeptValkey(tmp_path / "valkey", "everysec", lambda: next(ports))
        await valkey.start()
        assert str(taken) not in valkey.url.rpartition("@")[2]
        await valkey.stop()


async def test_ports_are_not_tried_for_ever(tmp_path: Path) -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        taken = busy.getsockname()[1]
        valkey = KeptValkey(tmp_path / "valkey", "everysec", lambda: taken)
        with pytest.raises(StockadeError) as caught:
            await valkey.start()
    assert caught.value.code == "queue.port_busy"


async def test_an_orphan_is_waited_for(tmp_path: Path, stored: KeptValkey) -> None:
    (tmp_path / "valkey").mkdir()
    with (tmp_path / "valkey" / "valkey.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        starting = asyncio.ensure_future(stored.start())
        await asyncio.sleep(0.2)
        assert not starting.done()
    await starting
    assert await answers(stored)


async def test_it_comes_back_at_the_same_address(stored: KeptValkey) -> None:
    await stored.start()
    url, keeping = stored.url, asyncio.ensure_future(stored.keep())
    first = stored._server.pid
    os.kill(first, signal.SIGKILL)
    await until(lambda: _pid(stored) not in {None, first})
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await answers(stored):
            await asyncio.sleep(0.01)
    assert stored.url == url
    keeping.cancel()
    await asyncio.wait([keeping])


async def test_a_kill_is_no_death_to_recover_from(stored: KeptValkey) -> None:
    await stored.start()
    keeping = asyncio.ensure_future(stored.keep())
    await asyncio.sleep(0)
    stored.kill()
    await keeping
    await stored.stop()
    stored.kill()


def _pid(stored: KeptValkey) -> int | None:
    try:
        return stored._server.pid
    except RuntimeError:
        return None


async def test_a_child_that_does_not_stop_is_killed(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    script = f"trap '' TERM; touch {ready}; while :; do sleep 1; done"
    child = Child("stubborn", ("sh", "-c", script), {}, 0.1)
    keeping = asyncio.ensure_future(child.keep())
    await until(ready.exists)
    await child.stop()
    await keeping
    await child.stop()


async def test_a_proven_child_is_started_for_ever(tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    child = Child("fragile", ("sh", "-c", f"echo >> {starts}; exit 7"), {}, 1)
    child.proven = True
    keeping = asyncio.ensure_future(child.keep())
    await until(lambda: starts.exists() and len(starts.read_text()) >= 3)
    await child.stop()
    await keeping


async def test_a_child_gets_its_settings_and_not_the_users_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = tmp_path / "seen"
    monkeypatch.setenv("STOCKADE_API_KEY", "stk_secret")
    command = ("sh", "-c", f"env > {seen}.new; mv {seen}.new {seen}; exec sleep 60")
    child = Child("curious", command, {"STOCKADE_CAPACITY": "3"}, 1)
    keeping = asyncio.ensure_future(child.keep())
    await until(seen.exists)
    await child.stop()
    await keeping
    assert "STOCKADE_CAPACITY=3" in seen.read_text()
    assert "stk_secret" not in seen.read_text()
