"""What it costs to find out who calls, and what to run: remembered, asked anew, among very many."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from secrets import token_bytes

from sqlalchemy import insert, text
from starlette.requests import Request

from bench import trust
from gateway.auth import Authenticator
from gateway.authorizer import Authorizer
from gateway.usecases.resolve_function import FunctionResolver
from sandbox_worker.module_loader import ModuleLoader
from sandbox_worker.module_trust import ModuleTrust
from stockade.core.actions import Action
from stockade.core.aliases import Stamp, pointed
from stockade.core.api_keys import ApiKey, generate_key
from stockade.core.modules import Abi, FunctionContent
from stockade.infra.catalog_values import to_json
from stockade.infra.directory_artifacts import DirectoryArtifactCache
from stockade.infra.memory.memory_blobs import MemoryBlobStore
from stockade.infra.policies.cedar_policies import CedarPolicies
from stockade.infra.sql.sql_catalog import SqlCatalog
from stockade.infra.sql.sql_engine import create_engine
from stockade.infra.sql.sql_schema import function_versions, functions, tenants
from stockade.infra.system_clock import SystemClock
from tests.ports.postgres_server import PostgresServer, is_installed

FEW, MANY, MANY_TENANTS = 100, 100_000, 1000
_LONG = 3600.0
_TENANT, _NAME = "acme", "pay"
_BUNDLE = 10_000
Steps = Mapping[str, list[float]]


class _NoCompiler:
    """The `ModuleCompiler` port: everything is in the cache."""

    async def compile(self, body: bytes, tenant: str = "") -> bytes:
        raise NotImplementedError(len(body), tenant)


@asynccontextmanager
async def databases(folder: Path) -> AsyncIterator[Mapping[str, Callable[[str], Awaitable[str]]]]:
    """By kind, what makes an empty database of a name and tells its URL."""

    async def sqlite(name: str) -> str:
        return f"sqlite:///{folder / name}.db"

    if not is_installed():
        yield {"SQLite": sqlite}
        return
    server = PostgresServer(durable=True)
    server.create()

    async def postgres(name: str) -> str:
        await server.execute(f"CREATE DATABASE {name}")
        return server.url(name)

    try:
        yield {"SQLite": sqlite, "PostgreSQL": postgres}
    finally:
        server.remove()


async def hot_path_seconds(url: str, folder: Path, rounds: int) -> Steps:
    """Seconds by step; `bare` is a query that finds nothing out."""
    catalog, blobs = await SqlCatalog.open(url), MemoryBlobStore()
    digest = await trust._store(catalog, blobs)  # noqa: SLF001 - a signed module of two
    await _deploy(catalog, digest)
    policies, clock = CedarPolicies.load(trust.POLICIES), SystemClock()
    cache = DirectoryArtifactCache(folder / "artifacts", token_bytes(32), "bench")
    await cache.put(digest, bytes(100_000))
    request, key = _request()
    await catalog.add_key(key)
    authorizer, steps = Authorizer(policies), dict[str, list[float]]()
    for how, seconds in (("remembered", _LONG), ("asked anew", 0.0)):
        authenticator = Authenticator(catalog, clock, seconds)
        resolver = FunctionResolver(catalog, seconds)
        checked = ModuleTrust(catalog, blobs, policies, trust._Rules(), clock, seconds)  # noqa: SLF001
        loader = ModuleLoader(checked, blobs, cache, _NoCompiler())

        async def resolve(by: FunctionResolver = resolver, at: ModuleLoader = loader) -> None:
            found = await by.resolve(_TENANT, _NAME, "prod", None, "draw")
            await at.load(_TENANT, found.content.digest, _NAME)

        async def admit(
            who: Authenticator = authenticator, by: FunctionResolver = resolver
        ) -> None:
            caller = await who.authenticate(request)
            authorizer.check(caller, Action.INVOKE, _NAME)
            await by.resolve(_TENANT, _NAME, "prod", None, "draw")

        steps[f"resolve, {how}"] = await _seconds(resolve, rounds)
        steps[f"admit, {how}"] = await _seconds(admit, rounds)
    steps["bare"] = await _seconds(lambda: _bare(catalog), rounds)
    await catalog.aclose()
    return steps


async def crowded_seconds(few_url: str, many_url: str, rounds: int) -> tuple[list[float], ...]:
    """Seconds for finding a function's latest version among many of many tenants, and among few."""
    few, many = await SqlCatalog.open(few_url), await SqlCatalog.open(many_url)
    await _fill(few_url, 1, FEW)
    await _fill(many_url, MANY_TENANTS, MANY)
    figures: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds):  # in turn, so that both meet the same machine
        place = number * 7919
        for taken, catalog, count, owners in (
            (figures[0], many, MANY, MANY_TENANTS),
            (figures[1], few, FEW, 1),
        ):
            which = place % count
            started = time.perf_counter()
            found = await catalog.function_version(f"t{which % owners}", f"f{which}", None)
            taken.append(time.perf_counter() - started)
            if found is None:
                raise RuntimeError("a function that was stored is not found")
    for catalog in (few, many):
        await catalog.aclose()
    return figures


async def _deploy(catalog: SqlCatalog, digest: str) -> None:
    content = FunctionContent(digest, Abi.STOCKADE_V1, deterministic=True)
    await catalog.put_function(_TENANT, _NAME, content, 1)
    await catalog.change_alias(_TENANT, _NAME, "prod", pointed(((1, 1),)), Stamp("bench", 1))


def _request() -> tuple[Request, ApiKey]:
    told, made = generate_key("bench")
    headers = [(b"authorization", f"Bearer {told}".encode())]
    scope = {"type": "http", "headers": headers, "client": ("127.0.0.1", 1)}
    return Request(scope), ApiKey(made.id, _TENANT, "bench", made.secret_hash, 1)


async def _bare(catalog: SqlCatalog) -> None:
    async with catalog._engine.connect() as connection:  # noqa: SLF001 - the same connections
        await connection.execute(text("SELECT 1"))


async def _fill(url: str, owners: int, count: int) -> None:
    """Stores so many functions of one version, shared out over the tenants."""
    content = to_json(FunctionContent("sha256:" + "ab" * 32, Abi.STOCKADE_V1, deterministic=True))
    engine = create_engine(url, 120)
    async with engine.begin() as connection:
        await connection.execute(insert(tenants), [{"name": f"t{one}"} for one in range(owners)])
        for first in range(0, count, _BUNDLE):
            names = [
                {"tenant": f"t{one % owners}", "name": f"f{one}"}
                for one in range(first, min(count, first + _BUNDLE))
            ]
            await connection.execute(
                insert(functions), [one | {"latest_version": 1} for one in names]
            )
            version = {"version": 1, "content": content, "content_hash": b"", "created_ms": 1}
            await connection.execute(insert(function_versions), [one | version for one in names])
        if engine.dialect.name == "postgresql":
            await connection.execute(text("ANALYZE"))
    await engine.dispose()


async def _seconds(step: Callable[[], Awaitable[None]], rounds: int) -> list[float]:
    await step()
    taken = []
    for _ in range(rounds):
        started = time.perf_counter()
        await step()
        taken.append(time.perf_counter() - started)
    return taken
