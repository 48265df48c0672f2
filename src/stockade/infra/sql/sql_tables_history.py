"""The history's tables. Rows are only added and pruned; usage only grows.

Whole numbers have 64 bits. Names are ordered by code point on every database.
"""

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    Index,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
)

from stockade.core.history import AMOUNTS
from stockade.core.outcomes import Outcome
from stockade.infra.sql.sql_schema import metadata

_NAME = String().with_variant(String(collation="C"), "postgresql")


def _amounts() -> list[Column[int]]:
    return [Column(name, BigInteger, nullable=False) for name in AMOUNTS]


history_runs = Table(
    "history_runs",
    metadata,
    Column("tenant", _NAME, nullable=False),
    Column("invocation", _NAME, nullable=False),
    Column("redrive", BigInteger, nullable=False),
    Column("function", _NAME, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("module", String, nullable=False),
    Column("outcome", String, nullable=False),
    Column("limit_name", String),
    Column("detail", Text),
    Column("submitted_ms", BigInteger, nullable=False),
    Column("started_ms", BigInteger),
    Column("finished_ms", BigInteger, nullable=False),
    Column("attempts", BigInteger, nullable=False),
    Column("peak_memory_bytes", BigInteger, nullable=False),
    *_amounts(),
    Column("trace_id", String, nullable=False),
    PrimaryKeyConstraint("tenant", "invocation", "redrive"),
    Index("ix_history_runs_finished_ms", "tenant", "finished_ms", "invocation", "redrive"),
    Index("ix_history_runs_function", "tenant", "function", "finished_ms", "invocation", "redrive"),
    Index("ix_history_runs_outcome", "tenant", "outcome", "finished_ms", "invocation", "redrive"),
    Index("ix_history_runs_age", "finished_ms"),
)

history_attempts = Table(
    "history_attempts",
    metadata,
    Column("tenant", _NAME, nullable=False),
    Column("invocation", _NAME, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("redrive", BigInteger, nullable=False),
    Column("function", _NAME, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("outcome", String, nullable=False),
    Column("code", String, nullable=False),
    Column("reason", Text, nullable=False),
    Column("limit_name", String),
    Column("detail", Text),
    Column("policy", String, nullable=False),
    Column("success", Float),
    Column("limits", Text),
    Column("ended_ms", BigInteger, nullable=False),
    Column("peak_memory_bytes", BigInteger, nullable=False),
    *_amounts(),
    PrimaryKeyConstraint("tenant", "invocation", "position"),
    Index("ix_history_attempts_age", "ended_ms"),
)

history_usage = Table(
    "history_usage",
    metadata,
    Column("tenant", _NAME, nullable=False),
    Column("day", BigInteger, nullable=False),
    Column("function", _NAME, nullable=False),
    *(Column(f"runs_{outcome}", BigInteger, nullable=False) for outcome in Outcome),
    Column("attempts", BigInteger, nullable=False),
    *_amounts(),
    PrimaryKeyConstraint("tenant", "day", "function"),
    Index("ix_history_usage_age", "day"),
)
"""Runs by outcome, attempts, and what these cost, of one tenant's function on one UTC day."""

history_horizon = Table(
    "history_horizon",
    metadata,
    Column("name", String, primary_key=True),
    Column("before", BigInteger, nullable=False),
)
"""What is older was pruned, or is about to be, and is not recorded again: it would count twice."""
