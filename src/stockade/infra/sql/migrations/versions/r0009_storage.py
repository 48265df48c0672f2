"""What modules take, their deletion with a grace, and which versions are made of them."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Sizes and digests of what was there before stand in its JSON."""
    _add("modules", sa.Column("size_bytes", sa.BigInteger, nullable=False, server_default="0"))
    _add("modules", sa.Column("deleted_ms", sa.BigInteger))
    _add("function_versions", sa.Column("digest", sa.String, nullable=False, server_default=""))
    size_bytes = _inside("facts", "size_bytes", "BIGINT")
    digest = _inside("content", "digest", "VARCHAR")
    op.execute(f"UPDATE modules SET size_bytes = {size_bytes}")  # noqa: S608 - our own words
    op.execute(f"UPDATE function_versions SET digest = {digest}")  # noqa: S608 - likewise
    op.create_index("ix_modules_created_ms", "modules", ["tenant", "created_ms", "digest"])
    op.create_index("ix_modules_digest", "modules", ["digest"])
    op.create_index("ix_modules_deleted_ms", "modules", ["deleted_ms"])
    op.create_index("ix_function_versions_digest", "function_versions", ["tenant", "digest"])
    op.create_table(
        "upkeep_turns",
        sa.Column("work", sa.String, nullable=False),
        sa.Column("taken_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("work", name="pk_upkeep_turns"),
    )


def downgrade() -> None:
    """Drops them; modules that are deleted come back."""
    op.drop_table("upkeep_turns")
    op.drop_index("ix_function_versions_digest", "function_versions")
    for index in ("ix_modules_deleted_ms", "ix_modules_digest", "ix_modules_created_ms"):
        op.drop_index(index, "modules")
    op.drop_column("function_versions", "digest")
    op.drop_column("modules", "deleted_ms")
    op.drop_column("modules", "size_bytes")


def _add(table: str, column: "sa.Column[object]") -> None:
    op.add_column(table, column)


def _inside(column: str, name: str, kind: str) -> str:
    if op.get_bind().dialect.name == "postgresql":
        return f"CAST({column}::json ->> '{name}' AS {kind})"
    return f"json_extract({column}, '$.{name}')"
