"""SIGTERM: what stops takes nothing new, finishes or hands back what it has, and ends with 0."""

import asyncio
import signal
import subprocess

import httpx
import pytest

from tests.faults.fleet import BUSY, Fleet, executors_of, living, until
from tests.faults.step_proxy import CLAIMED, StepProxy

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.usefixtures("alone")]
ENDLESS = "(loop br 0)"
NEVER = {"STOCKADE_LEASE_SECONDS": "600"}
"""No lease runs out during a test: what changes hands was handed back."""


async def stopping(fleet: Fleet, worker: subprocess.Popen[bytes]) -> None:
    """Sends SIGTERM and waits until the worker has heard it."""
    worker.terminate()

    async def heard() -> bool:
        return "worker_stopping" in fleet.log_of(worker)

    await until(heard)


async def begun(fleet: Fleet, worker: subprocess.Popen[bytes]) -> None:
    """Waits until the worker is there and minds signals."""

    async def ready() -> bool:
        return "worker_ready" in fleet.log_of(worker)

    await until(ready)


async def exit_code(process: subprocess.Popen[bytes]) -> int:
    return await asyncio.to_thread(process.wait, 30)


async def outcomes(fleet: Fleet, invocation_id: str) -> list[str]:
    return [one["outcome"] for one in (await fleet.record(invocation_id))["attempts"]]


@pytest.mark.parametrize("signals", [1, 2], ids=["its time is over", "a second signal"])
async def test_what_a_stop_cuts_short_runs_elsewhere_at_once(fleet: Fleet, signals: int) -> None:
    drain_seconds = {1: "0", 2: "600"}[signals]
    name = await fleet.deploy_counting(ENDLESS)
    leaver = fleet.worker(STOCKADE_DRAIN_SECONDS=drain_seconds, **NEVER)
    invocation_id = await fleet.submit(name)
    await fleet.until_executed(name, 1)
    await fleet.until_state(invocation_id, "running")
    executors = executors_of(leaver.pid)
    await stopping(fleet, leaver)
    if signals == 2:
        leaver.send_signal(signal.SIGINT)
    assert await exit_code(leaver) == 0
    assert executors
    assert not executors & living().keys()
    fleet.worker(**NEVER)
    await fleet.until_executed(name, 2)
    assert await outcomes(fleet, invocation_id) == ["lost"]
    await fleet.http.post(f"/v1/invocations/{invocation_id}/cancel")
    assert (await fleet.until_state(invocation_id, "done"))["outcome"] == "cancelled"


async def test_a_stopping_worker_finishes_what_runs_and_takes_nothing(fleet: Fleet) -> None:
    name, later = await fleet.deploy_counting(BUSY), await fleet.deploy_counting()
    leaver = fleet.worker(STOCKADE_DRAIN_SECONDS="30", **NEVER)
    running = await fleet.submit(name)
    await fleet.until_executed(name, 1)
    await stopping(fleet, leaver)
    waiting = await fleet.submit(later)
    assert await exit_code(leaver) == 0
    assert await outcomes(fleet, running) == ["completed"]
    assert await outcomes(fleet, waiting) == []
    fleet.worker(**NEVER)
    await fleet.until_state(waiting, "done")
    assert await outcomes(fleet, waiting) == ["completed"]
    assert (await fleet.executions(name), await fleet.executions(later)) == (1, 1)


async def test_what_is_delivered_during_a_stop_is_handed_back_unrun(
    fleet: Fleet, proxy: tuple[StepProxy, str]
) -> None:
    holder, url = proxy
    name, leaver = await fleet.deploy_counting(), fleet.worker(url, **NEVER)
    await fleet.warm_up(name)
    holder.hold(CLAIMED)
    invocation_id = await fleet.submit(name)
    await holder.held()
    await stopping(fleet, leaver)
    holder.hand_on()
    assert await exit_code(leaver) == 0
    fleet.worker(**NEVER)
    await fleet.until_state(invocation_id, "done")
    assert await outcomes(fleet, invocation_id) == ["completed"]
    assert await fleet.executions(name) - 1 == 1


async def test_workers_restarted_in_turn_under_load_execute_each_once(fleet: Fleet) -> None:
    name, over, ids = await fleet.deploy_counting(), asyncio.Event(), list[str]()
    workers = [fleet.worker(**NEVER) for _ in range(2)]

    async def call() -> None:
        while not over.is_set():
            ids.append(await fleet.submit(name))
            await fleet.until_state(ids[-1], "done")

    async with asyncio.TaskGroup() as tasks:
        for _ in range(4):
            tasks.create_task(call())
        for place in (0, 1, 0, 1):
            await begun(fleet, workers[place])
            await fleet.until_executed(name, await fleet.executions(name) + 20)
            workers[place].terminate()
            assert await exit_code(workers[place]) == 0
            workers[place] = fleet.worker(**NEVER)
        over.set()
    assert {tuple(await outcomes(fleet, one)) for one in ids} == {("completed",)}
    assert await fleet.executions(name) == len(ids)


async def test_a_stopping_gateway_answers_who_waits(fleet: Fleet) -> None:
    name = await fleet.deploy_counting(BUSY)
    fleet.worker()
    port = await fleet.gateway(STOCKADE_DRAIN_SECONDS="30")
    leaver = fleet.last
    async with await fleet.client(port) as http:
        call = asyncio.ensure_future(http.post(f"/v1/functions/{name}/invoke", content=b"in"))
        await fleet.until_executed(name, 1)
        leaver.terminate()
        await until(lambda: refuses(fleet, port))
        answer = await call
    assert (answer.status_code, answer.headers["stockade-outcome"]) == (200, "completed")
    assert await exit_code(leaver) == 0


async def test_a_gateway_lets_go_who_waits_for_too_long(fleet: Fleet) -> None:
    name = await fleet.deploy_counting(ENDLESS)
    fleet.worker()
    port = await fleet.gateway(STOCKADE_DRAIN_SECONDS="0")
    leaver = fleet.last
    async with await fleet.client(port) as http:
        call = asyncio.ensure_future(http.post(f"/v1/functions/{name}/invoke", content=b"in"))
        await fleet.until_executed(name, 1)
        leaver.terminate()
        answer = await call
    assert answer.status_code == 202
    assert await exit_code(leaver) == 0
    path = f"/v1/invocations/{answer.json()['id']}/cancel"
    assert (await fleet.http.post(path)).is_success


async def test_a_second_signal_ends_a_gateway(fleet: Fleet) -> None:
    name = await fleet.deploy_counting(ENDLESS)
    fleet.worker()
    port = await fleet.gateway(STOCKADE_DRAIN_SECONDS="600")
    leaver = fleet.last
    async with await fleet.client(port) as http:
        call = asyncio.ensure_future(http.post(f"/v1/functions/{name}/invoke", content=b"in"))
        await fleet.until_executed(name, 1)
        leaver.terminate()
        await until(lambda: refuses(fleet, port))
        leaver.terminate()
        with pytest.raises(httpx.TransportError):
            await call
    assert await exit_code(leaver) == -signal.SIGTERM


async def refuses(fleet: Fleet, port: int) -> bool:
    """Whether nobody listens at this port any more."""
    async with await fleet.client(port) as http:
        try:
            await http.get("/healthz")
        except httpx.ConnectError:
            return True
        except httpx.TransportError:
            return False  # taken in at the very moment of the stop, before it said anything
        return False
