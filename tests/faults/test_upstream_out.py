"""An upstream that is out while runs want it: real gateway, two workers, Valkey, server."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.faults.fleet import POLICIES, Fleet, until
from tests.guest import guests
from tests.security.http_servers import OK, Server

pytestmark = pytest.mark.undisturbed
RUNS = 40
DOWN = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"


class Upstream(Server):
    """A server that is up or down, as the test says."""

    def __init__(self) -> None:
        super().__init__(self.answer)
        self.up = True

    async def answer(self, _head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(OK if self.up else DOWN)
        await writer.drain()


def fetching(port: int) -> bytes:
    """A guest that asks the server, and wants to be tried again unless it answers with 2xx."""
    request = f"GET http://127.0.0.1:{port}/\\0a\\0a"
    size = len(request) - 4
    body = f"""(local $reply i64) (local $at i32)
      (local.set $reply (call $fetch (i32.const 100) (i32.const {size})))
      (local.set $at (i32.wrap_i64 (i64.shr_u (local.get $reply) (i64.const 32))))
      (if (i32.and (i32.eqz (i32.load8_u (local.get $at)))
                   (i32.eq (i32.load8_u offset=1 (local.get $at)) (i32.const 50)))
        (then (return (local.get $reply))))
      (i64.const {(16 << 32) + 9})"""
    imports = '(import "stockade:v1" "http_fetch" (func $fetch (param i32 i32) (result i64)))'
    alloc = '(func (export "stockade_v1_alloc") (param i32) (result i32) (i32.const 40000))'
    data = f'(data (i32.const 16) "\\01\\01not now") (data (i32.const 100) "{request}")'
    return guests.module(body, imports=imports, alloc=alloc, extra=data)


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    policies = tmp_path / "policies"
    shutil.copytree(POLICIES, policies)
    egress = policies / "egress.toml"
    text = egress.read_text().replace("allow = []", 'allow = ["127.0.0.0/8"]')
    text = text.replace("\nprobe_ms = 1_000", "\nprobe_ms = 200")
    egress.write_text(text.replace("max_probe_ms = 30_000", "max_probe_ms = 400"))
    made = Fleet(tmp_path)
    await made.start()
    own = {"STOCKADE_POLICY_DIR": str(policies)}
    made.http = await made.client(await made.gateway(**own))
    for _ in range(2):
        made.worker(**own)
    yield made
    await made.stop()


async def test_runs_wait_for_its_return_and_leave_it_alone_meanwhile(fleet: Fleet) -> None:
    upstream = Upstream()
    async with await asyncio.start_server(upstream.serve, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        retry = {"policy": "learned", "max_attempts": 20, "max_delay_ms": 2000}
        grants = [f"http_fetch:GET http://127.0.0.1:{port}"]
        await fleet.deploy("asks", fetching(port), grants=grants, retry=retry)
        for _ in range(20):
            done = await fleet.until_state(await fleet.submit("asks"), "done")
            assert done["outcome"] == "completed"
        upstream.up = False
        ids = [await fleet.submit("asks") for _ in range(RUNS)]

        async def listed() -> list[dict[str, object]]:
            found = (await fleet.http.get("/v1/upstreams")).json()["upstreams"]
            return [one for one in found if one["state"] != "closed"]

        (out,) = await until(listed)
        assert (out["upstream"], out["cause"]) == (f"http_fetch:127.0.0.1:{port}", "5xx")
        # What was under way when it opened, then two seconds of probes, 100 to 400 ms apart.
        begun, opened = asyncio.get_running_loop().time(), upstream.connections
        await until(lambda: _passed(begun, 2.0))
        probes = upstream.connections - opened
        upstream.up = True
        records = [await fleet.until_state(one, "done") for one in ids]
    assert 1 <= probes <= 20
    assert {record["outcome"] for record in records} == {"completed"}
    reasons = [one["reason"] for record in records for one in record["attempts"]]
    waited = [one for one in reasons if f"http_fetch:127.0.0.1:{port} has been out" in one]
    assert len(waited) > RUNS / 2
    assert await listed() == []


async def _passed(begun: float, seconds: float) -> bool:
    return asyncio.get_running_loop().time() > begun + seconds
