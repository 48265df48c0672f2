"""A real worker (supervisor, jail, Valkey, SQLite, blobs) without the HTTP gateway in front."""

import asyncio
import itertools
import os
import shutil
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import httpx
import pytest

from registry.admission import admit
from registry.keys import generate_secret_key, public_bytes
from registry.signing import sign
from registry.verification import verify_module
from sandbox_worker.bootstrap import build_supervisor
from sandbox_worker.settings import WorkerSettings
from sandbox_worker.supervisor import Supervisor
from stockade.cli.dev.data_dir import free_port
from stockade.core.digests import digest_of
from stockade.core.errors import StockadeError
from stockade.core.invocations import Claim, Invocation, InvocationRecord
from stockade.core.limits import Limits
from stockade.core.modules import FunctionContent, RetrySettings, Signer, StoredModule
from stockade.core.outcomes import Outcome, State
from stockade.core.queue_clock import QueueClock
from stockade.core.trust import FunctionTrust
from stockade.infra.blobs.directory_blobs import DirectoryBlobStore
from stockade.infra.blobs.directory_payloads import DirectoryPayloadStore
from stockade.infra.queue_settings import QueueSettings
from stockade.infra.redis.embedded_valkey import EmbeddedValkey
from stockade.infra.redis.redis_connection import RedisConnections
from stockade.infra.redis.redis_queue import RedisInvocationQueue
from stockade.infra.redis.redis_status import RedisStatusBoard
from stockade.infra.sql.sql_catalog import SqlCatalog
from stockade.infra.system_clock import SystemClock
from tests.guest import guests

POLICIES = Path(__file__).parents[2] / "policies"
CLOCK = SystemClock()
KEY = generate_secret_key()
SIGNER = Signer("ci", public_bytes(KEY))


@pytest.fixture(scope="module")
def valkey_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = EmbeddedValkey(tmp_path_factory.mktemp("valkey"), fsync="everysec")
    asyncio.run(server.start())
    yield server.url
    asyncio.run(server.stop())


@dataclass(slots=True)
class Platform:
    """What a gateway would hold, and the settings of a worker beside it."""

    catalog: SqlCatalog
    blobs: DirectoryBlobStore
    payloads: DirectoryPayloadStore
    queue: RedisInvocationQueue
    settings: WorkerSettings

    async def store(self, body: bytes, tenant: str = "acme") -> FunctionContent:
        verified = verify_module(sign(body, KEY), None, [SIGNER], CLOCK.now_ms())
        facts = admit(verified.body)
        await self.blobs.put(verified.body)
        module = StoredModule(tenant, verified.digest, facts, (verified.signature,), CLOCK.now_ms())
        await self.catalog.add_module(module)
        limits = Limits(fuel=10**15, wall_ms=20_000)
        return FunctionContent(verified.digest, facts.abi, facts.deterministic, limits)

    async def submit(self, content: FunctionContent, data: bytes = b"") -> Invocation:
        invocation_id, large = CLOCK.new_id(), len(data) > 1024
        invocation = Invocation(
            id=invocation_id,
            tenant="acme",
            function="f",
            version=1,
            content=content,
            submitted_ms=CLOCK.now_ms(),
            input_inline=None if large else data,
            input_blob=await self.payloads.put("acme", invocation_id, data) if large else None,
            input_digest=digest_of(data),
            reply_to="gateway",
        )
        await self.queue.submit(invocation)
        return invocation

    async def finished(self, invocation: Invocation) -> InvocationRecord:
        assert await self.queue.wait("acme", invocation.id, 30)
        record = await self.queue.record("acme", invocation.id)
        assert record is not None
        return record

    async def run(self, content: FunctionContent, data: bytes = b"") -> InvocationRecord:
        return await self.finished(await self.submit(content, data))


@pytest.fixture
async def platform(tmp_path: Path, valkey_url: str) -> AsyncIterator[Platform]:
    connections = RedisConnections(valkey_url)
    await connections.call("FLUSHALL")
    queue = RedisInvocationQueue(connections, gateway="gateway")
    database = f"sqlite:///{tmp_path}/catalog.sqlite"
    catalog = await SqlCatalog.open(database)
    settings = WorkerSettings(
        redis_url=valkey_url,
        database_url=database,
        blob_dir=tmp_path / "blobs",
        cache_dir=tmp_path / "cache",
        policy_dir=POLICIES,
        secrets_key_file=tmp_path / "secrets.key",
        capacity=2,
        trust_seconds=0,
        lease_seconds=1,
        drain_seconds=10,
        inline_output_bytes=1024,
    )
    await catalog.ensure_tenant("acme")
    await catalog.add_signer("acme", SIGNER)
    blobs = DirectoryBlobStore(tmp_path / "blobs")
    payloads = DirectoryPayloadStore(tmp_path / "blobs" / "payloads", 3600.0)
    yield Platform(catalog, blobs, payloads, queue, settings)
    await queue.aclose()
    await catalog.aclose()


