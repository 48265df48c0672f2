"""The tables of pushed OCI content. `stored` names bytes in the blob store, whoever needs them.

Every row that is added here is added while its tenant's row in `tenants` is locked, so that what
it needs is not deleted meanwhile, and bounds are exact.
"""

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKeyConstraint,
    Index,
    PrimaryKeyConstraint,
    String,
    Table,
)

from stockade.infra.sql.sql_schema import metadata

oci_blobs = Table(
    "oci_blobs",
    metadata,
    Column("tenant", String, nullable=False),
    Column("repository", String, nullable=False),
    Column("digest", String, nullable=False),
    Column("stored", String, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("tenant", "repository", "digest"),
    ForeignKeyConstraint(["tenant"], ["tenants.name"]),
    Index("ix_oci_blobs_tenant_digest", "tenant", "digest"),
    Index("ix_oci_blobs_stored", "stored"),
    Index("ix_oci_blobs_created_ms", "created_ms"),
)

oci_manifests = Table(
    "oci_manifests",
    metadata,
    Column("tenant", String, nullable=False),
    Column("repository", String, nullable=False),
    Column("digest", String, nullable=False),
    Column("stored", String, nullable=False),
    Column("media_type", String, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("artifact_type", String),
    Column("subject", String),
    PrimaryKeyConstraint("tenant", "repository", "digest"),
    ForeignKeyConstraint(["tenant"], ["tenants.name"]),
    Index("ix_oci_manifests_subject", "tenant", "repository", "subject"),
    Index("ix_oci_manifests_stored", "stored"),
)

oci_needs = Table(
    "oci_needs",
    metadata,
    Column("tenant", String, nullable=False),
    Column("repository", String, nullable=False),
    Column("manifest", String, nullable=False),
    Column("blob", String, nullable=False),
    PrimaryKeyConstraint("tenant", "repository", "manifest", "blob"),
    ForeignKeyConstraint(
        ["tenant", "repository", "manifest"],
        ["oci_manifests.tenant", "oci_manifests.repository", "oci_manifests.digest"],
    ),
    Index("ix_oci_needs_blob", "tenant", "repository", "blob"),
)
"""Which blobs a manifest needs."""

oci_tags = Table(
    "oci_tags",
    metadata,
    Column("tenant", String, nullable=False),
    Column("repository", String, nullable=False),
    Column("tag", String, nullable=False),
    Column("digest", String, nullable=False),
    PrimaryKeyConstraint("tenant", "repository", "tag"),
    ForeignKeyConstraint(
        ["tenant", "repository", "digest"],
        ["oci_manifests.tenant", "oci_manifests.repository", "oci_manifests.digest"],
    ),
    Index("ix_oci_tags_digest", "tenant", "repository", "digest"),
)

oci_uploads = Table(
    "oci_uploads",
    metadata,
    Column("id", String, primary_key=True),
    Column("tenant", String, nullable=False),
    Column("repository", String, nullable=False),
    Column("received_bytes", BigInteger, nullable=False),
    Column("touched_ms", BigInteger, nullable=False),
    ForeignKeyConstraint(["tenant"], ["tenants.name"]),
    Index("ix_oci_uploads_tenant", "tenant"),
    Index("ix_oci_uploads_touched_ms", "touched_ms"),
)

oci_chunks = Table(
    "oci_chunks",
    metadata,
    Column("upload", String, nullable=False),
    Column("start", BigInteger, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("stored", String, nullable=False),
    PrimaryKeyConstraint("upload", "start"),
    ForeignKeyConstraint(["upload"], ["oci_uploads.id"]),
    Index("ix_oci_chunks_stored", "stored"),
)
