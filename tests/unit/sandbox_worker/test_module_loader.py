"""The loader: what is loaded at once is loaded once, and trust and memory have their bounds."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from registry.signature_format import encode_u32
from sandbox_worker.module_loader import ModuleLoader
from sandbox_worker.module_trust import ModuleTrust
from stockade.core.digests import digest_of
from stockade.core.errors import StockadeError
from stockade.core.modules import Abi, ModuleFacts, StoredModule
from stockade.infra.directory_artifacts import DirectoryArtifactCache
from stockade.infra.memory.memory_blobs import MemoryBlobStore
from stockade.infra.memory.memory_catalog import MemoryCatalog
from stockade.infra.system_clock import SystemClock
from tests.unit.gateway.installation import POLICIES, FixedTrustRules
from tests.unit.registry.signed_modules import BODY, SIGNER, custom, payload

FACTS = ModuleFacts(Abi.STOCKADE_V1, (), (), deterministic=True, size_bytes=len(BODY))


class GatedCompiler:
    """The `ModuleCompiler` port: compiles when it is let, to what tells what it was given."""

    def __init__(self) -> None:
        self.let = asyncio.Event()
        self.compiled: list[str] = []
        self.failure: StockadeError | None = None

    async def compile(self, body: bytes, tenant: str = "") -> bytes:
        assert tenant == "alice"
        self.compiled.append(digest_of(body))
        await self.let.wait()
        if self.failure:
            raise self.failure
        return b"compiled " + body


@dataclass
class Host:
    """What the workers of a host share, and its tenant's catalog."""

    folder: Path
    catalog: MemoryCatalog = field(default_factory=MemoryCatalog)
    blobs: MemoryBlobStore = field(default_factory=MemoryBlobStore)
    compiler: GatedCompiler = field(default_factory=GatedCompiler)

    def worker(self, *, trust_seconds: float = 60.0, kept_bytes: int = 1 << 20) -> ModuleLoader:
        rules, clock = FixedTrustRules(), SystemClock()
        return ModuleLoader(
            trust=ModuleTrust(self.catalog, self.blobs, POLICIES, rules, clock, trust_seconds),
            blobs=self.blobs,
            cache=DirectoryArtifactCache(self.folder, b"k" * 32, "engine"),
            compiler=self.compiler,
            kept_bytes=kept_bytes,
        )

    async def uploaded(self, body: bytes = BODY) -> str:
        digest = await self.blobs.put(body)
        await self.catalog.add_module(StoredModule("alice", digest, FACTS, (payload(body),), 0))
        return digest


@pytest.fixture
async def host(tmp_path: Path) -> Host:
    made = Host(tmp_path)
    await made.catalog.ensure_tenant("alice")
    await made.catalog.add_signer("alice", SIGNER)
    return made


async def test_runs_that_want_a_module_at_once_load_it_once(host: Host) -> None:
    digest = await host.uploaded()
    first, second = host.worker(), host.worker()
    loads = [
        asyncio.ensure_future(worker.load("alice", digest))
        for worker in (first, second)
        for _ in range(5)
    ]
    host.compiler.let.set()
    assert set(await asyncio.gather(*loads)) == {b"compiled " + BODY}
    assert host.compiler.compiled == [digest]


async def test_a_run_that_leaves_takes_nothing_away(host: Host) -> None:
    digest, worker = await host.uploaded(), host.worker()
    leaving, staying = (asyncio.ensure_future(worker.load("alice", digest)) for _ in range(2))
    async with asyncio.timeout(10):
        while not host.compiler.compiled:
            await asyncio.sleep(0)
    leaving.cancel()
    host.compiler.let.set()
    assert await staying == b"compiled " + BODY
    assert await worker.load("alice", digest) == b"compiled " + BODY
    assert host.compiler.compiled == [digest]


async def test_a_refusal_is_everybodys_and_is_not_kept(host: Host) -> None:
    digest, worker = await host.uploaded(), host.worker()
    host.compiler.let.set()
    host.compiler.failure = StockadeError("module.too_costly", "Make it smaller.")
    loads = [asyncio.ensure_future(worker.load("alice", digest)) for _ in range(3)]
    answers = await asyncio.gather(*loads, return_exceptions=True)
    assert [getattr(answer, "code", None) for answer in answers] == ["module.too_costly"] * 3
    host.compiler.failure = None
    assert await worker.load("alice", digest) == b"compiled " + BODY


