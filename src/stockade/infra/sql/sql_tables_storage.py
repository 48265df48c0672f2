"""Tables of the upkeep of stored content."""

from sqlalchemy import BigInteger, Column, String, Table

from stockade.infra.sql.sql_schema import metadata

upkeep_turns = Table(
    "upkeep_turns",
    metadata,
    Column("work", String, primary_key=True),
    Column("taken_ms", BigInteger, nullable=False),
)
"""When a gateway last took its turn at work that one of them does."""
