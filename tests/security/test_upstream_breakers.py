"""An upstream that goes down and comes back: two workers over a real Valkey, a real server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from sandbox_worker.breakers import Breakers
from sandbox_worker.broker import HostCallBroker
from sandbox_worker.guest.frames import HostCall, HostReply
from sandbox_worker.retries import Retries
from stockade.core.egress import EgressPolicy
from stockade.core.invocations import Claim, Completion, Invocation
from stockade.core.key_values import KeyValueQuota
from stockade.core.modules import Abi, FunctionContent, RetrySettings
from stockade.core.outcomes import Outcome, RunResult
from stockade.core.upstreams import BreakerPolicy
from stockade.infra.guarded_http import GuardedHttp
from stockade.infra.memory.memory_catalog import MemoryCatalog
from stockade.infra.memory.memory_key_values import MemoryKeyValueStore
from stockade.infra.redis.embedded_valkey import EmbeddedValkey
from stockade.infra.redis.redis_connection import RedisConnections
from stockade.infra.redis.redis_upstreams import RedisUpstreamNews, RedisUpstreamStore
from stockade.infra.secret_box import AesGcmSecretBox
from stockade.infra.system_clock import SystemClock
from stockade.retry.fixed import FixedRetryPolicy
from stockade.retry.learned import LearnedRetryPolicy
from tests.ports.valkey_fixture import flush
from tests.security.http_servers import LOOPBACK, OK, Names, Server, request

pytest_plugins = ("tests.ports.valkey_fixture",)

CLOCK = SystemClock()
POLICY = BreakerPolicy(failures=4, probe_ms=50, max_probe_ms=200)
EGRESS = EgressPolicy(timeout_seconds=5, networks=LOOPBACK, breaker=POLICY)
DOWN = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
RUNS = 100


class Upstream(Server):
    """A server that can be down (503), away (no listener), and up."""

    def __init__(self) -> None:
        super().__init__(self.answer)
        self.up = True
        self.listening: asyncio.Server | None = None

    async def answer(self, _head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(OK if self.up else DOWN)
        await writer.drain()

    async def begin(self) -> None:
        self.listening = await asyncio.start_server(self.serve, "127.0.0.1", self.port)
        self.port = self.listening.sockets[0].getsockname()[1]

    async def end(self) -> None:
        if self.listening is not None:
            self.listening.close()
            await self.listening.wait_closed()


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    made = Upstream()
    await made.begin()
    yield made
    await made.end()


class Worker:
    """What of a worker stands between its guests and an upstream."""

    def __init__(self, url: str) -> None:
        self.store = RedisUpstreamStore([RedisConnections(url, command_seconds=1)], POLICY)
        self.news = RedisUpstreamNews(RedisConnections(url, command_seconds=1))
        self.gate = Breakers(self.store, self.news, POLICY, EGRESS.probe_lease_ms)
        self.broker = HostCallBroker(
            GuardedHttp(EGRESS, Names(), gate=self.gate),
            MemoryKeyValueStore(CLOCK, KeyValueQuota()),
            MemoryCatalog(),
            AesGcmSecretBox((b"k" * 32,)),
        )

    async def call(self, port: int, tenant: str = "a") -> str:
        """One run's one request: the status, or the code that it is refused with."""
        base = f"http://127.0.0.1:{port}"
        content = FunctionContent(
            "sha256:x", Abi.STOCKADE_V1, deterministic=False, grants=(f"http_fetch:GET {base}",)
        )
        run = self.broker.open(Invocation("id", tenant, "f", 1, content, 0, input_inline=b""))
        reply = await run.answer(HostCall("http_fetch", data=request(f"{base}/")))
        return said(reply)


def said(reply: HostReply) -> str:
    first = reply.data.decode().partition("\n")[0]
    return first.partition(":")[0]


@asynccontextmanager
async def worker_at(url: str) -> AsyncIterator[Worker]:
    made = Worker(url)
    async with made.gate.serving():
        yield made
    await made.store.aclose()
    await made.news.aclose()


@pytest.fixture
async def workers(valkey: EmbeddedValkey) -> AsyncIterator[tuple[Worker, Worker]]:
    await flush(f"{valkey.url}#1")
    async with worker_at(valkey.url) as one, worker_at(valkey.url) as other:
        yield one, other


async def until_refused(worker: Worker, port: int) -> int:
    """Calls until a call is refused; how many were sent before."""
    async with asyncio.timeout(20):
        sent = 0
        while await worker.call(port) != "http_fetch.upstream_out":
            await worker.gate.told()
            sent += 1
    return sent