async def test_trust_ends_after_its_time(host: Host) -> None:
    digest, trusting, wary = await host.uploaded(), host.worker(), host.worker(trust_seconds=0)
    host.compiler.let.set()
    for worker in (trusting, wary):
        await worker.load("alice", digest)
    await host.catalog.revoke_signer("alice", SIGNER.name, 1)
    assert await trusting.load("alice", digest) == b"compiled " + BODY
    with pytest.raises(StockadeError) as refused:
        await wary.load("alice", digest)
    assert refused.value.code == "module.signer_revoked"


@pytest.mark.parametrize("lost", ["module", "blob", "tenant"])
async def test_a_module_that_is_not_there(host: Host, lost: str) -> None:
    digest = await host.uploaded()
    if lost == "blob":
        host.blobs = MemoryBlobStore()
    asked = digest_of(b"another") if lost == "module" else digest
    with pytest.raises(StockadeError) as refused:
        await host.worker().load("mallory" if lost == "tenant" else "alice", asked)
    missing = "blobs.missing" if lost == "blob" else "module.not_found"
    assert refused.value.code == missing
    assert host.compiler.compiled == []


@pytest.mark.parametrize("content", [None, b"spoilt"], ids=["missing", "damaged"])
async def test_content_that_is_not_right_never_runs_alarms_and_is_mended_by_an_upload(
    host: Host, content: bytes | None
) -> None:
    digest, worker = await host.uploaded(), host.worker(trust_seconds=0)
    host.compiler.let.set()
    host.blobs._blobs = {} if content is None else {digest: content}
    with capture_logs() as logs, pytest.raises(StockadeError) as refused:
        await worker.load("alice", digest)
    code, event = ("blobs.missing", "module_missing")
    if content is not None:
        code, event = ("blobs.corrupt", "module_damaged")
    assert (refused.value.code, refused.value.retryable) == (code, False)
    alarm = {"event": event, "log_level": "error", "digest": digest}
    assert alarm in logs
    assert host.compiler.compiled == []
    assert await host.uploaded() == digest
    assert await worker.load("alice", digest) == b"compiled " + BODY


async def test_bytes_that_are_gone_are_compiled_no_more(host: Host) -> None:
    digest, worker = await host.uploaded(), host.worker(kept_bytes=10)
    host.compiler.let.set()
    await worker.load("alice", digest)
    (host.folder / "engine" / digest[7:]).unlink()
    await host.blobs.delete(digest)
    with pytest.raises(StockadeError) as refused:
        await worker.load("alice", digest)
    assert refused.value.code == "blobs.missing"


async def test_memory_keeps_what_was_used_last(host: Host) -> None:
    bodies = [BODY + custom("n", encode_u32(number)) for number in range(3)]
    digests = [await host.uploaded(body) for body in bodies]
    host.compiler.let.set()
    size = len(b"compiled " + bodies[0])
    worker = host.worker(trust_seconds=0, kept_bytes=2 * size)
    for number in (0, 1, 0, 2):
        await worker.load("alice", digests[number])
    for digest in digests:
        (host.folder / "engine" / digest[7:]).unlink()
    host.compiler.compiled.clear()
    for number in (0, 2, 1):
        assert await worker.load("alice", digests[number]) == b"compiled " + bodies[number]
    assert host.compiler.compiled == [digests[1]]


async def test_what_is_larger_than_all_memory_still_runs(host: Host) -> None:
    digest, worker = await host.uploaded(), host.worker(kept_bytes=10)
    host.compiler.let.set()
    for _ in range(2):
        assert await worker.load("alice", digest) == b"compiled " + BODY
    assert host.compiler.compiled == [digest]


async def test_a_signature_of_another_module_does_not_count(host: Host) -> None:
    digest = await host.blobs.put(BODY)
    other = BODY + custom("other")
    stored = StoredModule("alice", digest, FACTS, (payload(other),), 0)
    await host.catalog.add_module(stored)
    with pytest.raises(StockadeError) as refused:
        await host.worker().load("alice", digest)
    assert refused.value.code == "module.signature_mismatch"
