"""The compiler's turns and its memory, with children that the test plays."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from stockade.core.errors import StockadeError
from stockade.core.jail_control import COMPILED, REFUSED, JailRole
from stockade.infra.jailed_compiler import JailedCompiler
from tests.unit.sandbox_worker.hostile_peer import FakeProcess


class FakeJail:
    """The `Jail` port: children that answer by what they are sent, once they are let."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.let = asyncio.Semaphore(0)
        self._served: set[asyncio.Task[None]] = set()

    async def fork(self, role: JailRole) -> FakeProcess:
        assert role is JailRole.COMPILER
        child = FakeProcess()
        task = asyncio.ensure_future(self._serve(child))
        self._served.add(task)
        return child

    async def engine_fingerprint(self) -> str:
        return "engine"

    async def _serve(self, child: FakeProcess) -> None:
        loop = asyncio.get_running_loop()
        body = b""
        while chunk := await loop.sock_recv(child.peer, 1 << 16):
            body += chunk
        self.bodies.append(body)
        await self.let.acquire()
        kind = REFUSED if body.startswith(b"bad") else COMPILED
        answer = b"" if body.startswith(b"bomb") else kind + body
        await loop.sock_sendall(child.peer, answer)
        child.peer.shutdown(1)

    async def aclose(self) -> None:
        for task in self._served:
            task.cancel()
        await asyncio.gather(*self._served, return_exceptions=True)


@pytest.fixture
async def jail() -> AsyncIterator[FakeJail]:
    made = FakeJail()
    yield made
    await made.aclose()


def free(jail: FakeJail, count: int = 100) -> None:
    for _ in range(count):
        jail.let.release()


async def seen(jail: FakeJail, count: int) -> None:
    async with asyncio.timeout(10):
        while len(jail.bodies) < count:
            await asyncio.sleep(0.001)


async def refused(code: str, compiling: "asyncio.Future[bytes]") -> None:
    with pytest.raises(StockadeError) as caught:
        await compiling
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("body", "code"), [(b"bad", "module.invalid"), (b"bomb", "module.too_costly")]
)
async def test_a_refusal_is_remembered(jail: FakeJail, body: bytes, code: str) -> None:
    compiler = JailedCompiler(jail)
    free(jail)
    for tenant in ("a", "a", "b"):
        await refused(code, asyncio.ensure_future(compiler.compile(body, tenant)))
    assert jail.bodies == [body]
    assert await compiler.compile(b"good") == b"good"
    assert await compiler.compile(b"good") == b"good"
    assert jail.bodies == [body, b"good", b"good"]


async def test_a_costly_module_is_looked_at_again_when_load_may_have_gone(jail: FakeJail) -> None:
    now = [0.0]
    compiler = JailedCompiler(jail, monotonic=lambda: now[0])
    free(jail)
    for at, seen_by_now in ((0.0, 1), (599.0, 1), (600.0, 2), (1199.0, 2)):
        now[0] = at
        await refused("module.too_costly", asyncio.ensure_future(compiler.compile(b"bomb")))
        assert len(jail.bodies) == seen_by_now


async def test_no_more_refusals_than_allowed_are_remembered(jail: FakeJail) -> None:
    compiler = JailedCompiler(jail, max_remembered=2)
    free(jail)
    for number in (1, 2, 3, 3, 2, 1):
        await refused("module.invalid", asyncio.ensure_future(compiler.compile(b"bad%d" % number)))
    assert jail.bodies == [b"bad1", b"bad2", b"bad3", b"bad1"]


async def test_a_refusal_meets_who_waits_for_a_turn(jail: FakeJail) -> None:
    compiler = JailedCompiler(jail)
    first = asyncio.ensure_future(compiler.compile(b"good", "a"))
    await seen(jail, 1)
    same = asyncio.ensure_future(compiler.compile(b"bomb", "a"))
    other = asyncio.ensure_future(compiler.compile(b"bomb", "b"))
    await seen(jail, 2)
    free(jail, 2)
    assert await first == b"good"
    await refused("module.too_costly", other)
    await refused("module.too_costly", same)
    assert jail.bodies == [b"good", b"bomb"]


async def test_the_same_module_at_once_is_compiled_once(jail: FakeJail) -> None:
    compiler = JailedCompiler(jail)
    asked = [asyncio.ensure_future(compiler.compile(b"good", str(n))) for n in range(10)]
    await seen(jail, 1)
    asked[0].cancel()
    free(jail)
    assert await asyncio.gather(*asked[1:]) == [b"good"] * 9
    assert jail.bodies == [b"good"]


async def test_one_tenants_modules_wait_behind_each_other(jail: FakeJail) -> None:
    compiler = JailedCompiler(jail, at_once=2)
    greedy = [asyncio.ensure_future(compiler.compile(b"g%d" % n, "greedy")) for n in range(5)]
    await seen(jail, 1)
    other = asyncio.ensure_future(compiler.compile(b"other", "other"))
    await seen(jail, 2)
    assert jail.bodies == [b"g0", b"other"]
    free(jail)
    assert await other == b"other"
    assert await asyncio.gather(*greedy) == [b"g%d" % n for n in range(5)]


async def test_nobody_waits_behind_anothers_queue_for_the_same_module(jail: FakeJail) -> None:
    compiler = JailedCompiler(jail)
    greedy = [
        asyncio.ensure_future(compiler.compile(body, "greedy")) for body in (b"slow", b"shared")
    ]
    await seen(jail, 1)
    other = asyncio.ensure_future(compiler.compile(b"shared", "other"))
    await seen(jail, 2)
    assert jail.bodies == [b"slow", b"shared"]
    free(jail)
    assert await asyncio.gather(*greedy, other) == [b"slow", b"shared", b"shared"]


async def test_nobody_waits_without_end(jail: FakeJail) -> None:
    compiler = JailedCompiler(jail, at_once=1, wait_seconds=0.05)
    first = asyncio.ensure_future(compiler.compile(b"slow", "a"))
    await seen(jail, 1)
    await refused("module.compiler_busy", asyncio.ensure_future(compiler.compile(b"x", "b")))
    free(jail)
    assert await first == b"slow"
    assert await compiler.compile(b"x", "b") == b"x"


async def test_a_tenant_with_many_waiting_is_refused_for_now(jail: FakeJail) -> None:
    compiler = JailedCompiler(jail, most_waiting=2)
    waiting = [asyncio.ensure_future(compiler.compile(b"%d" % n, "a")) for n in range(3)]
    await seen(jail, 1)
    await refused("module.compiler_busy", asyncio.ensure_future(compiler.compile(b"more", "a")))
    free(jail)
    await asyncio.gather(*waiting)
    assert await compiler.compile(b"more", "a") == b"more"


@pytest.mark.parametrize("answer_bytes", [10, 11])
async def test_an_answer_beyond_its_bound_is_too_costly(jail: FakeJail, answer_bytes: int) -> None:
    compiler = JailedCompiler(jail, max_artifact_bytes=11)
    free(jail)
    compiling = asyncio.ensure_future(compiler.compile(b"x" * answer_bytes))
    if answer_bytes == 10:
        assert await compiling == b"x" * 10
    else:
        await refused("module.too_costly", compiling)


async def test_a_compiler_that_takes_too_long_is_ended(jail: FakeJail) -> None:
    compiler = JailedCompiler(jail, timeout_seconds=0.05)
    await refused("module.too_costly", asyncio.ensure_future(compiler.compile(b"slow")))
