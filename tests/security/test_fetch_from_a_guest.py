"""`http_fetch` all the way: a guest in a jailed executor, the broker, real servers on loopback."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from sandbox_worker.broker import HostCallBroker
from stockade.core.egress import EgressPolicy
from stockade.core.invocations import Invocation
from stockade.core.key_values import KeyValueQuota
from stockade.core.limits import Limits
from stockade.core.modules import Abi, FunctionContent
from stockade.core.outcomes import Outcome, RunResult
from stockade.infra.guarded_http import GuardedHttp
from stockade.infra.memory.memory_catalog import MemoryCatalog
from stockade.infra.memory.memory_key_values import MemoryKeyValueStore
from stockade.infra.secret_box import AesGcmSecretBox
from stockade.infra.system_clock import SystemClock
from tests.guest import guests
from tests.security.http_servers import LOOPBACK, Names, redirect, request, serving
from tests.security.sandbox import PLENTY, Sandbox

pytestmark = pytest.mark.undisturbed

# Asks for what its input says, and answers with the reply.
FETCHER = guests.module(
    """(local $reply i64)
    (local.set $reply (call $fetch (local.get 0) (local.get 1)))
    (i32.store8 (i32.const 1023) (i32.const 0))
    (i64.or (i64.const 4393751543808) (i64.add (i64.const 1)
      (i64.and (local.get $reply) (i64.const 0xffffffff))))""",
    imports='(import "stockade:v1" "http_fetch" (func $fetch (param i32 i32) (result i64)))',
    memory="40",
)
BOUNDS = Limits(
    fuel=PLENTY.fuel, wall_ms=20_000, memory_bytes=64 << 20, output_bytes=2 << 20, host_calls=10
)
Fetch = Callable[..., Awaitable[RunResult]]


@pytest.fixture
def fetch(sandbox: Sandbox) -> Fetch:
    clock = SystemClock()
    broker = HostCallBroker(
        GuardedHttp(EgressPolicy(networks=LOOPBACK), Names()),
        MemoryKeyValueStore(clock, KeyValueQuota()),
        MemoryCatalog(),
        AesGcmSecretBox((b"k" * 32,)),
    )

    async def run(sent: bytes, *grants: str, limits: Limits = BOUNDS) -> RunResult:
        texts = tuple(f"http_fetch:{grant}" for grant in grants)
        content = FunctionContent("sha256:x", Abi.STOCKADE_V1, deterministic=False, grants=texts)
        calls = broker.open(Invocation("id", "t", "f", 1, content, 0, input_inline=b""))
        task = await sandbox.task(FETCHER, sent, limits)
        executor = await sandbox.pool.acquire("t", task.digest)
        try:
            return await executor.run(task, calls)
        finally:
            await sandbox.pool.release(executor)

    return run


async def test_a_granted_server_answers_the_guest(fetch: Fetch) -> None:
    async with serving() as server:
        base = f"http://127.0.0.1:{server.port}"
        result = await fetch(request(f"{base}/v1/a"), f"GET {base}/v1")
    assert result.outcome is Outcome.COMPLETED
    assert result.output == b"\x00200\ncontent-length: 2\nx-seen: 1\n\nhi"
    assert server.heads[0].startswith(b"GET /v1/a HTTP/1.1\r\n")


async def test_the_largest_response_arrives_whole(fetch: Fetch) -> None:
    size = EgressPolicy().max_response_bytes
    answer = f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode() + b"x" * size
    async with serving(answer) as server:
        base = f"http://127.0.0.1:{server.port}"
        result = await fetch(request(f"{base}/"), f"GET {base}")
    assert result.outcome is Outcome.COMPLETED
    assert result.output == f"\x00200\ncontent-length: {size}\n\n".encode() + b"x" * size


@pytest.mark.parametrize(
    ("path", "location", "code"),
    [
        ("/admin", "/", "not_granted"),
        ("/v1", "http://169.254.169.254/", "not_granted"),
        ("/v1", "http://[", "redirect_refused"),
        ("/v1", "file:///etc/passwd", "redirect_refused"),
    ],
)
async def test_a_refusal_is_an_answer_and_the_worker_is_unharmed(
    sandbox: Sandbox, fetch: Fetch, path: str, location: str, code: str
) -> None:
    async with serving(redirect(location)) as server:
        base = f"http://127.0.0.1:{server.port}"
        result = await fetch(request(base + path), f"GET {base}/v1")
    assert result.outcome is Outcome.COMPLETED
    assert result.output.startswith(f"\x02http_fetch.{code}: ".encode())
    await sandbox.is_unharmed()


async def test_a_server_that_is_silent_ends_the_run_at_its_deadline(
    sandbox: Sandbox, fetch: Fetch
) -> None:
    gone = asyncio.Event()

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        gone.set()
        writer.close()

    async with await asyncio.start_server(hold, "127.0.0.1", 0) as listening:
        base = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        limits = Limits(fuel=PLENTY.fuel, wall_ms=300, memory_bytes=64 << 20, host_calls=10)
        result = await fetch(request(f"{base}/"), f"GET {base}", limits=limits)
        await asyncio.wait_for(gone.wait(), 10)
    assert (result.outcome, result.limit) == (Outcome.LIMIT_EXCEEDED, "wall")
    await sandbox.is_unharmed()