@asynccontextmanager
async def working(platform: Platform) -> AsyncIterator[Supervisor]:
    async with build_supervisor(platform.settings) as supervisor:
        running = asyncio.ensure_future(supervisor.run())
        yield supervisor
        supervisor.stop()
        await running


@pytest.mark.parametrize("size", [0, 1000, 100_000], ids=["empty", "inline", "blob"])
async def test_an_invocation_completes_with_its_output(platform: Platform, size: int) -> None:
    content = await platform.store(guests.ECHO)
    async with working(platform):
        record = await platform.run(content, b"x" * size)
    assert (record.state, record.outcome) == (State.DONE, Outcome.COMPLETED)
    output = record.output_inline
    if output is None:
        output = await platform.payloads.get("acme", record.id, record.output_blob or "")
    assert output == b"x" * size
    assert record.usage.fuel > 0
    assert record.usage.wall_ms > 0
    assert [attempt.number for attempt in record.attempts] == [1]


async def test_its_own_endpoint_tells_whether_it_works_and_what_it_did(
    platform: Platform, tmp_path: Path
) -> None:
    content = await platform.store(guests.ECHO)
    token = tmp_path / "token"
    token.touch(0o600)
    token.write_text("t" * 16)
    wanted = {"metrics_port": free_port(), "metrics_token_file": token}
    platform.settings = platform.settings.model_copy(update=wanted)
    url = f"http://127.0.0.1:{wanted['metrics_port']}"
    headers = {"Authorization": f"Bearer {'t' * 16}"}
    async with httpx.AsyncClient(base_url=url, headers=headers) as http:
        async with working(platform) as supervisor:
            await platform.run(content, b"x")
            ready = (await http.get("/readyz")).json()
            assert ready == {
                "ready": True,
                "worker": "working",
                "queue": "ok",
                "catalog": "ok",
                "policies": "ok",
                "walls": ready["walls"],
                "why": ready["why"],
            }
            assert (await http.get("/healthz")).json() == {"ok": True}
            assert (await httpx.AsyncClient().get(f"{url}/metrics")).status_code == 401
            told = (await http.get("/metrics")).text
            supervisor.stop()
            assert (await http.get("/readyz")).json()["worker"] == "draining"
        with pytest.raises(httpx.ConnectError):
            await http.get("/healthz")
    assert 'stockade_attempts_total{function="f",outcome="completed",tenant="acme"} 1.0' in told
    assert 'stockade_module_loads_total{source="compiled"} 1.0' in told
    assert 'stockade_cold_starts_total{what="module"} 1.0' in told
    assert 'stockade_policies_stale{files="trust"} 0.0' in told
    assert "stockade_worker_capacity 2.0" in told
    assert "stockade_queue_in_flight 0.0" in told
    assert 'stockade_valkey_seconds_count{command="complete"} 1.0' in told


async def test_others_can_ask_what_a_worker_says_of_itself(platform: Platform) -> None:
    connections = RedisConnections(platform.settings.redis_url)
    board = RedisStatusBoard([connections], QueueSettings())
    async with working(platform), asyncio.timeout(30):
        while not (reports := await board.workers()):
            await asyncio.sleep(0.01)
    await connections.close()
    assert [(report.capacity, report.stale) for report in reports] == [(2, ())]


async def test_payloads_go_when_their_records_are_gone(platform: Platform) -> None:
    content = await platform.store(guests.ECHO)
    gone = await platform.submit(content, b"g" * 5000)
    await platform.queue.cancel("acme", gone.id, CLOCK.now_ms())
    kept = await platform.submit(content, b"k" * 5000)
    folder = platform.settings.blob_dir / "payloads" / "acme"
    for path in folder.iterdir():
        os.utime(path, (0, 0))
    connections = RedisConnections(platform.settings.redis_url)
    await connections.call("DEL", f"sk:{{p00}}:inv:{gone.id}")
    await connections.close()
    async with working(platform):
        await platform.finished(kept)
        async with asyncio.timeout(30):
            while {path.name[:36] for path in folder.iterdir()} != {kept.id}:
                await asyncio.sleep(0.01)


