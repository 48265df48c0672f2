"""What the queue promises when its server, its network or its processes fail."""

import asyncio
import os
import shutil
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import pytest

from stockade.core.errors import StockadeError
from stockade.core.invocations import Claim, Completion, Invocation
from stockade.core.key_values import KeyValueQuota
from stockade.core.modules import Abi, FunctionContent
from stockade.core.outcomes import Attempt, Outcome, State, Usage
from stockade.infra.queue_settings import QueueSettings
from stockade.infra.redis.embedded_valkey import EmbeddedValkey
from stockade.infra.redis.redis_connection import Part, RedisConnections, RedisScript
from stockade.infra.redis.redis_key_values import RedisKeyValueStore
from stockade.infra.redis.redis_queue import RedisInvocationQueue
from stockade.infra.system_clock import SystemClock

T = TypeVar("T")
CLOCK = SystemClock()
CONTENT = FunctionContent("sha256:" + "a" * 64, Abi.STOCKADE_V1, deterministic=True)


def asked(reply_to: str = "") -> Invocation:
    now = CLOCK.now_ms()
    return Invocation(
        CLOCK.new_id(), "acme", "f", 1, CONTENT, now, input_inline=b"in", reply_to=reply_to
    )


def ended() -> Completion:
    attempt = Attempt(1, Outcome.COMPLETED, "done", Usage())
    return Completion(attempt, CLOCK.now_ms(), output_inline=b"out")


def queue_at(url: str, name: str = "main", **settings: int) -> RedisInvocationQueue:
    connections = RedisConnections(url, retry_seconds=20.0)
    return RedisInvocationQueue(
        connections, gateway=name, consumer=name, settings=QueueSettings(**settings)
    )


@asynccontextmanager
async def opened(
    url: str, name: str = "main", **settings: int
) -> AsyncIterator[RedisInvocationQueue]:
    queue = queue_at(url, name, **settings)
    try:
        yield queue
    finally:
        await queue.aclose()


@pytest.fixture
async def valkey(tmp_path: Path) -> AsyncIterator[EmbeddedValkey]:
    server = EmbeddedValkey(tmp_path / "data dir \"'é")
    await server.start()
    yield server
    await server.stop()


async def until(look: Callable[[], Awaitable[T]]) -> T:
    async with asyncio.timeout(20.0):
        while not (seen := await look()):
            await asyncio.sleep(0.005)
    return seen


