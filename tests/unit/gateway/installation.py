"""A gateway in this process over memory: real registry, no jail, a worker that follows a script."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import httpx
from fastapi import FastAPI

from gateway.app import create_app
from gateway.oci.content import OciContent
from gateway.services import Services
from gateway.settings import GatewaySettings
from stockade.core.api_keys import ApiKey, generate_key
from stockade.core.egress import EgressPolicy
from stockade.core.errors import StockadeError
from stockade.core.invocations import Claim, Completion
from stockade.core.module_store import StoragePolicy, StorageQuota
from stockade.core.oci import OciBounds
from stockade.core.oci_store import OciStore
from stockade.core.outcomes import Attempt, LogLine, Outcome, Usage
from stockade.core.plans import FixedPlans
from stockade.core.shares import SharePolicy
from stockade.core.trust import TrustPolicy
from stockade.core.upstreams import BreakerPolicy
from stockade.infra.audit_key import Ed25519HeadSigner
from stockade.infra.cronsim_calendar import CronsimCalendar
from stockade.infra.memory.memory_audit import MemoryAuditLog
from stockade.infra.memory.memory_blobs import MemoryBlobStore
from stockade.infra.memory.memory_catalog import MemoryCatalog
from stockade.infra.memory.memory_catalog_changes import MemoryCatalogChanges
from stockade.infra.memory.memory_history import MemoryHistoryStore
from stockade.infra.memory.memory_learned_states import MemoryLearnedStates
from stockade.infra.memory.memory_live_events import MemoryLiveEvents
from stockade.infra.memory.memory_payloads import MemoryPayloadStore
from stockade.infra.memory.memory_queue import MemoryInvocationQueue
from stockade.infra.memory.memory_queue_state import MemoryQueueState
from stockade.infra.memory.memory_retry_tallies import MemoryRetryTallies
from stockade.infra.memory.memory_status import MemoryStatusBoard
from stockade.infra.memory.memory_upstreams import MemoryUpstreamNews, MemoryUpstreamStore
from stockade.infra.policies.cedar_policies import CedarPolicies
from stockade.infra.queue_settings import QueueSettings
from stockade.infra.sealed_recordings import SealedRecordings
from stockade.infra.secret_box import AesGcmSecretBox
from stockade.infra.system_clock import SystemClock
from tests.unit.registry.signed_modules import BODY, SIGNER, signed

if TYPE_CHECKING:
    from stockade.core.oci_store import OciStore

GOOD = signed(BODY)
POLICIES = CedarPolicies.load(Path(__file__).parents[3] / "policies" / "authorization")
SETTINGS = GatewaySettings(
    redis_url="none",
    database_url="none",
    blob_dir=Path("none"),
    policy_dir=Path("none"),
    secrets_key_file=Path("none"),
)
BOX = AesGcmSecretBox((b"k" * 32,))
OCI_BOUNDS = OciBounds(blob_bytes=100_000, grace_ms=3_600_000)


class NoOci:
    """An `OciStore` that holds nothing, and can do nothing else."""

    async def used_bytes(self, tenant: str) -> int:
        del tenant
        return 0


NO_OCI = cast("OciStore", NoOci())
"""For tests of other things: `tests/unit/gateway/oci` has a real one."""
USAGE = Usage(fuel=42, peak_memory_bytes=65536, wall_ms=1.5, queue_ms=0.25)
Ending = Callable[[Claim, bytes], Completion]


class Hints:
    """The `ModuleHints` port: remembers what was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    async def tell(self, tenant: str, digest: str) -> None:
        self.told.append((tenant, digest))

    async def hear(self, timeout_seconds: float) -> list[tuple[str, str]]:
        del timeout_seconds
        return self.told


class CountingCompiler:
    """The `ModuleCompiler` port: takes everything, or raises what it was given."""

    failure: StockadeError | None = None

    def __init__(self) -> None:
        self.compiled: list[bytes] = []

    async def compile(self, body: bytes, tenant: str = "") -> bytes:
        del tenant
        self.compiled.append(body)
        if self.failure is not None:
            raise self.failure
        return b"artifact"


def ending(outcome: Outcome, output: bytes = b"", **facts: str) -> Completion:
    """How an attempt ends."""
    attempt = Attempt(1, outcome, "scripted", USAGE, facts.get("limit"), facts.get("detail"))
    inline = output if outcome is Outcome.COMPLETED else None
    logs = (LogLine(2, "hello\x1b[31m\n"), LogLine(4, "worse"))
    return Completion(attempt, 2_000, output_inline=inline, logs=logs, logs_truncated=True)


def echo(_claim: Claim, data: bytes) -> Completion:
    return ending(Outcome.COMPLETED, data)


@dataclass
class FixedTrustRules:
    """The `TrustRules` port: what the test says."""

    current: TrustPolicy = field(default_factory=TrustPolicy)
    alarm: str | None = None


