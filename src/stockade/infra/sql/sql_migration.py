"""From the schema that a database has to the one that this release needs."""

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, inspect, text

from stockade.core.errors import StockadeError
from stockade.infra.sql.sql_schema import metadata

_LOCK = 0x5354_4B44  # "STKD": PostgreSQL advisory locks are numbers


def migration_config(connection: Connection) -> Config:
    """What Alembic's commands need to work on this connection."""
    config = Config()
    config.set_main_option("script_location", "stockade.infra.sql:migrations")
    config.attributes["connection"] = connection
    return config


def is_current(connection: Connection) -> bool:
    """Whether the database has this release's schema, whole.

    Raises:
        StockadeError: `catalog.schema_broken`.
    """
    scripts = ScriptDirectory.from_config(migration_config(connection))
    revision = _revision(connection)
    if revision != scripts.get_current_head():
        return False
    _check_whole(connection)
    return True


def upgrade(connection: Connection) -> None:
    """Brings the database to the newest schema, within the transaction that is open.

    Raises:
        StockadeError: `catalog.schema_unknown` or `catalog.schema_broken`.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _LOCK})
    if _revision(connection) is None and _tables(connection) & metadata.tables.keys():
        raise _broken("it has tables, but no revision")
    try:
        command.upgrade(migration_config(connection), "head")
    except CommandError as error:
        raise StockadeError(
            "catalog.schema_unknown",
            "The catalog was made by a newer Stockade. Start that version, or restore a backup.",
        ) from error
    _check_whole(connection)


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _tables(connection: Connection) -> set[str]:
    return set(inspect(connection).get_table_names())


def _check_whole(connection: Connection) -> None:
    """Checks that each table and column is there: nothing runs on half a schema."""
    there = {
        table: {column["name"] for column in columns}
        for (_schema, table), columns in inspect(connection).get_multi_columns().items()
    }
    for name, table in metadata.tables.items():
        if missing := set(table.columns.keys()) - there.get(name, set()):
            raise _broken(f"the table {name} lacks {', '.join(sorted(missing))}")


def _broken(what: str) -> StockadeError:
    return StockadeError(
        "catalog.schema_broken",
        f"The catalog's schema is that of no release: {what}. Restore a backup.",
    )
