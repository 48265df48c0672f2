"""Stores away, full or locked under real gateways and workers, which go on without a restart."""

import asyncio
import sqlite3
import time

import pytest

from tests.faults.fleet import BUSY, LEASE_SECONDS, Fleet
from tests.faults.step_proxy import StepProxy, before

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.usefixtures("alone")]


async def test_an_outage_longer_than_the_lease_is_nobodys_death(fleet: Fleet) -> None:
    limits = {"fuel": 10**11, "wall_ms": 60_000}
    name = await fleet.deploy_counting("(loop br 0)", limits=limits)
    quick = await fleet.deploy_counting()
    workers = [fleet.worker() for _ in range(2)]
    invocation_id = await fleet.submit(name)
    await fleet.until_executed(name, 1)
    await fleet.until_state(invocation_id, "running")
    for _ in range(3):
        await fleet.kill_valkey()
        await asyncio.sleep(1.5 * LEASE_SECONDS)  # the outage itself
        await fleet.valkey.start()
        await fleet.until_state(await fleet.submit(quick), "done")
    await fleet.http.post(f"/v1/invocations/{invocation_id}/cancel")
    record = await fleet.until_state(invocation_id, "done")
    assert [attempt["outcome"] for attempt in record["attempts"]] == ["cancelled"]
    assert await fleet.executions(name) == 1
    assert [worker.poll() for worker in workers] == [None, None]


@pytest.mark.parametrize("script", ["begin", "complete"])
async def test_a_full_server_delays_and_loses_nothing(
    fleet: Fleet, proxy: tuple[StepProxy, str], script: str
) -> None:
    holder, url = proxy
    name = await fleet.deploy_counting(BUSY)
    worker = fleet.worker(url, STOCKADE_LEASE_SECONDS="600")
    await fleet.warm_up(name)
    holder.hold(before(script))
    invocation_id = await fleet.submit(name)
    await fleet.until_executed(name, 2)
    await holder.held()
    await fleet.bound_memory(1)
    refused = await fleet.http.post(f"/v1/functions/{name}/invocations", content=b"in")
    assert (refused.status_code, refused.json()["code"]) == (503, "queue.unavailable")
    holder.hand_on()
    # Whatever was refused, the completion comes, or comes again.
    holder.hold(before("complete"))
    await holder.held()
    holder.hand_on()
    await fleet.bound_memory(0)
    record = await fleet.until_state(invocation_id, "done")
    assert [attempt["outcome"] for attempt in record["attempts"]] == ["completed"]
    assert await fleet.executions(name) - 1 == 1
    assert worker.poll() is None


async def test_a_locked_database_is_told_in_time_and_over_when_it_is_over(fleet: Fleet) -> None:
    name = await fleet.deploy_counting()
    current = (await fleet.http.get(f"/v1/functions/{name}")).json()
    wanted = {"module": current["module"], "grants": ["kv:runs"], "concurrency": 3}
    other = sqlite3.connect(fleet.database_file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    began = time.monotonic()
    refused = await fleet.http.put(f"/v1/functions/{name}", json=wanted)
    # Nothing begins that cannot be logged.
    assert (refused.status_code, refused.json()["code"]) == (503, "audit.unavailable")
    assert time.monotonic() - began < 30
    assert (await fleet.http.get(f"/v1/functions/{name}")).json()["version"] == 1
    other.close()
    made = await fleet.http.put(f"/v1/functions/{name}", json=wanted)
    assert (made.status_code, made.json()["version"]) == (201, 2)