async def test_work_submitted_before_any_worker_is_done(platform: Platform) -> None:
    content = await platform.store(guests.ECHO)
    invocations = [await platform.submit(content, str(n).encode()) for n in range(50)]
    async with working(platform):
        records = [await platform.finished(one) for one in invocations]
    assert [record.output_inline for record in records] == [str(n).encode() for n in range(50)]


async def test_a_guest_that_asks_for_a_retry_gets_its_attempts(platform: Platform) -> None:
    content = await platform.store(guests.fixed(b"\x01\x01busy"))
    content = replace(content, retry=RetrySettings(max_attempts=3, base_delay_ms=1))
    async with working(platform):
        record = await platform.run(content)
    assert record.outcome is Outcome.REJECTED
    assert record.detail == "busy"
    assert [attempt.number for attempt in record.attempts] == [1, 2, 3]
    assert record.attempts[-1].reason == "All 3 attempts are used."


async def test_a_running_invocation_is_cancelled(platform: Platform) -> None:
    content = await platform.store(guests.LOOP)
    async with working(platform):
        invocation = await platform.submit(content)
        await _until_running(platform, invocation)
        assert await platform.queue.cancel("acme", invocation.id, CLOCK.now_ms())
        record = await platform.finished(invocation)
    assert record.outcome is Outcome.CANCELLED


async def test_a_revoked_signer_stops_the_next_run(platform: Platform) -> None:
    content = await platform.store(guests.ECHO)
    async with working(platform):
        assert (await platform.run(content)).outcome is Outcome.COMPLETED
        await platform.catalog.revoke_signer("acme", "ci", CLOCK.now_ms())
        record = await platform.run(content)
    assert record.outcome is Outcome.CANCELLED
    assert (record.detail or "").startswith("module.signer_revoked")


@pytest.fixture
def policies(platform: Platform, tmp_path: Path) -> Path:
    """Policies of this test's own, which its worker follows."""
    folder = tmp_path / "policies"
    shutil.copytree(POLICIES, folder)
    platform.settings = platform.settings.model_copy(update={"policy_dir": folder})
    return folder


async def test_a_revocation_ends_what_runs_once_and_for_all(platform: Platform) -> None:
    content = await platform.store(guests.LOOP)
    async with working(platform) as supervisor:
        invocation = await platform.submit(content)
        await _until_executing(supervisor, 1)
        await platform.catalog.revoke_signer("acme", "ci", CLOCK.now_ms(), "stolen")
        record = await platform.finished(invocation)
    assert record.outcome is Outcome.CANCELLED
    assert (record.detail or "").startswith("module.signer_revoked")
    assert [attempt.number for attempt in record.attempts] == [1]


async def test_a_tenants_runs_may_be_left_to_finish(platform: Platform, policies: Path) -> None:
    change(policies, '[tenants]\nacme = "finish"\n[denied]\n')
    slow = Limits(fuel=10**15, wall_ms=3_000)
    content = replace(await platform.store(guests.LOOP), limits=slow)
    async with working(platform) as supervisor:
        invocation = await platform.submit(content)
        await _until_executing(supervisor, 1)
        await platform.catalog.revoke_signer("acme", "ci", CLOCK.now_ms(), "stolen")
        queued = await platform.submit(content)
        records = [await platform.finished(one) for one in (invocation, queued)]
    assert [one.outcome for one in records] == [Outcome.LIMIT_EXCEEDED, Outcome.CANCELLED]


async def test_a_denied_digest_ends_what_runs_and_what_waits(
    platform: Platform, policies: Path
) -> None:
    content = await platform.store(guests.LOOP)
    async with working(platform) as supervisor:
        running = [await platform.submit(content) for _ in range(2)]
        waiting = await platform.submit(content)
        await _until_executing(supervisor, 2)
        change(policies, f'[tenants]\n[denied]\n"{content.digest}" = "It mines coins."\n')
        records = [await platform.finished(one) for one in (*running, waiting)]
    assert {(one.outcome, len(one.attempts)) for one in records} == {(Outcome.CANCELLED, 1)}
    assert all((one.detail or "").startswith("module.denied") for one in records)


async def test_a_threshold_applies_to_the_next_run(platform: Platform) -> None:
    content = await platform.store(guests.ECHO)
    async with working(platform):
        assert (await platform.run(content)).outcome is Outcome.COMPLETED
        await platform.catalog.put_function_trust("acme", "f", FunctionTrust(2))
        record = await platform.run(content)
    assert record.outcome is Outcome.CANCELLED
    assert (record.detail or "").startswith("module.signers_missing")


