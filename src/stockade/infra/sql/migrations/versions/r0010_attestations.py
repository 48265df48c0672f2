"""Attestations beside modules."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """The table is new."""
    op.create_table(
        "module_attestations",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), nullable=False),
        sa.Column("tenant", sa.String, nullable=False),
        sa.Column("digest", sa.String, nullable=False),
        sa.Column("id", sa.String, nullable=False),
        sa.Column("envelope", sa.LargeBinary, nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_module_attestations"),
        sa.UniqueConstraint(
            "tenant", "digest", "id", name="uq_module_attestations_tenant_digest_id"
        ),
        sa.ForeignKeyConstraint(
            ["tenant", "digest"],
            ["modules.tenant", "modules.digest"],
            name="fk_module_attestations_modules",
            ondelete="CASCADE",
        ),
    )


def downgrade() -> None:
    """Drops it, and what it holds."""
    op.drop_table("module_attestations")
