"""The history: runs, attempts, usage."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"

_NAME = sa.String().with_variant(sa.String(collation="C"), "postgresql")
_AMOUNTS = (
    "fuel",
    "memory_kib_ms",
    "wall_us",
    "queue_us",
    "input_bytes",
    "output_bytes",
    "log_bytes",
    "host_calls",
)
_OUTCOMES = (
    "completed",
    "rejected",
    "trapped",
    "limit_exceeded",
    "crashed",
    "lost",
    "cancelled",
    "expired",
)


def upgrade() -> None:
    """The tables are new."""
    _create_runs()
    _create_attempts()
    op.create_table(
        "history_usage",
        sa.Column("tenant", _NAME, nullable=False),
        _number("day"),
        sa.Column("function", _NAME, nullable=False),
        *(_number(f"runs_{outcome}") for outcome in _OUTCOMES),
        _number("attempts"),
        *map(_number, _AMOUNTS),
        sa.PrimaryKeyConstraint("tenant", "day", "function", name="pk_history_usage"),
    )
    op.create_index("ix_history_usage_age", "history_usage", ["day"])
    op.create_table(
        "history_horizon",
        sa.Column("name", sa.String, nullable=False),
        _number("before"),
        sa.PrimaryKeyConstraint("name", name="pk_history_horizon"),
    )


def downgrade() -> None:
    """Drops them, and what they hold."""
    for table in ("history_horizon", "history_usage", "history_attempts", "history_runs"):
        op.drop_table(table)


def _create_runs() -> None:
    op.create_table(
        "history_runs",
        sa.Column("tenant", _NAME, nullable=False),
        sa.Column("invocation", _NAME, nullable=False),
        _number("redrive"),
        sa.Column("function", _NAME, nullable=False),
        _number("version"),
        sa.Column("module", sa.String, nullable=False),
        sa.Column("outcome", sa.String, nullable=False),
        sa.Column("limit_name", sa.String),
        sa.Column("detail", sa.Text),
        _number("submitted_ms"),
        sa.Column("started_ms", sa.BigInteger),
        _number("finished_ms"),
        _number("attempts"),
        _number("peak_memory_bytes"),
        *map(_number, _AMOUNTS),
        sa.Column("trace_id", sa.String, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "invocation", "redrive", name="pk_history_runs"),
    )
    place = ["finished_ms", "invocation", "redrive"]
    op.create_index("ix_history_runs_finished_ms", "history_runs", ["tenant", *place])
    op.create_index("ix_history_runs_function", "history_runs", ["tenant", "function", *place])
    op.create_index("ix_history_runs_outcome", "history_runs", ["tenant", "outcome", *place])
    op.create_index("ix_history_runs_age", "history_runs", ["finished_ms"])


def _create_attempts() -> None:
    op.create_table(
        "history_attempts",
        sa.Column("tenant", _NAME, nullable=False),
        sa.Column("invocation", _NAME, nullable=False),
        _number("position"),
        _number("redrive"),
        sa.Column("function", _NAME, nullable=False),
        _number("number"),
        sa.Column("outcome", sa.String, nullable=False),
        sa.Column("code", sa.String, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("limit_name", sa.String),
        sa.Column("detail", sa.Text),
        sa.Column("policy", sa.String, nullable=False),
        sa.Column("success", sa.Float),
        sa.Column("limits", sa.Text),
        _number("ended_ms"),
        _number("peak_memory_bytes"),
        *map(_number, _AMOUNTS),
        sa.PrimaryKeyConstraint("tenant", "invocation", "position", name="pk_history_attempts"),
    )
    op.create_index("ix_history_attempts_age", "history_attempts", ["ended_ms"])


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False)
