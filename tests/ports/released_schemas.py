"""Databases as releases left them: each revision's tables with a tenant's life in them.

What stands in `ROWS` is what the releases wrote. Other tables get one row by their columns alone.
No asserts here.
"""

from collections.abc import Mapping

import sqlalchemy as sa
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from stockade.infra.sql.sql_engine import create_engine
from stockade.infra.sql.sql_migration import migration_config

Row = Mapping[str, object]
DIGEST = "sha256:" + "ab" * 32
FACTS = (
    '{"abi":"stockade:v1","imports":["stockade:v1.log"],"exports":["memory"],'
    '"deterministic":true,"size_bytes":9}'
)
CONTENT = (
    '{"digest":"' + DIGEST + '","abi":"stockade:v1","deterministic":true,"limits":{"fuel":7,'
    '"memory_bytes":67108864,"table_elements":10000,"wall_ms":10000,"input_bytes":6291456,'
    '"output_bytes":6291456,"log_bytes":65536,"host_calls":10000},"grants":[],"retry":{"policy":'
    '"fixed","max_attempts":3,"base_delay_ms":200,"max_delay_ms":30000},"concurrency":null,"env":[]}'
)
ROWS: Mapping[str, Row] = {
    "tenants": {"name": "acme"},
    "api_keys": {
        "id": "abcdefghij01",
        "tenant": "acme",
        "name": "ci",
        "secret_hash": b"hash",
        "created_ms": 1_000,
        "expires_ms": None,
    },
    "signers": {
        "tenant": "acme",
        "name": "release",
        "public_key": b"k" * 32,
        "not_before_ms": None,
        "not_after_ms": 9_000,
        "revoked_ms": None,
    },
    "modules": {"tenant": "acme", "digest": DIGEST, "facts": FACTS, "created_ms": 1_000},
    "module_signatures": {
        "tenant": "acme",
        "digest": DIGEST,
        "signature_hash": b"h" * 32,
        "signature": b"signature",
    },
    "functions": {"tenant": "acme", "name": "hello", "latest_version": 1},
    "function_versions": {
        "tenant": "acme",
        "name": "hello",
        "version": 1,
        "content": CONTENT,
        "content_hash": b"c" * 32,
        "created_ms": 1_000,
    },
    "aliases": {"tenant": "acme", "function": "hello", "name": "prod", "weights": "[[1,1]]"},
    "secrets": {"tenant": "acme", "name": "KEY", "sealed": b"sealed", "updated_ms": 1},
    "schedules": {
        "tenant": "acme",
        "name": "nightly",
        "id": "id",
        "function": "hello",
        "cron": "0 3 * * *",
        "time_zone": "Europe/Berlin",
        "input": b"in",
        "priority": 0,
        "catch_up": "one",
        "created_ms": 1,
        "next_ms": 5,
        "due_ms": 5,
        "paused": False,
    },
}


def revisions() -> list[str]:
    """All that were ever released, the first one first."""
    engine = sa.create_engine("sqlite://")
    with engine.connect() as connection:
        scripts = ScriptDirectory.from_config(migration_config(connection))
        found = [script.revision for script in scripts.walk_revisions()]
    engine.dispose()
    return found[::-1]


async def leave_behind(url: str, revision: str) -> dict[str, Row]:
    """Makes the database of a release; what stands in it, by table."""

    def make(connection: Connection) -> dict[str, Row]:
        command.upgrade(migration_config(connection), revision)
        return _fill(connection)

    engine = create_engine(url, 30)
    async with engine.begin() as connection:
        left = await connection.run_sync(make)
    await engine.dispose()
    return left


def _fill(connection: Connection) -> dict[str, Row]:
    metadata, left = sa.MetaData(), dict[str, Row]()
    metadata.reflect(connection)
    for table in metadata.sorted_tables:
        if table.name != "alembic_version":
            left[table.name] = ROWS.get(table.name) or _row(table, left)
            connection.execute(sa.insert(table).values(**left[table.name]))
    return left


def _row(table: sa.Table, left: Mapping[str, Row]) -> Row:
    return {column.name: _value(column, left) for column in table.columns}


def _value(column: sa.Column[object], left: Mapping[str, Row]) -> object:
    for key in column.foreign_keys:
        owner, _, name = key.target_fullname.rpartition(".")
        return left[owner][name]
    match column.type.python_type:
        case kind if kind in {int, bool, float}:
            return kind(1)
        case kind if kind is bytes:
            return b"x" * 32
        case _:
            return "[]"
