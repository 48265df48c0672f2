"""Whether the queue's server keeps what it acknowledged."""

from typing import Any

from stockade.core.errors import StockadeError
from stockade.core.walls import Wall, WallReport, WallState
from stockade.infra.host_walls import remedies
from stockade.infra.redis.redis_connection import RedisConnections

_ASKED = ("appendonly", "appendfsync", "maxmemory-policy")


async def judge_durability(url: str) -> WallReport:
    """Asks a server for its settings; one that does not answer is missing."""
    told: dict[str, str] = {}
    try:
        told = await _asked(url)
        state, finding = judge_settings(told)
    except (StockadeError, ValueError):
        state, finding = WallState.MISSING, "no server answers at this URL"
    meaning, remedy = remedies.words(Wall.DURABILITY, state)
    return WallReport(Wall.DURABILITY, state, finding, meaning, remedy, told)


def judge_settings(told: dict[str, str]) -> tuple[WallState, str]:
    """What settings such as `appendfsync` come to; empty when the server does not tell."""
    shown = ", ".join(f"{name} {value}" for name, value in told.items())
    if not told:
        return WallState.WEAK, "the server does not tell its settings (a hosted one seldom does)"
    if told.get("appendonly") != "yes" or told.get("maxmemory-policy") != "noeviction":
        return WallState.MISSING, shown
    state = WallState.OK if told.get("appendfsync") == "always" else WallState.WEAK
    return state, shown


async def _asked(url: str) -> dict[str, str]:
    connections = RedisConnections(url)
    try:
        await connections.call("PING")
        return await _settings(connections)
    finally:
        await connections.close()


async def _settings(connections: RedisConnections) -> dict[str, str]:
    try:
        answers = [await connections.call("CONFIG", "GET", name) for name in _ASKED]
    except (StockadeError, RuntimeError):
        # CONFIG is often switched off or renamed; the server answered the PING before.
        return {}
    return dict(pair for answer in answers for pair in _pairs(answer))


def _pairs(answer: Any) -> list[tuple[str, str]]:  # noqa: ANN401 - any reply
    words = [bytes(word).decode(errors="replace") for word in answer]
    return list(zip(words[::2], words[1::2], strict=True))
