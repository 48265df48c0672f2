"""Roles, scopes and use of keys; reasons of revocations; what keys replace; how many must sign."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Keys made before have the role that they had in effect, admin."""
    op.add_column("api_keys", sa.Column("role", sa.String, nullable=False, server_default="admin"))
    op.add_column("api_keys", sa.Column("scopes", sa.Text, nullable=False, server_default="[]"))
    op.add_column("api_keys", sa.Column("revoked_ms", sa.BigInteger))
    op.add_column("api_keys", sa.Column("last_used_ms", sa.BigInteger))
    op.create_index("ix_api_keys_tenant", "api_keys", ["tenant"])
    op.add_column("signers", sa.Column("revoked_reason", sa.Text))
    op.add_column("signers", sa.Column("replaces", sa.String))
    op.create_table(
        "function_trust",
        sa.Column("tenant", sa.String, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("threshold", sa.Integer, nullable=False),
        sa.Column("signers", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "name", name="pk_function_trust"),
        sa.ForeignKeyConstraint(["tenant"], ["tenants.name"], name="fk_function_trust_tenants"),
    )


def downgrade() -> None:
    """Drops them."""
    op.drop_table("function_trust")
    op.drop_column("signers", "replaces")
    op.drop_column("signers", "revoked_reason")
    op.drop_index("ix_api_keys_tenant", "api_keys")
    for column in ("last_used_ms", "revoked_ms", "scopes", "role"):
        op.drop_column("api_keys", column)
