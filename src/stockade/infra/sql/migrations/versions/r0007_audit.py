"""The audit log: entries, and the signed head of each chain."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

_HEAD = ("first_previous", "hash", "public_key", "signature")
_ENTRY = (
    "previous",
    "kind",
    "request",
    "principal_kind",
    "principal",
    "role",
    "action",
    "call",
    "object_kind",
    "object",
    "code",
    "source",
    "hash",
)


def upgrade() -> None:
    """Both tables are new."""
    op.create_table(
        "audit_heads",
        sa.Column("chain", sa.String, nullable=False),
        *(_number(name) for name in ("first_sequence", "sequence", "time_ms")),
        *(sa.Column(name, sa.String, nullable=False) for name in _HEAD),
        sa.PrimaryKeyConstraint("chain", name="pk_audit_heads"),
    )
    op.create_table(
        "audit_entries",
        sa.Column("chain", sa.String, nullable=False),
        *(_number(name) for name in ("sequence", "time_ms")),
        *(sa.Column(name, sa.String, nullable=False) for name in _ENTRY),
        sa.Column("policies", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("count", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("chain", "sequence", name="pk_audit_entries"),
    )
    op.create_index("ix_audit_entries_time_ms", "audit_entries", ["chain", "time_ms"])
    for name in ("action", "principal", "object"):
        op.create_index(f"ix_audit_entries_{name}", "audit_entries", ["chain", name, "sequence"])


def downgrade() -> None:
    """Drops them, and what they hold."""
    op.drop_table("audit_entries")
    op.drop_table("audit_heads")


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False)
