"""The `AuditLog` port: chains that only grow, one each, and that notice who touches them."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from stockade.core.audit import PLATFORM, AuditLog, AuditQuery, EntryKind
from stockade.core.audit_chain import entry_line, head_line
from stockade.core.audit_verify import Verifier
from stockade.core.errors import StockadeError
from stockade.infra.audit_key import Ed25519HeadSigner
from stockade.infra.memory.memory_audit import MemoryAuditLog
from stockade.infra.sql.sql_audit import SqlAuditLog
from stockade.infra.sql.sql_catalog import SqlCatalog
from tests.ports.conftest import SQL, emptied_url
from tests.unit.stockade.core.audit_chains import SIGNER, facts, is_signed


@pytest.fixture(params=["memory", *SQL])
async def log(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[AuditLog]:
    if request.param == "memory":
        yield MemoryAuditLog(SIGNER)
        return
    catalog = await SqlCatalog.open(await emptied_url(request, request.param, tmp_path))
    yield catalog.audit_log(SIGNER)
    await catalog.aclose()


async def lines_of(log: AuditLog, chain: str) -> list[str]:
    head = await log.head(chain)
    entries = await log.walk(chain, 0, 1000)
    return [*map(entry_line, entries), *([] if head is None else [head_line(head)])]


async def check(log: AuditLog, chain: str, count: int) -> None:
    found = Verifier(is_signed).verify(await lines_of(log, chain))
    assert found.fault is None
    assert found.entries == count


async def broken(log: AuditLog, chain: str = "acme") -> None:
    with pytest.raises(StockadeError) as refused:
        await log.append([(chain, facts())])
    assert refused.value.code == "audit.chain_broken"


async def test_entries_come_back_as_they_were_written(log: AuditLog) -> None:
    written = [facts(number, count=number) for number in range(3)]
    await log.append([("acme", said) for said in written[:2]])
    await log.append([("acme", written[2])])
    found = await log.walk("acme", 0, 10)
    assert [entry.facts for entry in found] == written
    assert [entry.sequence for entry in found] == [1, 2, 3]
    assert await log.walk("acme", 1, 1) == found[1:2]
    await check(log, "acme", 3)


async def test_each_tenant_has_a_chain_of_its_own(log: AuditLog) -> None:
    await log.append([("rival", facts(1)), ("acme", facts(2)), (PLATFORM, facts(3))])
    await log.append([("acme", facts(4))])
    assert list(await log.chains()) == sorted([PLATFORM, "acme", "rival"])
    for chain, count in (("acme", 2), ("rival", 1), (PLATFORM, 1)):
        await check(log, chain, count)
    assert await log.head("nobody") is None
    assert list(await log.walk("nobody", 0, 10)) == []


async def test_queries_narrow_what_is_found(log: AuditLog) -> None:
    said = [
        facts(0, action="deploy", principal="a", object="f"),
        facts(1, action="upload", principal="a", object="g"),
        facts(2, action="deploy", principal="b", object="g"),
    ]
    await log.append([("acme", one) for one in said])
    begin = said[0].time_ms

    async def found(**asked: object) -> list[int]:
        query = AuditQuery(**asked)  # type: ignore[arg-type]
        return [entry.sequence for entry in await log.find("acme", query)]

    assert await found() == [3, 2, 1]
    assert await found(most=2) == [3, 2]
    assert await found(before=2) == [1]
    assert await found(action="deploy") == [3, 1]
    assert await found(action="deploy", principal="b") == [3]
    assert await found(object="g", before=3) == [2]
    assert await found(since_ms=begin + 1, until_ms=begin + 2) == [2]
    assert await found(action="' OR 1=1 --") == []
    assert await found(principal="\0") == []
    assert list(await log.find("rival", AuditQuery())) == []


async def test_texts_that_no_store_holds_are_refused_whole(log: AuditLog) -> None:
    with pytest.raises(StockadeError) as refused:
        await log.append([("acme", facts(1)), ("acme", facts(2, object="\0"))])
    assert refused.value.code == "catalog.value_invalid"
    assert await log.head("acme") is None
    with pytest.raises(RuntimeError):
        await log.append([("acme", facts(count=-1))])


async def test_pruning_goes_from_the_old_end_and_leaves_a_chain_that_verifies(
    log: AuditLog,
) -> None:
    await log.append([("acme", facts(number)) for number in range(10)])
    begin = facts().time_ms
    assert await log.prune("acme", begin, 100, begin) == 0
    assert await log.prune("acme", begin + 4, 3, begin + 20) == 3
    assert await log.prune("acme", begin + 4, 3, begin + 20) == 1
    head = await log.head("acme")
    assert head is not None
    assert (head.first_sequence, head.sequence) == (5, 12)
    told = (await log.walk("acme", 10, 10))[0].facts
    assert (told.kind, told.object, told.count) == (EntryKind.PRUNED, "1-3", 3)
    await check(log, "acme", 8)
    assert await log.prune("nobody", begin + 4, 3, begin) == 0


async def test_pruning_stops_at_the_first_young_entry_and_keeps_the_last(log: AuditLog) -> None:
    begin = facts().time_ms
    for number in (0, 100, 1):  # a clock went back
        await log.append([("acme", facts(number))])
    assert await log.prune("acme", begin + 50, 100, begin) == 1
    assert await log.prune("acme", begin + 1000, 100, begin + 2000) == 2
    await check(log, "acme", 2)


class Database:
    """An open log in a database, and somebody who can write to that."""

    def __init__(self, url: str, catalog: SqlCatalog) -> None:
        self.url = url
        self.catalog = catalog
        self.log = catalog.audit_log(SIGNER)

    async def touch(self, statement: str, **values: object) -> None:
        async with self.catalog._writer.writing() as connection:
            await connection.execute(text(statement), values)

    def another_gateway(self) -> SqlAuditLog:
        return self.catalog.audit_log(SIGNER)


@pytest.fixture
async def database(catalog_url: str) -> AsyncIterator[Database]:
    catalog = await SqlCatalog.open(catalog_url)
    made = Database(catalog_url, catalog)
    await made.log.append([("acme", facts(number)) for number in range(5)])
    yield made
    await catalog.aclose()


TEXTS = [
    "previous",
    "hash",
    "kind",
    "request",
    "principal_kind",
    "principal",
    "role",
    "action",
    "call",
    "object_kind",
    "object",
    "code",
    "policies",
    "reason",
    "source",
]


async def test_an_edit_of_any_column_is_found(database: Database) -> None:
    for number, column in enumerate([*TEXTS, "time_ms", "count"]):
        chain = f"chain-{number}"
        await database.log.append([(chain, facts(one)) for one in range(4)])
        value = "'[\"x\"]'" if column in TEXTS else "7"
        change = f"UPDATE audit_entries SET {column} = {value}"  # noqa: S608 - ours
        await database.touch(f"{change} WHERE chain = :chain AND sequence = 3", chain=chain)
        found = Verifier(is_signed).verify(await lines_of(database.log, chain)).fault
        assert found is not None, column
        assert found.sequence in {3, 4}, column


async def test_values_of_another_type_are_found(tmp_path: Path) -> None:
    """SQLite takes them; PostgreSQL holds columns to their types."""
    catalog = await SqlCatalog.open(f"sqlite:///{tmp_path / 'catalog.db'}")
    database = Database("", catalog)
    for column in ("reason", "hash", "time_ms", "policies"):
        await database.log.append([(column, facts(number)) for number in range(5)])
        change = f"UPDATE audit_entries SET {column} = x'ff'"  # noqa: S608 - ours
        await database.touch(f"{change} WHERE chain = :chain AND sequence = 3", chain=column)
        found = Verifier(is_signed).verify(await lines_of(database.log, column)).fault
        assert found is not None, column
        assert found.sequence == 3, column
    await database.touch("UPDATE audit_heads SET signature = x'ff', hash = x'ff'")
    await broken(database.log, "reason")
    await catalog.aclose()


async def test_policies_that_are_no_list_are_found(database: Database) -> None:
    await database.touch("UPDATE audit_entries SET policies = 'oops' WHERE sequence = 2")
    found = Verifier(is_signed).verify(await lines_of(database.log, "acme")).fault
    assert found is not None
    assert found.sequence == 2


TOUCHES = [
    "DELETE FROM audit_entries WHERE sequence = 5 AND chain = :chain",
    "DELETE FROM audit_entries WHERE chain = :chain",
    "DELETE FROM audit_heads WHERE chain = :chain",
    "UPDATE audit_heads SET sequence = 0 WHERE chain = :chain",
    "UPDATE audit_heads SET sequence = 4 WHERE chain = :chain",
    "UPDATE audit_heads SET hash = first_previous WHERE chain = :chain",
    "UPDATE audit_heads SET first_sequence = 2 WHERE chain = :chain",
    "UPDATE audit_heads SET first_previous = hash WHERE chain = :chain",
    "UPDATE audit_heads SET signature = 'no hex' WHERE chain = :chain",
    "UPDATE audit_heads SET public_key = signature WHERE chain = :chain",
    "UPDATE audit_heads SET time_ms = 1 WHERE chain = :chain",
    "UPDATE audit_entries SET sequence = 6 WHERE sequence = 5 AND chain = :chain",
    "UPDATE audit_entries SET hash = previous WHERE sequence = 5 AND chain = :chain",
]


async def test_nobody_goes_on_from_a_chain_that_was_touched(database: Database) -> None:
    for number, statement in enumerate(TOUCHES):
        chain = f"chain-{number}"
        await database.log.append([(chain, facts(one)) for one in range(5)])
        await database.touch(statement, chain=chain)
        await broken(database.log, chain)
        await broken(database.another_gateway(), chain)
        with pytest.raises(StockadeError) as refused:
            await database.log.prune(chain, 2**60, 10, 1)
        assert refused.value.code == "audit.chain_broken", statement
    await database.log.append([("rival", facts())])


async def test_a_cut_tail_is_not_laundered_by_the_next_entry(database: Database) -> None:
    """The head goes with it, but its signature cannot."""
    await database.touch("DELETE FROM audit_entries WHERE sequence > 3")
    entry = (await database.log.walk("acme", 2, 1))[0]
    await database.touch("UPDATE audit_heads SET sequence = 3, hash = :hash", hash=entry.hash)
    await broken(database.another_gateway())


async def test_a_database_that_was_set_back_is_noticed_by_a_gateway_that_saw_more(
    database: Database,
) -> None:
    """Rows and signed head of then: without a witness they are as good as they were."""
    old = await database.log.head("acme")
    assert old is not None
    await database.log.append([("acme", facts(9))])
    await database.touch("DELETE FROM audit_entries WHERE sequence > 5")
    await database.touch(
        "UPDATE audit_heads SET sequence = :sequence, hash = :hash, time_ms = :time_ms,"
        " signature = :signature",
        sequence=old.sequence,
        hash=old.hash,
        time_ms=old.time_ms,
        signature=old.signature,
    )
    await broken(database.log)
    await database.another_gateway().append([("acme", facts(10))])


async def test_a_broken_chain_can_be_set_aside(database: Database) -> None:
    await database.touch("DELETE FROM audit_entries WHERE sequence = 5")
    for table in ("audit_entries", "audit_heads"):
        change = f"UPDATE {table} SET chain = 'acme.aside' WHERE chain = 'acme'"  # noqa: S608 - ours
        await database.touch(change)
    log = database.another_gateway()
    await log.append([("acme", facts())])
    await check(log, "acme", 1)
    assert len(await log.walk("acme.aside", 0, 10)) == 4


async def test_another_key_does_not_go_on_and_a_rotated_one_does(database: Database) -> None:
    log = database.catalog.audit_log(Ed25519HeadSigner((b"b" * 32,)))
    await broken(log)
    rotated = Ed25519HeadSigner((b"b" * 32, b"a" * 32))
    await database.catalog.audit_log(rotated).append([("acme", facts())])
    head = await database.log.head("acme")
    assert head is not None
    assert head.public_key == rotated.public_key.hex()
    await broken(database.log)


async def test_gateways_that_write_at_once_make_one_chain(catalog_url: str) -> None:
    first, second = await SqlCatalog.open(catalog_url), await SqlCatalog.open(catalog_url)
    logs = [first.audit_log(SIGNER), second.audit_log(SIGNER)]
    try:
        await asyncio.gather(
            *(
                log.append([("rival", facts(number)), ("acme", replace(facts(number)))])
                for number in range(15)
                for log in logs
            )
        )
        for chain in ("acme", "rival"):
            await check(logs[0], chain, 30)
    finally:
        await first.aclose()
        await second.aclose()


async def test_a_write_that_is_cut_off_leaves_no_half(database: Database) -> None:
    for _ in range(5):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                await asyncio.gather(
                    *(database.log.append([("acme", facts(n))] * 5) for n in range(20))
                )
    await database.log.append([("acme", facts(1))])
    head = await database.log.head("acme")
    assert head is not None
    assert head.sequence % 5 == 1
    await check(database.log, "acme", head.sequence)
