"""The table of tokens that CI jobs have been given keys for."""

from sqlalchemy import BigInteger, Column, Index, LargeBinary, Table

from stockade.infra.sql.sql_schema import metadata

used_tokens = Table(
    "used_tokens",
    metadata,
    Column("hash", LargeBinary, primary_key=True),
    Column("expires_ms", BigInteger, nullable=False),
    Index("ix_used_tokens_expires_ms", "expires_ms"),
)
"""`hash` is of the issuer and the token's id; a row may go when the token has ended."""