async def test_policies_say_whose_signatures_count(platform: Platform, policies: Path) -> None:
    forbid = '@id("not-ci")\nforbid (principal is Signer, action == Action::"vouch", resource)'
    (policies / "authorization" / "own.cedar").write_text(
        forbid + '\nwhen { principal.name == "ci" };\n', encoding="utf-8"
    )
    content = await platform.store(guests.ECHO)
    async with working(platform):
        record = await platform.run(content)
    assert record.outcome is Outcome.CANCELLED
    assert "'not-ci'" in (record.detail or "")


async def test_bytes_swapped_in_the_store_are_never_run(platform: Platform) -> None:
    content = await platform.store(guests.ECHO)
    digest = content.digest.removeprefix("sha256:")
    for path in platform.settings.blob_dir.rglob("*"):
        if path.is_file() and digest.endswith(path.name[-16:]):
            path.write_bytes(guests.TRAP)
    async with working(platform):
        record = await platform.run(content)
    assert record.outcome is Outcome.CANCELLED
    assert (record.detail or "").startswith("blobs.corrupt")


async def test_a_lost_input_ends_the_invocation(platform: Platform) -> None:
    content = await platform.store(guests.ECHO)
    invocation = await platform.submit(content, b"y" * 5000)
    for path in platform.settings.blob_dir.rglob("*"):
        if path.is_file() and path.stat().st_size == 5000:
            path.unlink()
    async with working(platform):
        record = await platform.finished(invocation)
    assert record.outcome is Outcome.CANCELLED
    assert (record.detail or "").startswith("invocation.input_lost")


async def test_a_stopped_worker_finishes_what_runs_and_hands_over_the_rest(
    platform: Platform,
) -> None:
    slow = replace(await platform.store(guests.LOOP), limits=Limits(fuel=10**15, wall_ms=400))
    invocations = [await platform.submit(slow) for _ in range(5)]
    async with working(platform):
        await _until_running(platform, invocations[0])
    async with working(platform):
        records = [await platform.finished(one) for one in invocations]
    assert {record.limit for record in records} == {"wall"}
    assert {len(record.attempts) for record in records} == {1}


async def test_what_a_stop_cuts_short_is_anothers_at_once(platform: Platform) -> None:
    endless = replace(await platform.store(guests.LOOP), limits=Limits(fuel=10**15, wall_ms=60_000))
    invocation = await platform.submit(endless)
    hasty = replace(platform, settings=platform.settings.model_copy(update={"drain_seconds": 0.0}))
    async with working(hasty):
        await _until_running(platform, invocation)
    connections = RedisConnections(platform.settings.redis_url)
    heir = RedisInvocationQueue(connections, consumer="heir")
    (claim,) = await heir.claim(1, 0.0)
    assert (claim.invocation.id, claim.attempt, claim.deaths) == (invocation.id, 2, 0)
    record = await platform.queue.record("acme", invocation.id)
    assert record is not None
    assert [one.outcome for one in record.attempts] == [Outcome.LOST]
    await heir.aclose()


async def test_a_worker_that_froze_takes_over_from_itself(platform: Platform) -> None:
    endless = replace(await platform.store(guests.LOOP), limits=Limits(fuel=10**15, wall_ms=60_000))
    async with working(platform) as supervisor:
        invocation = await platform.submit(endless)
        await _until_executing(supervisor, 1)
        await _until_running(platform, invocation)
        (frozen,) = supervisor._tasks
        claims: Sequence[Claim] = ()
        while not claims:
            time.sleep(1.2)  # noqa: ASYNC251 - the whole worker stands still, beyond its lease
            claims = await supervisor._queue.reclaim(1)
        await supervisor._start_or_hand_back(claims)
        async with asyncio.timeout(10):
            await frozen
        (second,) = supervisor._running.values()
        assert second.claim.attempt == 2
        assert await platform.queue.cancel("acme", invocation.id, CLOCK.now_ms())
        record = await platform.finished(invocation)
    assert record.attempts[0].outcome is Outcome.LOST
    assert (record.outcome, supervisor._running) == (Outcome.CANCELLED, {})


class FullForAWhile(DirectoryPayloadStore):
    """Refuses the first output."""

    refuses = True

    async def put(self, tenant: str, invocation_id: str, content: bytes) -> str:
        if self.refuses:
            self.refuses = False
            raise StockadeError("blobs.full", "No room.", retryable=True)
        return await super().put(tenant, invocation_id, content)


