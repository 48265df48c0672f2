"""The `AuditLog` port in the catalog's database; made by `SqlCatalog.audit_log`.

A chain's head is the row that writers lock, so that all gateways write one chain. This process
remembers how far it saw each chain: a database that was set back is noticed at the next write.
"""

from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, RowMapping, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from stockade.core.audit import (
    AuditEntry,
    AuditFacts,
    AuditHead,
    AuditQuery,
    HeadSigner,
)
from stockade.core.audit_chain import (
    NO_HASH,
    chain_broken,
    check_head,
    extended,
    signed_head,
)
from stockade.infra.audit_values import by_chain, pruned
from stockade.infra.catalog_values import storable, to_json
from stockade.infra.sql.sql_engine import reading
from stockade.infra.sql.sql_queries import add
from stockade.infra.sql.sql_tables_audit import audit_entries, audit_heads
from stockade.infra.sql.sql_writer import SqlWriter

_MAX_SEEN = 10_000
_FACTS = tuple(field.name for field in fields(AuditFacts))


class SqlAuditLog:
    """Chains in two tables."""

    def __init__(self, engine: AsyncEngine, writer: SqlWriter, signer: HeadSigner) -> None:
        self._engine = engine
        self._writer = writer
        self._signer = signer
        self._seen: dict[str, int] = {}

    async def append(self, entries: Sequence[tuple[str, AuditFacts]]) -> None:
        """Adds to chains, each named beside its facts: all or none."""
        grouped = by_chain(entries)
        ends: dict[str, int] = {}
        async with self._writer.writing() as connection:
            for chain, facts in grouped.items():
                head = await self._locked(connection, chain)
                ends[chain] = await self._extend(connection, chain, head, facts)
        self._remember(ends)

    async def find(self, chain: str, query: AuditQuery) -> Sequence[AuditEntry]:
        """Entries that the query asks for, newest first."""
        if not storable(chain, query.action, query.principal, query.object):
            return ()
        if not storable(query.since_ms, query.until_ms, query.before):
            return ()
        column = audit_entries.c.sequence
        wanted = select(audit_entries).where(*_conditions(chain, query)).order_by(column.desc())
        async with reading(self._engine) as connection:
            rows = await connection.execute(wanted.limit(query.most))
            return tuple(map(_entry, rows.mappings()))

    async def walk(self, chain: str, after: int, most: int) -> Sequence[AuditEntry]:
        """Entries with higher numbers than `after`, oldest first."""
        if not storable(chain, after):
            return ()
        column = audit_entries.c.sequence
        following = select(audit_entries).where(audit_entries.c.chain == chain, column > after)
        async with reading(self._engine) as connection:
            rows = await connection.execute(following.order_by(column).limit(most))
            return tuple(map(_entry, rows.mappings()))

    async def head(self, chain: str) -> AuditHead | None:
        """The head; None of an empty chain."""
        if not storable(chain):
            return None
        async with reading(self._engine) as connection:
            found = select(audit_heads).where(audit_heads.c.chain == chain)
            return _head((await connection.execute(found)).mappings().one_or_none())

    async def chains(self) -> Sequence[str]:
        """The names of all chains, in order."""
        async with reading(self._engine) as connection:
            return tuple(sorted((await connection.execute(select(audit_heads.c.chain))).scalars()))

    async def prune(self, chain: str, before_ms: int, most: int, now_ms: int) -> int:
        """Deletes entries from the old end on, up to the first that is not older than this."""
        oldest = await self.walk(chain, 0, 1)
        if oldest and oldest[0].facts.time_ms >= before_ms:
            return 0  # as it is mostly: no need for a lock
        async with self._writer.writing() as connection:
            head = await self._locked(connection, chain)
            if head is None:
                return 0
            end = await _old_end(connection, head, before_ms, most)
            if end is None or end.sequence < head.first_sequence:
                return 0
            own = audit_entries.c.chain == chain
            await connection.execute(
                delete(audit_entries).where(own, audit_entries.c.sequence <= end.sequence)
            )
            count = end.sequence - head.first_sequence + 1
            first, last = (end.sequence + 1, end.hash), (head.sequence, head.hash)
            shorter = signed_head(chain, first, last, now_ms, self._signer)
            said = pruned(head.first_sequence, count, now_ms)
            reached = await self._extend(connection, chain, shorter, [said])
        self._remember({chain: reached})
        return count

    async def _locked(self, connection: AsyncConnection, chain: str) -> AuditHead | None:
        """The head, checked, which nobody else goes on from before the end of the transaction."""
        if chain not in self._seen:
            await add(connection, audit_heads, **_NO_HEAD, chain=chain)
        query = select(audit_heads).where(audit_heads.c.chain == chain).with_for_update()
        head = _head((await connection.execute(query)).mappings().one_or_none())
        check_head(chain, head, await _tail(connection, chain), self._signer)
        if (0 if head is None else head.sequence) < self._seen.get(chain, 0):
            raise chain_broken(chain)
        return head

    async def _extend(
        self,
        connection: AsyncConnection,
        chain: str,
        head: AuditHead | None,
        facts: Sequence[AuditFacts],
    ) -> int:
        entries, following = extended(chain, head, facts, self._signer)
        await connection.execute(insert(audit_entries), [_row(entry) for entry in entries])
        own = audit_heads.c.chain == chain
        await connection.execute(update(audit_heads).where(own).values(**asdict(following)))
        return following.sequence

    def _remember(self, ends: dict[str, int]) -> None:
        if len(self._seen) >= _MAX_SEEN:
            self._seen.clear()
        for chain, sequence in ends.items():
            self._seen[chain] = max(sequence, self._seen.get(chain, 0))


