"""A gateway that is killed in the middle leaves no action without an entry."""

import asyncio
import signal
import sys
from pathlib import Path

from stockade.core.audit_chain import entry_line, head_line
from stockade.core.audit_verify import Verifier
from stockade.infra.sql.sql_catalog import SqlCatalog
from tests.unit.stockade.core.audit_chains import SIGNER, is_signed

ROOT = Path(__file__).parents[2]


async def test_a_gateway_that_is_killed_leaves_a_beginning_without_an_end(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'catalog.db'}"
    died = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.e2e.killed_gateway", url, cwd=ROOT
    )
    assert await died.wait() == -signal.SIGKILL
    catalog = await SqlCatalog.open(url)
    try:
        assert [secret.name for secret in await catalog.secrets("alice")] == ["second"]
        log = catalog.audit_log(SIGNER)
        entries, head = await log.walk("alice", 0, 10), await log.head("alice")
        assert head is not None
        assert [(entry.facts.kind, entry.facts.object) for entry in entries] == [
            ("begun", "first"),
            ("done", "first"),
            ("begun", "second"),
        ]
        lines = [*map(entry_line, entries), head_line(head)]
        assert Verifier(is_signed).verify(lines).fault is None
        await log.append([("alice", entries[0].facts)])
    finally:
        await catalog.aclose()
