"""Names are looked up in threads of their own; nobody waits for another tenant's."""

import asyncio
from collections.abc import Sequence
from ipaddress import ip_address
from threading import Event, Lock

import pytest

from stockade.core.addresses import Address
from stockade.infra.system_name_resolver import SystemNameResolver

ANSWER = [ip_address("192.0.2.1")]
PATIENCE_SECONDS = 10
STUCK_SECONDS = 60


class StuckServers:
    """Looks names up; those that begin with `stuck` end when they, or all, are let go."""

    def __init__(self) -> None:
        self.go = Event()
        self.first = Event()
        self.running = 0
        self.asked: list[str] = []
        self._lock = Lock()

    def __call__(self, host: str) -> Sequence[Address]:
        with self._lock:
            self.asked.append(host)
            self.running += 1
        if host.startswith("stuck"):
            (self.first if host == "stuck-first" else self.go).wait(STUCK_SECONDS)
        with self._lock:
            self.running -= 1
        if host == "none":
            raise OSError("no such name")
        return ANSWER


async def soon(waited: "asyncio.Future[Sequence[Address]]") -> Sequence[Address]:
    return await asyncio.wait_for(waited, PATIENCE_SECONDS)


async def begun(servers: StuckServers, *hosts: str) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not set(hosts) <= set(servers.asked):
            await asyncio.sleep(0)


async def test_the_hosts_resolver_is_asked() -> None:
    found = await SystemNameResolver().addresses("acme", "localhost")
    assert all(address.is_loopback for address in found)
    assert found


async def test_a_name_that_is_not_there_is_told() -> None:
    with pytest.raises(OSError, match="no such name"):
        await SystemNameResolver(StuckServers()).addresses("acme", "none")


async def test_stuck_look_ups_of_a_tenant_keep_no_other_waiting() -> None:
    servers = StuckServers()
    resolver = SystemNameResolver(servers, share=2)
    stuck = [
        asyncio.ensure_future(resolver.addresses("acme", f"stuck{number}")) for number in range(5)
    ]
    await begun(servers, "stuck0", "stuck1")
    assert await soon(asyncio.ensure_future(resolver.addresses("rival", "a"))) == ANSWER
    assert sorted(servers.asked) == ["a", "stuck0", "stuck1"]
    servers.go.set()
    assert [await soon(one) for one in stuck] == [ANSWER] * 5


async def test_a_look_up_that_nobody_waits_for_keeps_its_place_until_it_ends() -> None:
    servers = StuckServers()
    resolver = SystemNameResolver(servers, share=1)
    first = asyncio.ensure_future(resolver.addresses("acme", "stuck0"))
    await begun(servers, "stuck0")
    first.cancel()
    for number in (1, 2):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await resolver.addresses("acme", f"stuck{number}")
    assert servers.asked == ["stuck0"]
    servers.go.set()
    assert await soon(asyncio.ensure_future(resolver.addresses("acme", "b"))) == ANSWER


async def test_all_tenants_together_have_so_many() -> None:
    servers = StuckServers()
    resolver = SystemNameResolver(servers, share=1, total=2)
    stuck = [
        asyncio.ensure_future(resolver.addresses(tenant, f"stuck-{tenant}"))
        for tenant in ("a", "b", "c")
    ]
    await begun(servers, "stuck-a", "stuck-b")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await resolver.addresses("d", "d")
    assert "d" not in servers.asked
    servers.go.set()
    assert [await soon(one) for one in stuck] == [ANSWER] * 3


async def test_what_is_given_up_while_it_waits_for_room_holds_no_place() -> None:
    servers = StuckServers()
    resolver = SystemNameResolver(servers, share=2, total=2)
    first = asyncio.ensure_future(resolver.addresses("rival", "stuck-first"))
    stuck = asyncio.ensure_future(resolver.addresses("acme", "stuck"))
    await begun(servers, "stuck-first", "stuck")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await resolver.addresses("acme", "given up")
    servers.first.set()
    assert await soon(first) == ANSWER
    # One place of acme's is taken, and one is free.
    assert await soon(asyncio.ensure_future(resolver.addresses("acme", "a"))) == ANSWER
    servers.go.set()
    assert await soon(stuck) == ANSWER


def test_a_look_up_that_outlives_the_loop_harms_nobody() -> None:
    servers = StuckServers()

    async def give_up() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await SystemNameResolver(servers).addresses("acme", "stuck")

    asyncio.run(give_up())
    servers.go.set()
