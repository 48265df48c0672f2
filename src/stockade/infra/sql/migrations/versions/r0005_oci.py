"""What tenants push as OCI artifacts."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_OF_REPOSITORY = ("tenant", "repository")
_TABLES = ("oci_chunks", "oci_uploads", "oci_tags", "oci_needs", "oci_manifests", "oci_blobs")


def upgrade() -> None:
    """Creates the tables."""
    _create("oci_blobs", *_content(), _primary("oci_blobs", "digest"), _of_tenant("oci_blobs"))
    _create(
        "oci_manifests",
        *_content(),
        sa.Column("media_type", sa.String, nullable=False),
        sa.Column("artifact_type", sa.String),
        sa.Column("subject", sa.String),
        _primary("oci_manifests", "digest"),
        _of_tenant("oci_manifests"),
    )
    _create(
        "oci_needs",
        *_texts(*_OF_REPOSITORY, "manifest", "blob"),
        _primary("oci_needs", "manifest", "blob"),
        _of_manifest("oci_needs", "manifest"),
    )
    _create(
        "oci_tags",
        *_texts(*_OF_REPOSITORY, "tag", "digest"),
        _primary("oci_tags", "tag"),
        _of_manifest("oci_tags", "digest"),
    )
    _create(
        "oci_uploads",
        *_texts("id", *_OF_REPOSITORY),
        *_numbers("received_bytes", "touched_ms"),
        sa.PrimaryKeyConstraint("id", name="pk_oci_uploads"),
        _of_tenant("oci_uploads"),
    )
    _create(
        "oci_chunks",
        *_texts("upload", "stored"),
        *_numbers("start", "size_bytes"),
        sa.PrimaryKeyConstraint("upload", "start", name="pk_oci_chunks"),
        sa.ForeignKeyConstraint(["upload"], ["oci_uploads.id"], name="fk_oci_chunks_oci_uploads"),
    )
    _index()


def downgrade() -> None:
    """Drops them."""
    for table in _TABLES:
        op.drop_table(table)


def _index() -> None:
    for name, table, *columns in (
        ("tenant_digest", "oci_blobs", "tenant", "digest"),
        ("stored", "oci_blobs", "stored"),
        ("created_ms", "oci_blobs", "created_ms"),
        ("subject", "oci_manifests", *_OF_REPOSITORY, "subject"),
        ("stored", "oci_manifests", "stored"),
        ("blob", "oci_needs", *_OF_REPOSITORY, "blob"),
        ("digest", "oci_tags", *_OF_REPOSITORY, "digest"),
        ("tenant", "oci_uploads", "tenant"),
        ("touched_ms", "oci_uploads", "touched_ms"),
        ("stored", "oci_chunks", "stored"),
    ):
        op.create_index(f"ix_{table}_{name}", table, columns)


def _create(table: str, *parts: sa.Column[object] | sa.Constraint) -> None:
    op.create_table(table, *parts)


def _content() -> list[sa.Column[object]]:
    texts = _texts(*_OF_REPOSITORY, "digest", "stored")
    return [*texts, *_numbers("size_bytes", "created_ms")]


def _texts(*names: str) -> list[sa.Column[object]]:
    return [sa.Column(name, sa.String, nullable=False) for name in names]


def _numbers(*names: str) -> list[sa.Column[object]]:
    return [sa.Column(name, sa.BigInteger, nullable=False) for name in names]


def _primary(table: str, *columns: str) -> sa.Constraint:
    return sa.PrimaryKeyConstraint(*_OF_REPOSITORY, *columns, name=f"pk_{table}")


def _of_tenant(table: str) -> sa.Constraint:
    return sa.ForeignKeyConstraint(["tenant"], ["tenants.name"], name=f"fk_{table}_tenants")


def _of_manifest(table: str, column: str) -> sa.Constraint:
    return sa.ForeignKeyConstraint(
        [*_OF_REPOSITORY, column],
        [f"oci_manifests.{name}" for name in (*_OF_REPOSITORY, "digest")],
        name=f"fk_{table}_oci_manifests",
    )
