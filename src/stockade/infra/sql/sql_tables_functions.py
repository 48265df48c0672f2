"""Tables of what becomes of functions over time."""

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKeyConstraint,
    Integer,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
)

from stockade.infra.sql.sql_schema import metadata

alias_changes = Table(
    "alias_changes",
    metadata,
    Column("tenant", String, nullable=False),
    Column("function", String, nullable=False),
    Column("name", String, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("verb", String, nullable=False),
    Column("before", Text),
    Column("after", Text),
    Column("at_ms", BigInteger, nullable=False),
    Column("by", String, nullable=False),
    Column("restored", Integer, nullable=False),
    PrimaryKeyConstraint("tenant", "function", "name", "revision"),
    ForeignKeyConstraint(["tenant", "function"], ["functions.tenant", "functions.name"]),
)
"""The last changes of each alias. They outlive the alias, so that its revisions go on."""
