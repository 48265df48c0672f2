"""Who deployed; revisions and changes of aliases; functions that are deleted with a grace."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

_NAMES = (("functions", "name"), ("function_versions", "name"), ("aliases", "function"))


def upgrade() -> None:
    """What was there before has nobody's name, and each alias is at its first revision."""
    if op.get_bind().dialect.name == "postgresql":
        _order_names('"C"')
    op.add_column("functions", sa.Column("deleted_ms", sa.BigInteger))
    op.add_column("functions", sa.Column("deleted_by", sa.String))
    op.add_column("functions", sa.Column("purge_ms", sa.BigInteger))
    op.create_index("ix_functions_purge_ms", "functions", ["purge_ms"])
    _add("function_versions", "created_by", sa.String, "")
    _add("function_versions", "message", sa.Text, "")
    _add("function_versions", "labels", sa.Text, "[]")
    _add("aliases", "revision", sa.Integer, "1")
    _add("aliases", "changed_ms", sa.BigInteger, "0")
    _add("aliases", "changed_by", sa.String, "")
    _create_alias_changes()


def downgrade() -> None:
    """Drops them; functions that are deleted come back."""
    op.drop_table("alias_changes")
    for column in ("changed_by", "changed_ms", "revision"):
        op.drop_column("aliases", column)
    for column in ("labels", "message", "created_by"):
        op.drop_column("function_versions", column)
    op.drop_index("ix_functions_purge_ms", "functions")
    for column in ("purge_ms", "deleted_by", "deleted_ms"):
        op.drop_column("functions", column)
    if op.get_bind().dialect.name == "postgresql":
        _order_names('"default"')


def _add(table: str, name: str, kind: type[sa.types.TypeEngine[Any]], default: str) -> None:
    op.add_column(table, sa.Column(name, kind, nullable=False, server_default=default))


def _create_alias_changes() -> None:
    op.create_table(
        "alias_changes",
        sa.Column("tenant", sa.String, nullable=False),
        sa.Column("function", sa.String, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("verb", sa.String, nullable=False),
        sa.Column("before", sa.Text),
        sa.Column("after", sa.Text),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("by", sa.String, nullable=False),
        sa.Column("restored", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "function", "name", "revision", name="pk_alias_changes"),
        sa.ForeignKeyConstraint(
            ["tenant", "function"],
            ["functions.tenant", "functions.name"],
            name="fk_alias_changes_functions",
        ),
    )


def _order_names(collation: str) -> None:
    """Pages of functions go by the primary key's index, which has the order of the column."""
    for table, column in _NAMES:
        op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} TYPE varchar COLLATE {collation}")