async def died(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return True
    return stat.rpartition(")")[2].split()[0] == "Z"


async def kill(server: EmbeddedValkey) -> None:
    os.kill(server.pid, signal.SIGKILL)

    async def dead() -> bool:
        return not server.running

    await until(dead)


async def command(server: EmbeddedValkey, *parts: str | int) -> object:
    connections = RedisConnections(server.url)
    try:
        reply: object = await connections.call(*parts)
        return reply
    finally:
        await connections.close()


async def claim_patiently(queue: RedisInvocationQueue) -> list[Claim]:
    try:
        return list(await queue.claim(8, 0.1))
    except StockadeError:
        return []


# The server dies


async def test_nothing_acknowledged_is_lost_when_the_server_is_killed(
    valkey: EmbeddedValkey,
) -> None:
    invocations = [asked() for _ in range(200)]
    async with opened(valkey.url) as queue:
        await asyncio.gather(*(queue.submit(one) for one in invocations))
        await kill(valkey)
        await valkey.start()
        seen: set[str] = set()
        while len(seen) < len(invocations):
            for claim in await claim_patiently(queue):
                assert await queue.complete(claim, ended())
                seen.add(claim.invocation.id)
        assert seen == {one.id for one in invocations}


async def test_everyone_reconnects_through_repeated_kills(valkey: EmbeddedValkey) -> None:
    recorded: Counter[str] = Counter()
    async with opened(valkey.url, "gateway") as gateway, opened(valkey.url, "w") as worker:
        running = True

        async def submit_and_wait() -> list[str]:
            mine = []
            while running:
                invocation = asked("gateway")
                assert (await gateway.submit(invocation)).created
                while not await waited(gateway, invocation):
                    pass
                mine.append(invocation.id)
            return mine

        async def work() -> None:
            while not all(submitter.done() for submitter in submitters):
                for claim in await claim_patiently(worker):
                    assert await worker.begin(claim, CLOCK.now_ms())
                    recorded[claim.invocation.id] += await worker.complete(claim, ended())

        async with asyncio.TaskGroup() as tasks:
            submitters = [tasks.create_task(submit_and_wait()) for _ in range(4)]
            tasks.create_task(work())
            for _ in range(3):
                await until_grown(recorded)
                await kill(valkey)
                await valkey.start()
            await until_grown(recorded)
            running = False
        acknowledged = {one for submitter in submitters for one in submitter.result()}
        assert acknowledged <= set(recorded)
        assert set(recorded.values()) == {1}


async def waited(queue: RedisInvocationQueue, invocation: Invocation) -> bool:
    try:
        return await queue.wait("acme", invocation.id, 5.0)
    except StockadeError:
        return False


async def until_grown(recorded: Counter[str]) -> None:
    size = len(recorded) + 20

    async def grown() -> bool:
        return len(recorded) >= size

    await until(grown)


async def test_a_truncated_tail_is_accepted(valkey: EmbeddedValkey, tmp_path: Path) -> None:
    first, last = asked(), asked()
    async with opened(valkey.url) as queue:
        await queue.submit(first)
        await queue.submit(last)
    await kill(valkey)
    (tail,) = tmp_path.glob("*/appendonlydir/*.incr.aof")
    os.truncate(tail, tail.stat().st_size - 7)
    await valkey.start()
    async with opened(valkey.url) as queue:
        assert await queue.record("acme", first.id) is not None


async def test_a_tail_cut_anywhere_leaves_no_half_transition(
    valkey: EmbeddedValkey, tmp_path: Path
) -> None:
    invocations = [asked() for _ in range(12)]
    async with opened(valkey.url) as queue:
        await queue.tick(len(invocations), CLOCK.now_ms())
        for number, invocation in enumerate(invocations):
            await queue.submit(invocation)
            (claim,) = await queue.claim(1, 1.0)
            assert await queue.begin(claim, CLOCK.now_ms())
            if number % 4 == 0:
                assert await queue.complete(claim, ended())
            elif number % 4 == 1:
                await queue.hand_back(claim, ran=True)
                (claim,) = await queue.claim(1, 1.0)
            elif number % 4 == 2:
                await queue.cancel("acme", invocation.id, CLOCK.now_ms())
    await kill(valkey)
    (tail,) = tmp_path.glob("*/appendonlydir/*.incr.aof")
    size, kept_of = tail.stat().st_size, []
    for share in range(1, 14):
        copy = tmp_path / f"copy{share}"
        shutil.copytree(tail.parent.parent, copy)
        os.truncate(copy / "appendonlydir" / tail.name, size * share // 14)
        kept_of.append(await kept_and_finished(EmbeddedValkey(copy), invocations))
    assert kept_of == sorted(kept_of)
    assert len(set(kept_of)) > 6


async def kept_and_finished(server: EmbeddedValkey, invocations: list[Invocation]) -> int:
    """How many of the invocations the server still has, once each of them has its outcome."""
    await server.start()
    try:
        async with opened(server.url, "heir", lease_ms=20) as queue:
            records = [await queue.record("acme", one.id) for one in invocations]
            kept = sum(record is not None for record in records)
            # What was acknowledged before the cut, and nothing else.
            assert all(record is not None for record in records[:kept])

            async def all_done() -> bool:
                for claim in (*await queue.claim(9, 0.0), *await queue.reclaim(9)):
                    assert await queue.complete(claim, ended())
                found = [await queue.record("acme", one.id) for one in invocations[:kept]]
                return all(one is not None and one.state is State.DONE for one in found)

            await until(all_done)
            assert await command(server, "XLEN", "sk:{p00}:ready") == 0
            return kept
    finally:
        await server.stop()


async def test_an_outage_does_not_end_leases(valkey: EmbeddedValkey) -> None:
    async with opened(valkey.url, "heir", lease_ms=300) as heir, opened(valkey.url, "w") as worker:
        assert list(await heir.reclaim(9)) == []
        await worker.submit(asked())
        (claim,) = await worker.claim(1, 1.0)
        assert await worker.begin(claim, CLOCK.now_ms())
        await kill(valkey)
        await valkey.start()

        async def idle_past_the_lease() -> bool:
            parts = ("sk:{p00}:ready", "workers", "IDLE", 300, "-", "+", 9)
            return bool(await command(valkey, "XPENDING", *parts))

        await until(idle_past_the_lease)
        assert list(await heir.reclaim(9)) == []
        assert list(await worker.heartbeat([claim])) == []
        # Once it has been back for as long as a lease, who is silent loses his claims again.
        (taken,) = await until(lambda: heir.reclaim(9))
        assert (taken.attempt, taken.deaths) == (2, 1)
        assert not await worker.complete(claim, ended())
        assert await heir.complete(taken, ended())


async def test_a_stopped_server_says_unavailable(valkey: EmbeddedValkey) -> None:
    connections = RedisConnections(valkey.url, retry_seconds=0.1)
    queue = RedisInvocationQueue(connections, consumer="w")
    await valkey.stop()
    for attempt in (queue.submit(asked()), queue.claim(1, 0.1), queue.record("acme", "x")):
        with pytest.raises(StockadeError) as failure:
            await attempt
        assert (failure.value.code, failure.value.retryable) == ("queue.unavailable", True)
    await queue.aclose()


async def test_a_full_server_says_unavailable_and_keeps_reading(valkey: EmbeddedValkey) -> None:
    kept = asked()
    async with opened(valkey.url) as queue:
        await queue.submit(kept)
        await command(valkey, "CONFIG", "SET", "maxmemory", 1)
        with pytest.raises(StockadeError) as failure:
            await queue.submit(asked())
        assert (failure.value.code, failure.value.retryable) == ("queue.unavailable", True)
        assert "memory" in failure.value.message
        assert await queue.record("acme", kept.id) is not None
        await command(valkey, "CONFIG", "SET", "maxmemory", 0)
        assert (await queue.submit(asked())).created


async def test_after_a_restart_nothing_is_sent_over_what_was_closed(
    valkey: EmbeddedValkey,
) -> None:
    connections = RedisConnections(valkey.url)
    store = RedisKeyValueStore([connections], KeyValueQuota())
    assert await store.add("acme", "n", "k", 1) == 1
    await kill(valkey)
    await valkey.start()
    # An addition is not repeated: it must not be lost on a connection of before.
    assert await store.add("acme", "n", "k", 1) == 2
    await store.aclose()


async def test_a_full_server_takes_nobody_for_dead(valkey: EmbeddedValkey) -> None:
    async with opened(valkey.url, "heir", lease_ms=50) as heir, opened(valkey.url, "w") as worker:
        assert list(await heir.reclaim(9)) == []
        await worker.submit(asked())
        (claim,) = await worker.claim(1, 1.0)
        await command(valkey, "CONFIG", "SET", "maxmemory", 1)

        async def refused() -> bool:
            try:
                return bool(await heir.reclaim(9))
            except StockadeError as error:
                return "memory" in error.message

        await until(refused)
        assert list(await worker.heartbeat([claim])) == []
        await command(valkey, "CONFIG", "SET", "maxmemory", 0)
        assert await worker.complete(claim, ended())


async def test_a_wrong_password_is_not_retried(valkey: EmbeddedValkey) -> None:
    async with opened(valkey.url.replace("redis://:", "redis://:x")) as queue:
        with pytest.raises(StockadeError) as failure:
            await queue.record("acme", "x")
        assert "credentials" in failure.value.message


async def test_our_own_misuse_is_no_outage(valkey: EmbeddedValkey) -> None:
    with pytest.raises(RuntimeError):
        await command(valkey, "NO-SUCH-COMMAND")


# The server loses its data or its scripts


async def test_a_wiped_server_gets_its_group_again(valkey: EmbeddedValkey) -> None:
    async with opened(valkey.url) as queue:
        await queue.tick(4, CLOCK.now_ms())
        await queue.submit(asked())
        (lost,) = await queue.claim(1, 1.0)
        async with asyncio.TaskGroup() as tasks:
            claiming = tasks.create_task(until(lambda: claim_patiently(queue)))
            await command(valkey, "FLUSHALL")
            await queue.submit(asked())
        assert len(claiming.result()) == 1
        assert not await queue.begin(lost, CLOCK.now_ms())
        assert not await queue.complete(lost, ended())
        assert list(await queue.heartbeat([lost])) == [lost]


async def test_every_verb_starts_on_an_empty_server(valkey: EmbeddedValkey) -> None:
    async with opened(valkey.url) as queue:
        invocation = asked()
        ghost = Claim(invocation, 1, "1-1")
        assert list(await queue.heartbeat([ghost])) == [ghost]
        await command(valkey, "FLUSHALL")
        assert list(await queue.reclaim(9)) == []
        await command(valkey, "FLUSHALL")
        assert await queue.tick(1, CLOCK.now_ms()) == 0
        assert not await queue.begin(ghost, CLOCK.now_ms())
        assert not await queue.complete(ghost, ended())


async def test_forgotten_scripts_are_sent_again(valkey: EmbeddedValkey) -> None:
    async with opened(valkey.url) as queue:
        await queue.submit(asked())
        await command(valkey, "SCRIPT", "FLUSH")
        assert (await queue.submit(asked())).created


async def test_an_entry_without_its_record_is_acknowledged_away(valkey: EmbeddedValkey) -> None:
    async with opened(valkey.url, lease_ms=50) as queue:
        invocation = asked()
        await queue.submit(invocation)
        await queue.claim(1, 1.0)
        await command(valkey, "DEL", f"sk:{{p00}}:inv:{invocation.id}")

        async def emptied() -> bool:
            assert list(await queue.reclaim(9)) == []
            return await command(valkey, "XLEN", "sk:{p00}:ready") == 0

        await until(emptied)


class SlowToRecover(RedisConnections):
    """Holds back the look for entries whose delivery was cut off."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.asked, self.may_go = asyncio.Event(), asyncio.Event()

    async def run(self, script: RedisScript, prefix: str, *arguments: Part) -> object:
        if script == RedisScript.load("recover"):
            self.asked.set()
            await self.may_go.wait()
        return await super().run(script, prefix, *arguments)


async def test_what_is_taken_over_is_not_recovered_too(valkey: EmbeddedValkey) -> None:
    async with opened(valkey.url, "dies", lease_ms=50) as dead:
        await dead.submit(asked())
        await until(lambda: dead.claim(1, 0.1))
        await until(lambda: dead.reclaim(1))  # from itself: leases count now

        async def lapsed() -> object:
            idle = ("IDLE", 50, "-", "+", 1)
            return await command(valkey, "XPENDING", "sk:{p00}:ready", "workers", *idle)

        await until(lapsed)
        slow = SlowToRecover(valkey.url)
        heir = RedisInvocationQueue(slow, consumer="heir", settings=QueueSettings(lease_ms=50))
        heir._ready._reply_lost = True
        claims = asyncio.ensure_future(heir.claim(1, 0.1))
        await slow.asked.wait()
        taken = asyncio.ensure_future(heir.reclaim(1))
        await asyncio.wait({taken}, timeout=0.3)
        slow.may_go.set()
        assert len([*await claims, *await taken]) == 1
        await heir.aclose()


@pytest.mark.parametrize("ended_first", [False, True])
async def test_a_second_delivery_of_the_same_invocation_is_refused(
    valkey: EmbeddedValkey, *, ended_first: bool
) -> None:
    async with opened(valkey.url, "a") as first, opened(valkey.url, "b") as second:
        invocation = asked()
        await first.submit(invocation)
        entries = await command(valkey, "XRANGE", "sk:{p00}:ready", "-", "+")
        assert isinstance(entries, list)
        ((_, fields),) = entries
        await command(valkey, "XADD", "sk:{p00}:ready", "*", *fields)
        (claim,) = await first.claim(1, 1.0)
        (again,) = await second.claim(1, 1.0)
        assert again.invocation == claim.invocation == invocation
        if ended_first:
            assert await first.complete(claim, ended())
        assert not await second.begin(again, CLOCK.now_ms())
        assert not await second.complete(again, ended())
        assert list(await second.heartbeat([again])) == [again]
        if not ended_first:
            assert await first.complete(claim, ended())
        record = await first.record("acme", invocation.id)
        assert record is not None
        assert (record.state, len(record.attempts)) == (State.DONE, 1)


async def test_finished_work_leaves_only_records_behind(valkey: EmbeddedValkey) -> None:
    async with opened(valkey.url) as queue:
        await queue.tick(4, CLOCK.now_ms())
        for _ in range(20):
            await queue.submit(asked())
        while claims := await queue.claim(9, 0.0):
            for claim in claims:
                await queue.complete(claim, ended())
        keys = await command(valkey, "KEYS", "*")
        assert isinstance(keys, list)
        kinds = Counter(key.decode().split(":")[2] for key in keys)
        kept = {"inv": 20, "ready": 1, "workers": 1, "capacity": 1, "window": 1}
        assert kinds == {**kept, "history": 1}  # until a recorder confirms what ended
        assert await command(valkey, "XLEN", "sk:{p00}:ready") == 0
        for key in keys:
            if b":inv:" in key:
                assert await command(valkey, "PTTL", key.decode()) != -1


# The network cuts a reply


class CuttingProxy:
    """Hands bytes on; while armed, it hands on half a reply and closes the connection."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._server: asyncio.Server | None = None
        self.armed = False

    async def start(self) -> int:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream, out = await asyncio.open_connection("127.0.0.1", self._port)
        requests = asyncio.ensure_future(self._pump(reader, out, cuts=False))
        await self._pump(upstream, writer, cuts=True)
        requests.cancel()
        out.close()
        writer.close()

    async def _pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, cuts: bool
    ) -> None:
        while data := await source.read(65536):
            if cuts and self.armed:
                self.armed = False
                sink.write(data[: len(data) // 2])  # in the middle of the reply
                return
            sink.write(data)
        sink.close()


@pytest.fixture
async def proxy(valkey: EmbeddedValkey) -> AsyncIterator[tuple[CuttingProxy, str]]:
    before, _, port = valkey.url.removesuffix("/0").rpartition(":")
    made = CuttingProxy(int(port))
    yield made, f"{before}:{await made.start()}/0"
    await made.stop()


async def test_a_submission_whose_reply_was_cut_is_one_invocation(
    proxy: tuple[CuttingProxy, str],
) -> None:
    cutter, url = proxy
    async with opened(url) as queue:
        assert await queue.record("acme", "x") is None
        cutter.armed = True
        assert (await queue.submit(asked())).created
        assert not cutter.armed
        assert len(await queue.claim(9, 1.0)) == 1


async def test_a_completion_whose_reply_was_cut_counts_once(
    proxy: tuple[CuttingProxy, str],
) -> None:
    cutter, url = proxy
    async with opened(url) as queue:
        invocation = asked()
        await queue.submit(invocation)
        (claim,) = await queue.claim(1, 1.0)
        cutter.armed = True
        assert await queue.complete(claim, ended())
        assert not cutter.armed
        record = await queue.record("acme", invocation.id)
        assert record is not None
        assert (record.state, len(record.attempts)) == (State.DONE, 1)


async def test_a_cancel_whose_reply_was_cut_is_true(proxy: tuple[CuttingProxy, str]) -> None:
    cutter, url = proxy
    async with opened(url) as queue:
        invocation = asked()
        await queue.submit(invocation)
        cutter.armed = True
        assert await queue.cancel("acme", invocation.id, CLOCK.now_ms()) is True
        assert not cutter.armed


async def test_a_delivery_whose_reply_was_cut_is_claimed_again_without_a_death(
    proxy: tuple[CuttingProxy, str],
) -> None:
    cutter, url = proxy
    async with opened(url) as queue:
        held, invocation = asked(), asked()
        await queue.submit(held)
        (claim,) = await queue.claim(1, 1.0)
        await queue.submit(invocation)
        cutter.armed = True
        assert await claim_patiently(queue) == []
        assert not cutter.armed
        (again,) = await queue.claim(9, 1.0)
        assert (again.invocation, again.attempt, again.deaths) == (invocation, 1, 0)
        assert await queue.begin(again, CLOCK.now_ms())
        assert await queue.complete(again, ended())
        assert await queue.complete(claim, ended())


async def test_a_takeover_whose_reply_was_cut_is_claimed_with_one_death(
    valkey: EmbeddedValkey, proxy: tuple[CuttingProxy, str]
) -> None:
    cutter, url = proxy
    async with opened(valkey.url, "dead") as dead, opened(url, "heir", lease_ms=50) as heir:
        assert list(await heir.reclaim(9)) == []
        await dead.submit(asked())
        (lost,) = await dead.claim(1, 1.0)
        assert await dead.begin(lost, CLOCK.now_ms())

        async def idle_past_the_lease() -> bool:
            parts = ("sk:{p00}:ready", "workers", "IDLE", 60, "-", "+", 9)
            return bool(await command(valkey, "XPENDING", *parts))

        await until(idle_past_the_lease)
        cutter.armed = True
        with pytest.raises(StockadeError):
            await heir.reclaim(9)
        (taken,) = await heir.claim(9, 1.0)
        assert (taken.attempt, taken.deaths) == (2, 1)
        assert await heir.complete(taken, ended())


async def test_a_cancelled_claim_loses_nothing(valkey: EmbeddedValkey) -> None:
    async with opened(valkey.url) as queue:
        claiming = asyncio.ensure_future(queue.claim(1, 10.0))

        async def blocked() -> bool:
            info = await command(valkey, "INFO", "clients")
            assert isinstance(info, bytes)
            return b"blocked_clients:1" in info

        await until(blocked)
        claiming.cancel()
        await queue.submit(asked())
        (claim,) = await queue.claim(1, 5.0)
        assert (claim.attempt, claim.deaths) == (1, 0)


async def test_a_closed_queue_says_unavailable(valkey: EmbeddedValkey) -> None:
    queue = queue_at(valkey.url)
    await queue.aclose()
    with pytest.raises(StockadeError) as failure:
        await queue.submit(asked())
    assert failure.value.code == "queue.unavailable"


# The embedded server itself


async def test_a_server_is_started_once(tmp_path: Path) -> None:
    server = EmbeddedValkey(tmp_path, fsync="everysec")
    with pytest.raises(RuntimeError):
        _ = server.pid
    await server.start()
    with pytest.raises(RuntimeError):
        await server.start()
    await server.stop()
    await server.stop()
    assert not server.running


async def test_one_data_directory_has_one_server(valkey: EmbeddedValkey, tmp_path: Path) -> None:
    (directory,) = (path.parent for path in tmp_path.glob("*/valkey.conf"))
    with pytest.raises(StockadeError) as refusal:
        await EmbeddedValkey(directory).start()
    assert refusal.value.code == "queue.data_dir_busy"
    async with opened(valkey.url) as queue:
        assert await queue.record("acme", "x") is None


async def test_a_busy_port_is_named(valkey: EmbeddedValkey, tmp_path: Path) -> None:
    port = int(valkey.url.removesuffix("/0").rpartition(":")[2])
    with pytest.raises(StockadeError) as refusal:
        await EmbeddedValkey(tmp_path / "other", port).start()
    assert refusal.value.code == "queue.port_busy"
    assert str(port) in refusal.value.message


async def test_the_password_stands_in_a_private_file(
    valkey: EmbeddedValkey, tmp_path: Path
) -> None:
    (file,) = tmp_path.glob("*/valkey.conf")
    assert file.stat().st_mode & 0o777 == 0o600
    password = valkey.url.removeprefix("redis://:").partition("@")[0]
    assert len(password) >= 32
    assert f"requirepass {password}" in file.read_text()
    cmdline = Path(f"/proc/{valkey.pid}/cmdline").read_text()
    assert password not in cmdline


_STARTER = """
import asyncio, pathlib, sys, time
from stockade.infra.redis.embedded_valkey import EmbeddedValkey
async def main():
    server = EmbeddedValkey(pathlib.Path(sys.argv[1]))
    await server.start()
    print(server.pid, flush=True)
    await asyncio.sleep(3600)
asyncio.run(main())
"""


async def test_the_server_dies_with_its_starter(tmp_path: Path) -> None:
    starter = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _STARTER, str(tmp_path)),
        stdout=asyncio.subprocess.PIPE,
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert starter.stdout is not None
    pid = int(await starter.stdout.readline())
    starter.kill()
    await starter.wait()
    await until(lambda: died(pid))
    server = EmbeddedValkey(tmp_path)
    await server.start()
    await server.stop()


# Many at once


async def test_a_burst_opens_a_bounded_number_of_connections(valkey: EmbeddedValkey) -> None:
    async with opened(valkey.url) as queue:
        receipts = await asyncio.gather(*(queue.submit(asked()) for _ in range(500)))
        assert all(receipt.created for receipt in receipts)
        clients = await command(valkey, "CLIENT", "LIST")
        assert isinstance(clients, bytes)
        assert clients.count(b"\n") <= 64 + 1


async def test_places_of_submissions_nobody_waits_for_are_bounded(valkey: EmbeddedValkey) -> None:
    async with opened(valkey.url, waiters_limit=3) as queue:
        await queue.tick(10, CLOCK.now_ms())
        invocations = [asked("main") for _ in range(10)]
        for invocation in invocations:
            await queue.submit(invocation)
        assert len(queue._replies._places) == 3
        for claim in await queue.claim(10, 1.0):
            await queue.complete(claim, ended())
        assert await queue.wait("acme", invocations[0].id, 5.0)
        assert await queue.wait("acme", invocations[-1].id, 5.0)
