"""The catalog's tables, as the newest migration leaves them (a test compares the two).

Text that holds JSON is canonical (`stockade.infra.catalog_values`); times are Unix milliseconds.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(referred_table_name)s",
    }
)

tenants = Table("tenants", metadata, Column("name", String, primary_key=True))

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String, primary_key=True),
    Column("tenant", String, nullable=False),
    Column("name", String, nullable=False),
    Column("secret_hash", LargeBinary, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger),
    Column("role", String, nullable=False, server_default="admin"),
    Column("scopes", Text, nullable=False, server_default="[]"),
    Column("revoked_ms", BigInteger),
    Column("last_used_ms", BigInteger),
    Column("kind", String, nullable=False, server_default="key"),
    Column("subject", String),
    Column("claims", Text, nullable=False, server_default="[]"),
    ForeignKeyConstraint(["tenant"], ["tenants.name"]),
    Index("ix_api_keys_tenant", "tenant"),
    Index("ix_api_keys_kind_expires_ms", "kind", "expires_ms"),
)

signers = Table(
    "signers",
    metadata,
    Column("tenant", String, nullable=False),
    Column("name", String, nullable=False),
    Column("public_key", LargeBinary, nullable=False),
    Column("not_before_ms", BigInteger),
    Column("not_after_ms", BigInteger),
    Column("revoked_ms", BigInteger),
    Column("revoked_reason", Text),
    Column("replaces", String),
    PrimaryKeyConstraint("tenant", "name"),
    UniqueConstraint("tenant", "public_key"),
    ForeignKeyConstraint(["tenant"], ["tenants.name"]),
)
"""`replaces` names the signer whose place this one took."""

function_trust = Table(
    "function_trust",
    metadata,
    Column("tenant", String, nullable=False),
    Column("name", String, nullable=False),
    Column("threshold", Integer, nullable=False),
    Column("signers", Text, nullable=False),
    PrimaryKeyConstraint("tenant", "name"),
    ForeignKeyConstraint(["tenant"], ["tenants.name"]),
)
"""How many of which signers a function's module needs; may be set before the first deploy."""

modules = Table(
    "modules",
    metadata,
    Column("tenant", String, nullable=False),
    Column("digest", String, nullable=False),
    Column("facts", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("size_bytes", BigInteger, nullable=False, server_default="0"),
    Column("deleted_ms", BigInteger),
    PrimaryKeyConstraint("tenant", "digest"),
    ForeignKeyConstraint(["tenant"], ["tenants.name"]),
    Index("ix_modules_created_ms", "tenant", "created_ms", "digest"),
    Index("ix_modules_digest", "digest"),
    Index("ix_modules_deleted_ms", "deleted_ms"),
)

module_signatures = Table(
    "module_signatures",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("tenant", String, nullable=False),
    Column("digest", String, nullable=False),
    Column("signature_hash", LargeBinary, nullable=False),
    Column("signature", LargeBinary, nullable=False),
    UniqueConstraint("tenant", "digest", "signature_hash"),
    ForeignKeyConstraint(["tenant", "digest"], ["modules.tenant", "modules.digest"]),
)
"""`id` keeps the order of arrival; the hash stands in for a signature too long to index."""

functions = Table(
    "functions",
    metadata,
    Column("tenant", String, nullable=False),
    Column("name", String, nullable=False),
    Column("latest_version", Integer, nullable=False),
    Column("deleted_ms", BigInteger),
    Column("deleted_by", String),
    Column("purge_ms", BigInteger),
    PrimaryKeyConstraint("tenant", "name"),
    ForeignKeyConstraint(["tenant"], ["tenants.name"]),
    Index("ix_functions_purge_ms", "purge_ms"),
)
"""One row per function: the row that a deploy locks, so that versions are numbered without gaps.

It outlives the function, so that no number names two versions. The last three columns are set while
a deleted one can be restored. On PostgreSQL its name, and the columns that refer to it, are ordered
by code point, as everywhere else.
"""

function_versions = Table(
    "function_versions",
    metadata,
    Column("tenant", String, nullable=False),
    Column("name", String, nullable=False),
    Column("version", Integer, nullable=False),
    Column("content", Text, nullable=False),
    Column("content_hash", LargeBinary, nullable=False),
    Column("digest", String, nullable=False, server_default=""),
    Column("created_ms", BigInteger, nullable=False),
    Column("created_by", String, nullable=False, server_default=""),
    Column("message", Text, nullable=False, server_default=""),
    Column("labels", Text, nullable=False, server_default="[]"),
    PrimaryKeyConstraint("tenant", "name", "version"),
    ForeignKeyConstraint(["tenant", "name"], ["functions.tenant", "functions.name"]),
    Index("ix_function_versions_digest", "tenant", "digest"),
)

secrets = Table(
    "secrets",
    metadata,
    Column("tenant", String, nullable=False),
    Column("name", String, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("tenant", "name"),
    ForeignKeyConstraint(["tenant"], ["tenants.name"]),
)

aliases = Table(
    "aliases",
    metadata,
    Column("tenant", String, nullable=False),
    Column("function", String, nullable=False),
    Column("name", String, nullable=False),
    Column("weights", Text, nullable=False),
    Column("revision", Integer, nullable=False, server_default="1"),
    Column("changed_ms", BigInteger, nullable=False, server_default="0"),
    Column("changed_by", String, nullable=False, server_default=""),
    PrimaryKeyConstraint("tenant", "function", "name"),
    ForeignKeyConstraint(["tenant", "function"], ["functions.tenant", "functions.name"]),
)

schedules = Table(
    "schedules",
    metadata,
    Column("tenant", String, nullable=False),
    Column("name", String, nullable=False),
    Column("id", String, nullable=False),
    Column("function", String, nullable=False),
    Column("alias", String),
    Column("version", Integer),
    Column("cron", String),
    Column("time_zone", String),
    Column("every_seconds", Integer),
    Column("anchor_ms", BigInteger),
    Column("input", LargeBinary, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("catch_up", String, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("next_ms", BigInteger),
    Column("due_ms", BigInteger),
    Column("paused", Boolean, nullable=False),
    Column("last_ms", BigInteger),
    Column("last_invocation", String),
    Column("refusal", Text),
    PrimaryKeyConstraint("tenant", "name"),
    ForeignKeyConstraint(["tenant"], ["tenants.name"]),
    Index("ix_schedules_due_ms", "due_ms"),
)
"""Either `cron` and `time_zone` are set, or `every_seconds`. `due_ms` is empty while paused."""