async def test_one_worker_finds_out_and_both_know(
    workers: tuple[Worker, Worker], upstream: Upstream
) -> None:
    one, other = workers
    for _ in range(10):
        assert await one.call(upstream.port) == "200"
        assert await other.call(upstream.port) == "200"
    upstream.up = False
    assert await until_refused(one, upstream.port) <= POLICY.failures
    seen = upstream.connections
    async with asyncio.timeout(20):
        while not other.gate.open_now:
            await other.call(upstream.port)
    # The news may come a moment after the first call; then nothing but probes goes out.
    assert upstream.connections - seen <= 3
    assert await one.call(upstream.port, tenant="b") == "503"


async def test_it_comes_back_for_both_by_one_probe(
    workers: tuple[Worker, Worker], upstream: Upstream
) -> None:
    one, other = workers
    await upstream.end()
    await until_refused(one, upstream.port)
    await upstream.begin()
    async with asyncio.timeout(20):
        while await other.call(upstream.port) != "200":
            await asyncio.sleep(0.01)
    await other.gate.told()
    assert await other.call(upstream.port) == "200"
    async with asyncio.timeout(20):
        while await one.call(upstream.port) != "200":
            await asyncio.sleep(0.01)
    probes = one.gate.counts.probes + other.gate.counts.probes
    assert probes >= 1
    assert await one.store.views("a") == []


async def test_a_hundred_runs_that_wait_send_a_handful_of_probes(
    workers: tuple[Worker, Worker], upstream: Upstream
) -> None:
    """Each run tries for as long as the upstream is out; only probes reach it, backed off."""
    upstream.up = False
    await until_refused(workers[0], upstream.port)
    sent_before, begun_ms = upstream.connections, CLOCK.now_ms()

    async def run(number: int) -> int:
        calls = 0
        while await workers[number % 2].call(upstream.port) != "200":
            calls += 1
            await asyncio.sleep(0.02)
        return calls

    async def heal() -> int:
        while CLOCK.now_ms() < begun_ms + 1000:
            await asyncio.sleep(0.02)
        probes = upstream.connections - sent_before
        upstream.up = True
        return probes

    async with asyncio.timeout(60):
        probes, *calls = await asyncio.gather(heal(), *map(run, range(RUNS)))
    # One after 25 to 50 ms, then 50 to 100, then 100 to 200 apart: 12 at most in a second.
    assert 1 <= probes <= 12
    assert sum(calls) > 5 * probes
    refused = sum(worker.gate.counts.refused for worker in workers)
    assert refused >= sum(calls) - probes


async def test_a_store_that_is_away_fails_no_call(upstream: Upstream) -> None:
    async with worker_at("redis://127.0.0.1:1") as alone:
        for _ in range(10):
            assert await alone.call(upstream.port) == "200"
        upstream.up = False
        assert await until_refused(alone, upstream.port) <= POLICY.failures
        upstream.up = True
        async with asyncio.timeout(20):
            while await alone.call(upstream.port) != "200":
                await asyncio.sleep(0.01)


async def test_a_run_that_failed_of_an_upstream_waits_for_its_return(
    workers: tuple[Worker, Worker], upstream: Upstream
) -> None:
    """What a run met goes from the broker into the decision about its retry."""
    base = f"http://127.0.0.1:{upstream.port}"
    content = FunctionContent(
        "sha256:x",
        Abi.STOCKADE_V1,
        deterministic=False,
        grants=(f"http_fetch:GET {base}",),
        retry=RetrySettings(policy="learned", max_attempts=5, max_delay_ms=60_000),
    )
    invocation = Invocation("id", "a", "f", 1, content, 0, input_inline=b"")
    claim = Claim(invocation, attempt=1, entry="0-1")
    learned = LearnedRetryPolicy(lambda: 0.5)
    retries = Retries(FixedRetryPolicy(lambda: 0.5), learned, learned.memory.needs)

    async def attempt(now_ms: int) -> str:
        run = workers[0].broker.open(invocation)
        reply = await run.answer(HostCall("http_fetch", data=request(f"{base}/")))
        rejected = RunResult(Outcome.REJECTED, retry_hint=True, detail="no answer")
        well = said(reply) == "200"
        result = run.of_result(RunResult(Outcome.COMPLETED) if well else rejected)
        assert result.upstream == f"http_fetch:127.0.0.1:{upstream.port}"
        decision = retries.decide(claim, result, now_ms)
        ended = retries.attempt(claim, result, decision)
        retries.observe(claim, result, Completion(ended, now_ms))
        return f"{result.cause}|{decision.ruling.reason}"

    for now_ms in range(20):
        assert (await attempt(now_ms)).startswith("|The run completed")
    upstream.up = False
    causes, reason = [], ""
    for now_ms in range(1000, 9000, 1000):
        cause, _, reason = (await attempt(now_ms)).partition("|")
        causes.append(cause)
    assert causes[:3] == ["5xx"] * 3
    assert causes[-1] == "upstream_out"
    assert reason.startswith(f"http_fetch:127.0.0.1:{upstream.port} has been out for 7.0 s")
