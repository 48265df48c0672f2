"""One database for the catalog: its engine, its transactions, its migrations, its failures.

SQLite writes take the write lock at once (`BEGIN IMMEDIATE`), so a transaction that read and then
writes never finds that another wrote in between; on PostgreSQL the queries lock rows to that end.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from sqlalchemy import URL, Connection, Engine, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DatabaseError, DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from stockade.core.errors import StockadeError
from stockade.infra.sql.sql_migration import is_current, upgrade

_DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}
_MIGRATION_SECONDS = 120.0
"""How long one step of a migration, or the wait for another process's, may take."""
_WRITING = {"stockade_begin": "BEGIN IMMEDIATE"}


def create_engine(
    url: str, busy_timeout_seconds: float, statement_seconds: float | None = None
) -> AsyncEngine:
    """The engine for `sqlite:///path` or `postgresql://…`; connects to nothing yet.

    A statement, its wait for locks included, takes no longer than `statement_seconds`, or than the
    busy timeout without them.

    Raises:
        StockadeError: `config.catalog_url_invalid` or `config.catalog_driver_missing`.
    """
    full, most = _full_url(url), statement_seconds or busy_timeout_seconds
    try:
        if full.get_backend_name() == "sqlite":
            return _sqlite_engine(full, most)
        return _server_engine(full, busy_timeout_seconds, most)
    except ModuleNotFoundError as error:
        raise StockadeError(
            "config.catalog_driver_missing",
            f"The catalog's URL needs the Python package {error.name!r}; install it.",
        ) from error


@asynccontextmanager
async def reading(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A connection that only reads; failures come out as `catalog.*`."""
    with catalog_failures():
        async with engine.connect() as connection:
            if engine.dialect.name == "postgresql":
                # There each statement sees a state of its own anyway; this spares two round trips.
                await connection.execution_options(isolation_level="AUTOCOMMIT")
            yield connection


@asynccontextmanager
async def writing(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A transaction that may write, committed at the end; failures come out as `catalog.*`."""
    with catalog_failures():
        async with engine.connect() as plain:
            connection = await plain.execution_options(**_WRITING)
            async with connection.begin():
                yield connection


async def migrate(url: str, busy_timeout_seconds: float) -> None:
    """Brings the database to the newest schema; of several processes one does it, the others wait.

    It is done in one transaction, so a process that dies in the middle leaves the old schema.

    Raises:
        StockadeError: `catalog.schema_unknown` when a newer Stockade made it,
            `catalog.schema_broken` when it is no release's, or the catalog's own trouble.
    """
    engine = create_engine(url, busy_timeout_seconds, _MIGRATION_SECONDS)
    try:
        async with reading(engine) as connection:
            current = await connection.run_sync(is_current)
        if not current:
            async with writing(engine) as connection:
                await connection.run_sync(upgrade)
    finally:
        await engine.dispose()


@contextmanager
def catalog_failures() -> Iterator[None]:
    """Turns what the drivers raise into `catalog.unavailable` or `catalog.corrupt`.

    Broken constraints pass unchanged: only the query that meant them knows what they mean.
    """
    try:
        yield
    except IntegrityError:
        raise
    except DBAPIError as error:
        raise (_corrupt() if _is_damage(error) else _unavailable()) from error
    except (PoolTimeoutError, OSError) as error:
        raise _unavailable() from error


def _full_url(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise _bad_url() from error
    backend = parsed.get_backend_name()
    if backend not in _DRIVERS or (backend == "sqlite" and _in_memory(parsed)):
        raise _bad_url()
    return parsed.set(drivername=_DRIVERS[backend])


def _in_memory(url: URL) -> bool:
    return not url.database or ":memory:" in url.database or url.query.get("mode") == "memory"


def _sqlite_engine(url: URL, busy_timeout_seconds: float) -> AsyncEngine:
    engine = create_async_engine(
        url, hide_parameters=True, connect_args={"timeout": busy_timeout_seconds}
    )
    _prepare_sqlite(engine.sync_engine, busy_timeout_seconds)
    return engine


def _server_engine(url: URL, timeout_seconds: float, statement_seconds: float) -> AsyncEngine:
    return create_async_engine(
        url,
        hide_parameters=True,
        pool_pre_ping=True,
        pool_timeout=timeout_seconds,
        connect_args={"timeout": timeout_seconds, "command_timeout": statement_seconds},
    )


def _prepare_sqlite(engine: Engine, busy_timeout_seconds: float) -> None:
    """Hands transactions to us (the driver would begin them late), and sets what SQLite forgets."""

    @event.listens_for(engine, "connect")
    def connected(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        try:
            _set_pragmas(connection, busy_timeout_seconds)
        except BaseException:
            connection.close()  # the pool does not know it yet, and it owns a thread
            raise

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        begin = connection.get_execution_options().get("stockade_begin", "BEGIN")
        connection.exec_driver_sql(begin)


def _set_pragmas(connection: DBAPIConnection, busy_timeout_seconds: float) -> None:
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {round(busy_timeout_seconds * 1000)}")
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _is_damage(error: DBAPIError) -> bool:
    """SQLite reports a damaged file as the plain class, trouble of the moment as a subclass."""
    return type(error) is DatabaseError


def _bad_url() -> StockadeError:
    return StockadeError(
        "config.catalog_url_invalid",
        "The catalog's URL must be sqlite:///<file> (not in memory) or postgresql://<host>/<database>.",
    )


def _unavailable() -> StockadeError:
    return StockadeError(
        "catalog.unavailable", "The catalog cannot be reached; try again.", retryable=True
    )


def _corrupt() -> StockadeError:
    return StockadeError(
        "catalog.corrupt", "The catalog's file is damaged or no database; restore a backup."
    )
