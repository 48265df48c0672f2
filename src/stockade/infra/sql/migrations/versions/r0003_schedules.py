"""Tenants' schedules."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Creates the table and the index that gateways look through."""
    op.create_table(
        "schedules",
        sa.Column("tenant", sa.String, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("id", sa.String, nullable=False),
        sa.Column("function", sa.String, nullable=False),
        sa.Column("alias", sa.String),
        sa.Column("version", sa.Integer),
        sa.Column("cron", sa.String),
        sa.Column("time_zone", sa.String),
        sa.Column("every_seconds", sa.Integer),
        sa.Column("anchor_ms", sa.BigInteger),
        sa.Column("input", sa.LargeBinary, nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("catch_up", sa.String, nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("next_ms", sa.BigInteger),
        sa.Column("due_ms", sa.BigInteger),
        sa.Column("paused", sa.Boolean, nullable=False),
        sa.Column("last_ms", sa.BigInteger),
        sa.Column("last_invocation", sa.String),
        sa.Column("refusal", sa.Text),
        sa.PrimaryKeyConstraint("tenant", "name", name="pk_schedules"),
        sa.ForeignKeyConstraint(["tenant"], ["tenants.name"], name="fk_schedules_tenants"),
    )
    op.create_index("ix_schedules_due_ms", "schedules", ["due_ms"])


def downgrade() -> None:
    """Drops it."""
    op.drop_table("schedules")
