from pathlib import Path
from typing import Literal

import pytest

from stockade.core.walls import WallState
from stockade.infra.host_walls.durability import judge_durability, judge_settings
from stockade.infra.redis.embedded_valkey import EmbeddedValkey
from stockade.infra.redis.redis_connection import RedisConnections

OK, WEAK, MISSING = WallState.OK, WallState.WEAK, WallState.MISSING


@pytest.mark.parametrize(("fsync", "state"), [("always", OK), ("everysec", WEAK)])
async def test_a_real_server_is_asked(
    tmp_path: Path, fsync: Literal["always", "everysec"], state: WallState
) -> None:
    server = EmbeddedValkey(tmp_path, fsync=fsync)
    await server.start()
    try:
        report = await judge_durability(server.url)
        assert (report.state, report.readings["appendfsync"]) == (state, fsync)
        connections = RedisConnections(server.url)
        await connections.call("CONFIG", "SET", "appendonly", "no")
        assert (await judge_durability(server.url)).state is MISSING
        await connections.call("ACL", "SETUSER", "default", "-config")
        untold = await judge_durability(server.url)
        assert (untold.state, untold.readings) == (WEAK, {})
        await connections.close()
    finally:
        await server.stop()


@pytest.mark.parametrize(
    ("settings", "state"),
    [
        ("yes always noeviction", OK),
        ("yes everysec noeviction", WEAK),
        ("no always noeviction", MISSING),
        ("yes always allkeys-lru", MISSING),
    ],
)
def test_settings_of_the_queue_are_judged(settings: str, state: WallState) -> None:
    names = ("appendonly", "appendfsync", "maxmemory-policy")
    told = dict(zip(names, settings.split(), strict=True))
    assert judge_settings(told)[0] is state


def test_a_queue_that_does_not_tell_is_weak() -> None:
    assert judge_settings({})[0] is WEAK


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1/0", "nonsense"])
async def test_a_queue_that_does_not_answer_is_missing(url: str) -> None:
    report = await judge_durability(url)
    assert (report.state, report.readings) == (MISSING, {})