@dataclass
class Installation:
    """The gateway, what stands behind it, and a client of tenant `alice`."""

    services: Services
    blobs: MemoryBlobStore
    payloads: MemoryPayloadStore
    catalog: MemoryCatalog
    compiler: CountingCompiler
    worker: MemoryInvocationQueue
    app: FastAPI
    http: httpx.AsyncClient
    live: MemoryLiveEvents
    rules: FixedTrustRules = field(default_factory=FixedTrustRules)
    key: str = ""
    claims: list[Claim] = field(default_factory=list)

    def client(self, key: str | None) -> httpx.AsyncClient:
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url="http://gateway", headers=headers)

    async def new_key(self, tenant: str, expires_ms: int | None = None) -> str:
        await self.catalog.ensure_tenant(tenant)
        text, made = generate_key("test")
        await self.catalog.add_key(
            ApiKey(made.id, tenant, "k", made.secret_hash, 0, expires_ms=expires_ms)
        )
        return text

    async def upload(self, content: bytes = GOOD, **headers: str) -> httpx.Response:
        headers = {"content-type": "application/wasm"} | headers
        return await self.http.post("/v1/modules", content=content, headers=headers)

    async def deploy(self, name: str = "f", **asked: object) -> httpx.Response:
        module = (await self.upload()).json()["digest"]
        return await self.http.put(f"/v1/functions/{name}", json={"module": module} | asked)

    async def invoke(
        self, data: bytes = b"", name: str = "f", query: str = "", **headers: str
    ) -> httpx.Response:
        path = f"/v1/functions/{name}/invoke{query}"
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.http.post(path, content=data, headers=sent)

    async def work(self, end: Ending = echo) -> None:
        """Runs one invocation by the script."""
        claims = await self.worker.claim(1, 10)
        for claim in claims:
            assert await self.worker.begin(claim, 1_000)
            self.claims.append(claim)
            data = claim.invocation.input_inline
            if data is None:
                of = claim.invocation
                data = await self.payloads.get(of.tenant, of.id, of.input_blob or "") or b""
            assert await self.worker.complete(claim, end(claim, data))

    async def worked(self, call: Awaitable[httpx.Response], end: Ending = echo) -> httpx.Response:
        """The answer to a call while a worker runs one invocation."""
        answer, _ = await asyncio.gather(call, self.work(end))
        return answer


@asynccontextmanager
async def installed(**changes: object) -> AsyncIterator[Installation]:
    """A new one; `changes` replace services."""
    clock, catalog, blobs = SystemClock(), MemoryCatalog(), MemoryBlobStore()
    payloads = MemoryPayloadStore(clock, 60.0)
    compiler = CountingCompiler()
    state = MemoryQueueState(QueueSettings())
    rules, live = FixedTrustRules(), MemoryLiveEvents()
    services = Services(
        name="gateway",
        settings=SETTINGS,
        catalog=catalog,
        blobs=blobs,
        payloads=payloads,
        queue=MemoryInvocationQueue(clock, state=state),
        compiler=compiler,
        clock=clock,
        plans=FixedPlans(),
        policies=POLICIES,
        trust_rules=rules,
        egress_policy=EgressPolicy(),
        board=MemoryStatusBoard(clock, state),
        shares=SharePolicy(),
        hints=Hints(),
        changes=MemoryCatalogChanges(),
        upstreams=MemoryUpstreamStore(SystemClock(), BreakerPolicy()),
        upstream_news=MemoryUpstreamNews([]),
        live=live,
        schedules=catalog.schedule_store(),
        audit=MemoryAuditLog(Ed25519HeadSigner((b"a" * 32,))),
        learned=MemoryLearnedStates(clock),
        history=MemoryHistoryStore(),
        tallies=MemoryRetryTallies(),
        calendar=CronsimCalendar(),
        secret_box=BOX,
        recordings=SealedRecordings(payloads, BOX),
        storage=StoragePolicy(StorageQuota(1 << 30, 1000)),
        oci=OciContent(
            NO_OCI,
            MemoryBlobStore(),
            MemoryBlobStore(),
            OCI_BOUNDS,
            StoragePolicy(StorageQuota(1 << 30, 1000)),
        ),
    )
    services = replace(services, **changes)  # type: ignore[arg-type]
    worker = MemoryInvocationQueue(clock, consumer="worker", state=state)
    app = create_app(services)
    it = Installation(
        services, blobs, payloads, catalog, compiler, worker, app, httpx.AsyncClient(), live, rules
    )
    await it.http.aclose()
    it.key = await it.new_key("alice")
    await catalog.add_signer("alice", SIGNER)
    async with it.client(it.key) as it.http:
        yield it


def refused(answer: httpx.Response, status: int, code: str) -> dict[str, object]:
    """The problem, whose shape is checked."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    problem: dict[str, object] = answer.json()
    assert (answer.status_code, problem["code"]) == (status, code), problem
    assert problem["status"] == status
    assert problem["type"] == f"urn:stockade:error:{code}"
    assert problem["detail"]
    return problem
