"""Attestations of modules."""

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKeyConstraint,
    Integer,
    LargeBinary,
    String,
    Table,
    UniqueConstraint,
)

from stockade.infra.sql.sql_schema import metadata

module_attestations = Table(
    "module_attestations",
    metadata,
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("tenant", String, nullable=False),
    Column("digest", String, nullable=False),
    Column("id", String, nullable=False),
    Column("envelope", LargeBinary, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    UniqueConstraint("tenant", "digest", "id"),
    ForeignKeyConstraint(
        ["tenant", "digest"], ["modules.tenant", "modules.digest"], ondelete="CASCADE"
    ),
)
"""`number` keeps the order of arrival. They go with their module."""
