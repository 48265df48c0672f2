"""Schedules through the running service: they fire real runs, until they are paused."""

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator

import httpx
import pytest

from stockade_client import Client, Every, Schedule
from tests.e2e.service import Service
from tests.guest import guests

PATIENCE_SECONDS = 30.0


@pytest.fixture
def client(service: Service) -> Iterator[Client]:
    key = service.http.headers["Authorization"].removeprefix("Bearer ")
    with Client(service.url, key, transport=httpx.HTTPTransport()) as made:
        yield made


async def until(client: Client, name: str, seen: Callable[[Schedule], bool]) -> Schedule:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not seen(found := client.schedule(name)):
            await asyncio.sleep(0.02)
    return found


async def test_an_interval_of_a_second_fires_runs_until_it_is_paused(
    service: Service, client: Client
) -> None:
    service.deploy("scheduled", guests.ECHO)
    made = client.put_schedule("every-second", "scheduled", Every(1), b"tick")
    assert len(made.next_times) == 5
    runs: dict[int, str] = {}
    while len(runs) < 3:
        fired = await until(client, "every-second", lambda one: one.last_ms not in {None, *runs})
        assert fired.last_ms is not None
        assert fired.last_invocation is not None
        runs[fired.last_ms] = fired.last_invocation
    assert {(time_ms - made.created_ms) % 1000 for time_ms in runs} == {0}
    for invocation_id in runs.values():
        record = client.wait(invocation_id, PATIENCE_SECONDS)
        assert (record.function, record.outcome) == ("scheduled", "completed")
        assert client.result(invocation_id) == b"tick"

    paused = client.pause_schedule("every-second")
    assert (paused.paused, paused.next_times) == (True, ())
    # One that fires all the while says when two more of its times have passed.
    client.put_schedule("witness", "scheduled", Every(1))
    witness = await until(client, "witness", lambda one: one.last_ms is not None)
    await until(client, "witness", lambda one: (one.last_ms or 0) >= (witness.last_ms or 0) + 2000)
    still = client.schedule("every-second")
    # The firing that was under way when it was paused may have ended after the answer.
    assert (still.last_ms or 0) - (paused.last_ms or 0) in {0, 1000}
    assert client.schedule("every-second") == still

    resumed = client.resume_schedule("every-second")
    again = await until(client, "every-second", lambda one: one.last_ms != still.last_ms)
    assert again.last_ms == resumed.next_ms
    for name in ("every-second", "witness"):
        client.delete_schedule(name)
    assert client.schedules() == ()


def test_the_command_line_sets_and_shows_one(service: Service) -> None:
    service.deploy("scheduled", guests.ECHO)
    key_file = service.data_dir / "dev-api-key"

    def stockade(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "stockade.cli.main", "schedules", *words]
        where = ["--url", service.url, "--api-key-file", str(key_file)]
        return subprocess.run([*command, *where], capture_output=True, text=True, check=False)

    words = ("--cron", "30 2 * * *", "--zone", "Australia/Lord_Howe", "--data", "hi")
    done = stockade("set", "nightly", "scheduled", *words)
    assert done.returncode == 0, done.stderr
    shown = stockade("show", "nightly").stdout
    assert shown.count("T02:30:00+1") == 5
    assert "nightly" in stockade("list").stdout
    assert stockade("pause", "nightly").returncode == 0
    assert "paused" in stockade("list").stdout
    assert stockade("delete", "nightly").returncode == 0
    assert "[schedule.not_found]" in stockade("show", "nightly").stderr