_NO_HEAD = {
    "first_sequence": 1,
    "first_previous": NO_HASH,
    "sequence": 0,
    "hash": NO_HASH,
    "time_ms": 0,
    "public_key": "",
    "signature": "",
}


async def _tail(connection: AsyncConnection, chain: str) -> tuple[int, str] | None:
    newest = audit_entries.c.sequence.desc()
    query = select(audit_entries.c.sequence, audit_entries.c.hash)
    rows = await connection.execute(
        query.where(audit_entries.c.chain == chain).order_by(newest).limit(1)
    )
    row = rows.one_or_none()
    return None if row is None else (row.sequence, row.hash)


async def _old_end(
    connection: AsyncConnection, head: AuditHead, before_ms: int, most: int
) -> AuditEntry | None:
    """The last entry of those to delete."""
    own = audit_entries.c.chain == head.chain
    young = select(audit_entries.c.sequence).where(own, audit_entries.c.time_ms >= before_ms)
    stop = await connection.scalar(young.order_by(audit_entries.c.sequence).limit(1))
    last = min(stop or head.sequence, head.sequence, head.first_sequence + most) - 1
    query = select(audit_entries).where(own, audit_entries.c.sequence == last)
    row = (await connection.execute(query)).mappings().one_or_none()
    return None if row is None else _entry(row)


def _conditions(chain: str, query: AuditQuery) -> list[ColumnElement[bool]]:
    columns = audit_entries.c
    texts = (
        (columns.action, query.action),
        (columns.principal, query.principal),
        (columns.object, query.object),
    )
    found = [columns.chain == chain, *(column == text for column, text in texts if text)]
    if query.since_ms is not None:
        found.append(columns.time_ms >= query.since_ms)
    if query.until_ms is not None:
        found.append(columns.time_ms < query.until_ms)
    if query.before is not None:
        found.append(columns.sequence < query.before)
    return found


def _row(entry: AuditEntry) -> dict[str, object]:
    place = {"chain": entry.chain, "sequence": entry.sequence, "previous": entry.previous}
    policies = to_json(entry.facts.policies)
    return asdict(entry.facts) | place | {"policies": policies, "hash": entry.hash}


def _entry(row: RowMapping) -> AuditEntry:
    facts = {name: _told(row[name]) for name in _FACTS}
    try:
        facts["policies"] = msgspec.json.decode(row["policies"], type=tuple[str, ...])
    except (msgspec.MsgspecError, TypeError):
        facts["policies"] = (str(row["policies"]),)  # somebody's edit: the hash will not fit
    place = (row["chain"], row["sequence"], _told(row["previous"]))
    return AuditEntry(*place, AuditFacts(**facts), _told(row["hash"]))


def _head(row: RowMapping | None) -> AuditHead | None:
    if row is None or not row["sequence"]:
        return None
    return AuditHead(**{name: _told(value) for name, value in row.items()})


def _told(value: Any) -> Any:  # noqa: ANN401 - as the column has it
    """The value as it is; SQLite takes any type in any column, and somebody may have used that."""
    return value if isinstance(value, str | int) else repr(value)
