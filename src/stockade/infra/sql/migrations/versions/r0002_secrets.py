"""Tenants' secrets, sealed."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Creates the table."""
    op.create_table(
        "secrets",
        sa.Column("tenant", sa.String, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.Column("updated_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "name", name="pk_secrets"),
        sa.ForeignKeyConstraint(["tenant"], ["tenants.name"], name="fk_secrets_tenants"),
    )


def downgrade() -> None:
    """Drops it."""
    op.drop_table("secrets")
