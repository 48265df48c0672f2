"""What the audit log costs: an entry, a request that leaves none, verifying."""

import asyncio
import hashlib
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Scope

from gateway.audit_middleware import AuditMiddleware
from gateway.audit_trail import AuditTrail
from gateway.metrics import GatewayMetrics
from stockade.core.audit import AuditFacts, EntryKind
from stockade.core.audit_chain import entry_line, extended
from stockade.core.audit_verify import Verifier
from stockade.infra.audit_key import Ed25519HeadSigner
from stockade.infra.memory.memory_audit import MemoryAuditLog
from stockade.infra.sql.sql_catalog import SqlCatalog
from stockade.infra.system_clock import SystemClock

SIGNER = Ed25519HeadSigner((b"a" * 32,))
BATCH = 100
_FACTS = AuditFacts(
    1_800_000_000_000,
    EntryKind.DONE,
    request="01900000-0000-7000-8000-000000000001",
    principal_kind="key",
    principal="abcdefghij01",
    role="admin",
    action="deploy",
    call="PUT /v1/functions/{name}",
    object_kind="function",
    object="hello",
    policies=("developers-deploy",),
    source="192.0.2.1",
)


@dataclass(frozen=True, slots=True)
class Writes:
    """Seconds of a plain write, of one entry, and of a bundle of `BATCH` entries."""

    plain: list[float]
    entry: list[float]
    bundle: list[float]


async def write_seconds(folder: Path, rounds: int) -> Writes:
    """What writing to SQLite takes."""
    catalog = await SqlCatalog.open(f"sqlite:///{folder / 'audit.db'}")
    await catalog.ensure_tenant("acme")
    log = catalog.audit_log(SIGNER)
    found = Writes([], [], [])
    for number in range(rounds):  # in turn, so that all meet the same machine
        sealed = str(number).encode()
        found.plain.append(await _taken(catalog.put_secret("acme", "s", sealed, number)))
        found.entry.append(await _taken(log.append([("acme", _FACTS)])))
        found.bundle.append(await _taken(log.append([("acme", _FACTS)] * BATCH)))
    await catalog.aclose()
    return found


async def request_seconds(rounds: int, each: int) -> tuple[list[float], list[float]]:
    """Seconds of a request that is not told of, within the middleware, and without it."""
    trail = AuditTrail(MemoryAuditLog(SIGNER), SystemClock(), GatewayMetrics(), "")
    bare: ASGIApp = Response(b"x")
    around = AuditMiddleware(bare, trail, SystemClock())
    within: list[float] = []
    without: list[float] = []
    for _ in range(rounds):
        within.append(await _requests(around, each) / each)
        without.append(await _requests(bare, each) / each)
    return within, without


def verify_seconds(count: int, rounds: int) -> tuple[list[float], list[float]]:
    """Seconds for verifying so many lines, and for parsing and hashing them alone."""
    entries, _ = extended("acme", None, [_FACTS] * count, SIGNER)
    lines = [entry_line(entry) for entry in entries]
    return (
        [_timed(lambda: Verifier().verify(lines)) for _ in range(rounds)],
        [_timed(lambda: [_parsed(line) for line in lines]) for _ in range(rounds)],
    )


def _parsed(line: str) -> object:
    return json.loads(line), hashlib.sha256(line.encode()).digest()


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


async def _requests(app: ASGIApp, count: int) -> float:
    headers = [(b"host", b"gateway"), (b"authorization", b"Bearer x"), (b"content-length", b"0")]
    started = time.perf_counter()
    for _ in range(count):
        scope: Scope = {"type": "http", "method": "GET", "path": "/", "headers": headers}
        await app(scope, _receive, _send)
    return time.perf_counter() - started


async def _receive() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _send(_: Message) -> None:
    await asyncio.sleep(0)


async def _taken(action: Awaitable[object]) -> float:
    started = time.perf_counter()
    await action
    return time.perf_counter() - started
