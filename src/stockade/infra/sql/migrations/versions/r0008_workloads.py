"""Keys of CI jobs, and the tokens that they were given for."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Keys made before are those that people made."""
    op.add_column("api_keys", sa.Column("kind", sa.String, nullable=False, server_default="key"))
    op.add_column("api_keys", sa.Column("subject", sa.String))
    op.add_column("api_keys", sa.Column("claims", sa.Text, nullable=False, server_default="[]"))
    op.create_index("ix_api_keys_kind_expires_ms", "api_keys", ["kind", "expires_ms"])
    op.create_table(
        "used_tokens",
        sa.Column("hash", sa.LargeBinary, nullable=False),
        sa.Column("expires_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("hash", name="pk_used_tokens"),
    )
    op.create_index("ix_used_tokens_expires_ms", "used_tokens", ["expires_ms"])


def downgrade() -> None:
    """Drops them, and the keys of jobs with them: they would read as keys for ever."""
    op.execute("DELETE FROM api_keys WHERE kind = 'workload'")
    op.drop_index("ix_used_tokens_expires_ms", "used_tokens")
    op.drop_table("used_tokens")
    op.drop_index("ix_api_keys_kind_expires_ms", "api_keys")
    for column in ("claims", "subject", "kind"):
        op.drop_column("api_keys", column)
