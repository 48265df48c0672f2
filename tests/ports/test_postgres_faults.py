"""A PostgreSQL that is away, restarted, full, slow or frozen: told, bounded, and got over."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Iterator

import pytest

from stockade.core.errors import StockadeError
from stockade.core.history import UsageQuery
from stockade.core.modules import Abi, FunctionContent
from stockade.core.outcomes import Outcome
from stockade.infra.sql.sql_catalog import SqlCatalog
from tests.ports.histories import past
from tests.ports.postgres_server import PostgresServer, new_server

CONTENT = FunctionContent("sha256:" + "ab" * 32, Abi.STOCKADE_V1, deterministic=True)
SECONDS = 1.0
BOUND_SECONDS = 15.0
"""Nothing hangs; how fast the machine is today is not the question."""
pytestmark = pytest.mark.asyncio(loop_scope="function")


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """One that the tests may harm."""
    made = new_server("max_connections=12", "superuser_reserved_connections=0", durable=True)
    yield made
    made.remove()


@pytest.fixture
async def catalog(server: PostgresServer) -> AsyncIterator[SqlCatalog]:
    opened = await SqlCatalog.open(server.url("postgres"), busy_timeout_seconds=SECONDS)
    await opened.ensure_tenant("acme")
    yield opened
    await opened.aclose()


async def is_unavailable(call: Awaitable[object]) -> None:
    """Checks that the call is refused as to be tried again, within a bounded time."""
    began = time.monotonic()
    with pytest.raises(StockadeError) as caught:
        await call
    assert (caught.value.code, caught.value.retryable) == ("catalog.unavailable", True)
    assert time.monotonic() - began < BOUND_SECONDS


async def works_again(catalog: SqlCatalog) -> None:
    """Waits until the catalog serves, by the connections that it has."""
    async with asyncio.timeout(BOUND_SECONDS):
        while not await serves(catalog):
            await asyncio.sleep(0.05)


async def serves(catalog: SqlCatalog) -> bool:
    try:
        await catalog.put_function("acme", "after", CONTENT, 1)
        return await catalog.function_version("acme", "after", None) is not None
    except StockadeError:
        return False


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT, signal.SIGKILL])
async def test_a_server_that_is_restarted_is_used_again(
    server: PostgresServer, catalog: SqlCatalog, how: signal.Signals
) -> None:
    await asyncio.gather(*(catalog.functions("acme") for _ in range(5)))
    server.stop(how)
    await is_unavailable(catalog.functions("acme"))
    await is_unavailable(catalog.put_function("acme", "hello", CONTENT, 1))
    await is_unavailable(SqlCatalog.open(server.url("postgres"), busy_timeout_seconds=SECONDS))
    server.start()
    await works_again(catalog)


async def test_what_was_acknowledged_before_a_crash_is_there_and_whole(
    server: PostgresServer, catalog: SqlCatalog
) -> None:
    made: list[tuple[str, int]] = []

    async def deploy(name: str) -> None:
        for number in range(1, 10_000):
            content = FunctionContent(CONTENT.digest, CONTENT.abi, True, concurrency=number)
            version, _ = await catalog.put_function("acme", name, content, 1)
            made.append((name, version.version))

    deploying = [asyncio.ensure_future(deploy(f"crash{one}")) for one in range(4)]
    async with asyncio.timeout(BOUND_SECONDS):
        while len(made) < 40:
            await asyncio.sleep(0.01)
    server.stop(signal.SIGQUIT)
    endings = await asyncio.gather(*deploying, return_exceptions=True)
    assert {getattr(ending, "code", ending) for ending in endings} == {"catalog.unavailable"}
    server.start()
    await works_again(catalog)
    for name, version in made:
        assert await catalog.function_version("acme", name, version) is not None
    for one in range(4):
        latest = await catalog.function_version("acme", f"crash{one}", None)
        assert latest is not None
        assert await catalog.function_version("acme", f"crash{one}", latest.version + 1) is None


async def test_a_server_that_takes_no_more_connections_is_unavailable(
    server: PostgresServer, catalog: SqlCatalog
) -> None:
    await catalog._engine.dispose()
    others = [SqlCatalog.open_as_it_is(server.url("postgres")) for _ in range(12)]
    held = []
    for other in others:
        try:
            held.append(await other._engine.connect())
        except Exception:  # noqa: BLE001 - the server may keep some for itself
            break
    await is_unavailable(catalog.functions("acme"))
    await is_unavailable(SqlCatalog.open(server.url("postgres"), busy_timeout_seconds=SECONDS))
    for connection in held:
        await connection.close()
    for other in others:
        await other.aclose()
    await works_again(catalog)


async def test_whoever_locks_a_table_holds_nobody_for_ever(
    server: PostgresServer, catalog: SqlCatalog
) -> None:
    holder = SqlCatalog.open_as_it_is(server.url("postgres"))
    async with holder._engine.begin() as connection:
        await connection.exec_driver_sql("LOCK TABLE functions")
        await is_unavailable(catalog.put_function("acme", "locked", CONTENT, 1))
        await is_unavailable(catalog.functions("acme"))
    await holder.aclose()
    assert await catalog.function_version("acme", "locked", None) is None
    await works_again(catalog)


async def test_a_server_that_freezes_holds_nobody_for_ever(
    server: PostgresServer, catalog: SqlCatalog
) -> None:
    await catalog.functions("acme")
    query = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'"
    pids = [server.pid, *(int(str(row[0])) for row in await server.rows(query))]
    frozen = [pid for pid in pids if _signalled(pid, signal.SIGSTOP)]
    try:
        await is_unavailable(catalog.functions("acme"))
    finally:
        for pid in frozen:
            _signalled(pid, signal.SIGCONT)
    await works_again(catalog)


async def test_a_server_that_only_lets_read_is_unavailable_for_writes(
    server: PostgresServer, catalog: SqlCatalog
) -> None:
    await catalog.put_function("acme", "hello", CONTENT, 1)
    await server.execute("ALTER DATABASE postgres SET default_transaction_read_only = on")
    await catalog._engine.dispose()
    await is_unavailable(catalog.put_function("acme", "read-only", CONTENT, 1))
    assert await catalog.function_version("acme", "hello", None) is not None
    allow = "ALTER DATABASE postgres RESET default_transaction_read_only"
    await server.execute(f"BEGIN READ WRITE; {allow}; COMMIT")
    await catalog._engine.dispose()
    await works_again(catalog)


async def test_a_wrong_password_is_told_and_not_shown(server: PostgresServer) -> None:
    url = (
        server.url("postgres").replace(":", ":wrong", 2).replace("postgresql:wrong", "postgresql:")
    )
    began = time.monotonic()
    with pytest.raises(StockadeError) as caught:
        await SqlCatalog.open(url, busy_timeout_seconds=SECONDS)
    assert caught.value.code == "catalog.unavailable"
    assert "wrong" not in str(caught.value)
    assert time.monotonic() - began < BOUND_SECONDS


def _signalled(pid: int, number: signal.Signals) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


async def test_the_history_waits_for_a_server_that_died_and_counts_once(
    server: PostgresServer, catalog: SqlCatalog
) -> None:
    store = catalog.history_store()
    first, second = ([past(number) for number in some] for some in (range(50), range(50, 100)))
    await store.record(first)
    server.stop(signal.SIGKILL)
    await is_unavailable(store.record(second))
    server.start()
    await works_again(catalog)
    # A commit whose answer was lost comes again as well, and from two recorders at once.
    told = await asyncio.gather(*(store.record([*second, *first]) for _ in range(2)))
    assert sum(one.runs for one in told) == len(second)
    (day,) = await store.usage("acme", UsageQuery())
    assert (day.runs, day.attempts) == ({Outcome.COMPLETED: 100}, 100)