async def test_a_large_output_waits_for_room(platform: Platform, tmp_path: Path) -> None:
    content = await platform.store(guests.module(f"(i64.const {(1000 << 32) + 4097})"))
    full = FullForAWhile(tmp_path / "blobs" / "payloads", 3600.0)
    async with build_supervisor(platform.settings) as supervisor:
        supervisor._services = replace(supervisor._services, payloads=full)
        running = asyncio.ensure_future(supervisor.run())
        record = await platform.run(content)
        supervisor.stop()
        await running
    assert not full.refuses
    assert [one.outcome for one in record.attempts] == [Outcome.COMPLETED]
    assert record.output_blob == digest_of(bytes(4096))


async def test_upkeep_goes_on_whatever_happens_in_it(platform: Platform) -> None:
    rounds = itertools.count()
    done = asyncio.Event()

    async def step() -> None:
        if next(rounds) == 0:
            raise ValueError("a mistake of ours")
        done.set()

    async with build_supervisor(platform.settings) as supervisor:
        upkeep = asyncio.ensure_future(supervisor._forever(step, 0.0))
        async with asyncio.timeout(5):
            await done.wait()
        upkeep.cancel()


async def test_workers_restarted_in_turn_lose_and_repeat_nothing(platform: Platform) -> None:
    content = await platform.store(guests.ECHO)
    records: list[InvocationRecord] = []
    stopping = asyncio.Event()

    async def run_on_and_on(name: str) -> None:
        while not stopping.is_set():
            data = f"{name}-{len(records)}".encode()
            record = await platform.run(content, data)
            assert record.output_inline == data
            records.append(record)

    async with asyncio.TaskGroup() as tasks:
        callers = [tasks.create_task(run_on_and_on(name)) for name in "abcd"]
        for _ in range(3):
            async with working(platform), working(platform):
                target = len(records) + 20
                async with asyncio.timeout(30):
                    while len(records) < target:
                        await asyncio.sleep(0.01)
        stopping.set()
        async with working(platform):
            await asyncio.wait(callers)
    assert {(one.outcome, len(one.attempts)) for one in records} == {(Outcome.COMPLETED, 1)}
    assert len({one.id for one in records}) == len(records)


@pytest.mark.parametrize("skew_ms", [-3_600_000, 3_600_000], ids=["slow", "fast"])
async def test_a_worker_whose_clock_is_an_hour_off_is_no_different(
    platform: Platform, skew_ms: int
) -> None:
    class Skewed(SystemClock):
        def now_ms(self) -> int:
            return super().now_ms() + skew_ms

    content = await platform.store(guests.fixed(b"\x01\x01busy"))
    content = replace(content, retry=RetrySettings(max_attempts=3, base_delay_ms=200))
    async with build_supervisor(platform.settings) as supervisor:
        clock = QueueClock(Skewed(), platform.queue)
        supervisor._services = replace(supervisor._services, clock=clock)
        running = asyncio.ensure_future(supervisor.run())
        before_ms = CLOCK.now_ms()
        record = await platform.run(content)
        after_ms = CLOCK.now_ms()
        supervisor.stop()
        await running
    assert (record.outcome, len(record.attempts)) == (Outcome.REJECTED, 3)
    assert record.started_ms is not None
    assert record.finished_ms is not None
    times = [before_ms, record.started_ms, record.finished_ms, after_ms]
    # Half a round trip is what the clock may be off; an hour would show.
    assert all(one - 1000 <= next_one for one, next_one in pairwise(times))
    assert 0 <= record.usage.queue_ms <= after_ms - before_ms + 1000


def change(policies: Path, rest: str) -> None:
    """Puts another trust policy in its place."""
    aside = policies / "trust.new"
    aside.write_text(f'running = "kill"\n{rest}', encoding="utf-8")
    aside.rename(policies / "trust.toml")


async def _until_executing(supervisor: Supervisor, count: int) -> None:
    """A record says that it runs while its module is still being looked at and compiled."""
    async with asyncio.timeout(20):
        while sum(one._executor is not None for one in supervisor._running.values()) < count:
            await asyncio.sleep(0.01)


async def _until_running(platform: Platform, invocation: Invocation) -> None:
    async with asyncio.timeout(20):
        while True:
            record = await platform.queue.record("acme", invocation.id)
            if record is not None and record.state is State.RUNNING:
                return
            await asyncio.sleep(0.01)
