"""What a function with very many versions costs beside one with few: it should not matter."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from stockade.core.alias_weights import pick
from stockade.core.modules import Abi, FunctionContent
from stockade.infra.sql.sql_catalog import SqlCatalog

CONTENT = FunctionContent("sha256:" + "ab" * 32, Abi.STOCKADE_V1, deterministic=True)
FEW, MANY = "few", "many"
PAGE = 50
_TENANT = "acme"


async def version_seconds(
    folder: Path, versions: int, rounds: int
) -> dict[str, tuple[list[float], list[float]]]:
    """Seconds with many versions, and with as few as fill a page, by what was done."""
    catalog = await SqlCatalog.open(f"sqlite:///{folder / 'versions.db'}")
    await catalog.ensure_tenant(_TENANT)
    for name, count in ((FEW, PAGE), (MANY, versions)):
        for number in range(count):
            await _deploy(catalog, name, number)
    both: dict[str, tuple[list[float], list[float]]] = {}
    actions: dict[str, Callable[[str, int], Awaitable[object]]] = {
        "resolve the latest": lambda name, _: catalog.function_version(_TENANT, name, None),
        "resolve one by number": lambda name, _: catalog.function_version(_TENANT, name, PAGE // 2),
        "list a page of 50": lambda name, _: catalog.function_versions(_TENANT, name, PAGE),
        "deploy": lambda name, number: _deploy(catalog, name, versions + number),
    }
    for what, action in actions.items():
        few: list[float] = []
        many: list[float] = []
        for number in range(rounds):  # in turn, so that both meet the same machine
            few.append(await _taken(action(FEW, number)))
            many.append(await _taken(action(MANY, number)))
        both[what] = many, few
    await catalog.aclose()
    return both


def draw_seconds(rounds: int) -> list[float]:
    """Seconds for drawing one of two versions for an invocation's id."""
    taken = []
    for number in range(rounds):
        draw = f"01900000-0000-7000-8000-{number:012}"
        started = time.perf_counter()
        pick(((1, 95), (2, 5)), draw)
        taken.append(time.perf_counter() - started)
    return taken


async def _deploy(catalog: SqlCatalog, name: str, number: int) -> object:
    content = replace(CONTENT, env=(("NUMBER", str(number)),))
    return await catalog.put_function(_TENANT, name, content, number)


async def _taken(action: Awaitable[object]) -> float:
    started = time.perf_counter()
    await action
    return time.perf_counter() - started
