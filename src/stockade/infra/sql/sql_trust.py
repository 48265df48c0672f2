"""Signers, and what functions ask of them, in an SQL database."""

from collections.abc import Sequence

import msgspec
from sqlalchemy import case, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from stockade.core.modules import Signer
from stockade.core.trust import FunctionTrust
from stockade.infra.catalog_values import (
    check_signer_storable,
    check_storable,
    check_trust_storable,
    signer_taken,
    storable,
    to_json,
)
from stockade.infra.sql import sql_queries as queries
from stockade.infra.sql.sql_engine import reading
from stockade.infra.sql.sql_schema import function_trust, signers
from stockade.infra.sql.sql_writer import SqlWriter


class SqlTrustStore:
    """The `TrustStore` port through SQLAlchemy."""

    def __init__(self, engine: AsyncEngine, writer: SqlWriter) -> None:
        self._engine = engine
        self._writer = writer

    async def add_signer(self, tenant: str, signer: Signer) -> bool:
        """Trusts a key; False when exactly this signer was trusted already."""
        check_signer_storable(tenant, signer)
        async with self._writer.writing(tenant) as connection:
            return await _add(connection, tenant, signer)

    async def signers(self, tenant: str) -> Sequence[Signer]:
        """All signers of the tenant, revoked ones too, by name."""
        if not storable(tenant):
            return ()
        async with reading(self._engine) as connection:
            return await queries.list_signers(connection, tenant)

    async def revoke_signer(
        self, tenant: str, name: str, revoked_ms: int, reason: str | None = None
    ) -> bool:
        """Marks a signer revoked (the first time counts); False when there is none of that name."""
        check_storable(revoked_ms, reason)
        if not storable(tenant, name):
            return False
        known, given = signers.c.revoked_ms, signers.c.revoked_reason
        mark = (
            update(signers)
            .where(signers.c.tenant == tenant, signers.c.name == name)
            .values(
                revoked_ms=func.coalesce(known, revoked_ms),
                revoked_reason=case((known.is_(None), reason), else_=given),
            )
        )
        async with self._writer.writing(tenant) as connection:
            return (await connection.execute(mark)).rowcount == 1

    async def rotate_signer(self, tenant: str, successor: Signer, until_ms: int) -> bool:
        """Trusts a successor, and ends the window of the signer it replaces no later than this."""
        check_storable(until_ms)
        check_signer_storable(tenant, successor)
        ends = signers.c.not_after_ms
        own = (signers.c.tenant == tenant, signers.c.name == successor.replaces)
        end = update(signers).where(*own, or_(ends.is_(None), ends > until_ms))
        async with self._writer.writing(tenant) as connection:
            if await connection.scalar(select(signers.c.name).where(*own)) is None:
                return False
            await _add(connection, tenant, successor)
            await connection.execute(end.values(not_after_ms=until_ms))
            return True

    async def put_function_trust(self, tenant: str, function: str, trust: FunctionTrust) -> bool:
        """Says what a function asks of signers, deployed or not yet; True when it said nothing."""
        check_trust_storable(tenant, function, trust)
        asked = {"threshold": trust.threshold, "signers": to_json(trust.signers)}
        own = (function_trust.c.tenant == tenant, function_trust.c.name == function)
        async with self._writer.writing(tenant) as connection:
            if await queries.add(connection, function_trust, tenant=tenant, name=function, **asked):
                return True
            await connection.execute(update(function_trust).where(*own).values(**asked))
            return False

    async def function_trust(self, tenant: str, function: str) -> FunctionTrust | None:
        """What the function asks of signers; None leaves it at one of any."""
        if not storable(tenant, function):
            return None
        table = function_trust.c
        query = select(table.threshold, table.signers).where(
            table.tenant == tenant, table.name == function
        )
        async with reading(self._engine) as connection:
            row = (await connection.execute(query)).one_or_none()
        if row is None:
            return None
        names = msgspec.json.decode(row.signers, type=tuple[str, ...])
        return FunctionTrust(row.threshold, names)


async def _add(connection: AsyncConnection, tenant: str, signer: Signer) -> bool:
    added = await queries.add_signer(connection, tenant, signer)
    if not added and signer not in await queries.list_signers(connection, tenant):
        raise signer_taken(signer.name)
    return added
