"""The audit log's tables. Columns of an entry are its fields, each once: nothing can disagree."""

from sqlalchemy import BigInteger, Column, Index, Integer, PrimaryKeyConstraint, String, Table, Text

from stockade.infra.sql.sql_schema import metadata

audit_heads = Table(
    "audit_heads",
    metadata,
    Column("chain", String, primary_key=True),
    Column("first_sequence", BigInteger, nullable=False),
    Column("first_previous", String, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("hash", String, nullable=False),
    Column("time_ms", BigInteger, nullable=False),
    Column("public_key", String, nullable=False),
    Column("signature", String, nullable=False),
)
"""The row of a chain that an append locks; `sequence` is 0 until the first one is committed."""

audit_entries = Table(
    "audit_entries",
    metadata,
    Column("chain", String, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("previous", String, nullable=False),
    Column("time_ms", BigInteger, nullable=False),
    Column("kind", String, nullable=False),
    Column("request", String, nullable=False),
    Column("principal_kind", String, nullable=False),
    Column("principal", String, nullable=False),
    Column("role", String, nullable=False),
    Column("action", String, nullable=False),
    Column("call", String, nullable=False),
    Column("object_kind", String, nullable=False),
    Column("object", String, nullable=False),
    Column("code", String, nullable=False),
    Column("policies", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("source", String, nullable=False),
    Column("count", Integer, nullable=False),
    Column("hash", String, nullable=False),
    PrimaryKeyConstraint("chain", "sequence"),
    Index("ix_audit_entries_time_ms", "chain", "time_ms"),
    Index("ix_audit_entries_action", "chain", "action", "sequence"),
    Index("ix_audit_entries_principal", "chain", "principal", "sequence"),
    Index("ix_audit_entries_object", "chain", "object", "sequence"),
)
