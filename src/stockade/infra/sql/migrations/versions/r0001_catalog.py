"""The first catalog: tenants, keys, signers, modules, functions, versions, aliases."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision: str | None = None


def upgrade() -> None:
    """Creates every table, owners first."""
    op.create_table(
        "tenants", sa.Column("name", sa.String, nullable=False), _primary("tenants", "name")
    )
    _create_access()
    _create_modules()
    _create_functions()


def downgrade() -> None:
    """Drops every table, owners last."""
    for table in (
        "aliases",
        "function_versions",
        "functions",
        "module_signatures",
        "modules",
        "signers",
        "api_keys",
        "tenants",
    ):
        op.drop_table(table)


def _create_access() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String, nullable=False),
        sa.Column("tenant", sa.String, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("secret_hash", sa.LargeBinary, nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("expires_ms", sa.BigInteger),
        _primary("api_keys", "id"),
        _of_tenant("api_keys"),
    )
    op.create_table(
        "signers",
        sa.Column("tenant", sa.String, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("public_key", sa.LargeBinary, nullable=False),
        sa.Column("not_before_ms", sa.BigInteger),
        sa.Column("not_after_ms", sa.BigInteger),
        sa.Column("revoked_ms", sa.BigInteger),
        _primary("signers", "tenant", "name"),
        sa.UniqueConstraint("tenant", "public_key", name="uq_signers_tenant_public_key"),
        _of_tenant("signers"),
    )


def _create_modules() -> None:
    op.create_table(
        "modules",
        sa.Column("tenant", sa.String, nullable=False),
        sa.Column("digest", sa.String, nullable=False),
        sa.Column("facts", sa.Text, nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        _primary("modules", "tenant", "digest"),
        _of_tenant("modules"),
    )
    op.create_table(
        "module_signatures",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), nullable=False),
        sa.Column("tenant", sa.String, nullable=False),
        sa.Column("digest", sa.String, nullable=False),
        sa.Column("signature_hash", sa.LargeBinary, nullable=False),
        sa.Column("signature", sa.LargeBinary, nullable=False),
        _primary("module_signatures", "id"),
        sa.UniqueConstraint(
            "tenant",
            "digest",
            "signature_hash",
            name="uq_module_signatures_tenant_digest_signature_hash",
        ),
        sa.ForeignKeyConstraint(
            ["tenant", "digest"],
            ["modules.tenant", "modules.digest"],
            name="fk_module_signatures_modules",
        ),
    )


def _create_functions() -> None:
    op.create_table(
        "functions",
        sa.Column("tenant", sa.String, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("latest_version", sa.Integer, nullable=False),
        _primary("functions", "tenant", "name"),
        _of_tenant("functions"),
    )
    op.create_table(
        "function_versions",
        sa.Column("tenant", sa.String, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("content_hash", sa.LargeBinary, nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        _primary("function_versions", "tenant", "name", "version"),
        _of_function("function_versions", "name"),
    )
    op.create_table(
        "aliases",
        sa.Column("tenant", sa.String, nullable=False),
        sa.Column("function", sa.String, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("weights", sa.Text, nullable=False),
        _primary("aliases", "tenant", "function", "name"),
        _of_function("aliases", "function"),
    )


def _primary(table: str, *columns: str) -> sa.PrimaryKeyConstraint:
    return sa.PrimaryKeyConstraint(*columns, name=f"pk_{table}")


def _of_tenant(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["tenant"], ["tenants.name"], name=f"fk_{table}_tenants")


def _of_function(table: str, name_column: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["tenant", name_column],
        ["functions.tenant", "functions.name"],
        name=f"fk_{table}_functions",
    )
