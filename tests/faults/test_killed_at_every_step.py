"""kill -9 at each step of an invocation's way: one outcome, nothing lost, executions told."""

import asyncio
import os
import signal
from collections.abc import Callable

import httpx
import pytest

from tests.faults.fleet import BUSY, Fleet, executors_of, until, zygotes_of
from tests.faults.step_proxy import CLAIMED, Step, StepProxy, after, before

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.usefixtures("alone")]


WORKER_STEPS = {
    "its claim was delivered": (CLAIMED, 1, ["lost", "completed"]),
    "before it records the end": (before("complete"), 2, ["lost", "completed"]),
    "after it recorded the end": (after("complete"), 1, ["completed"]),
}


@pytest.mark.parametrize("when", WORKER_STEPS)
async def test_a_killed_worker(fleet: Fleet, proxy: tuple[StepProxy, str], when: str) -> None:
    step, executions, outcomes = WORKER_STEPS[when]
    holder, url = proxy
    name, victim = await fleet.deploy_counting(), fleet.worker(url)
    await fleet.warm_up(name)
    holder.hold(step)
    invocation_id = await fleet.submit(name)
    await holder.held()
    fleet.end(victim)
    holder.drop()
    fleet.worker()
    record = await fleet.until_state(invocation_id, "done")
    assert record["outcome"] == "completed"
    assert [attempt["outcome"] for attempt in record["attempts"]] == outcomes
    assert await fleet.executions(name) - 1 == executions


async def test_a_worker_killed_while_the_guest_runs(fleet: Fleet) -> None:
    name = await fleet.deploy_counting(BUSY)
    victim = fleet.worker()
    invocation_id = await fleet.submit(name)
    await fleet.until_executed(name, 1)
    fleet.end(victim)
    fleet.worker()
    record = await fleet.until_state(invocation_id, "done")
    assert record["outcome"] == "completed"
    assert [attempt["outcome"] for attempt in record["attempts"]] == ["lost", "completed"]
    assert await fleet.executions(name) == 2


@pytest.mark.parametrize("step", [before("submit"), after("submit")], ids=["before", "after"])
async def test_a_gateway_killed_around_the_acknowledgement(
    fleet: Fleet, proxy: tuple[StepProxy, str], step: Step
) -> None:
    holder, url = proxy
    name, _ = await fleet.deploy_counting(), fleet.worker()
    await fleet.warm_up(name)
    port = await fleet.gateway(url)
    victim, path = fleet.last, f"/v1/functions/{name}/invocations"
    sent = {"Idempotency-Key": f"once-{name}"}
    async with await fleet.client(port) as doomed:
        holder.hold(step)
        call = asyncio.ensure_future(doomed.post(path, content=b"in", headers=sent))
        await holder.held()
        fleet.end(victim)
        holder.drop()
        with pytest.raises(httpx.TransportError):
            await call
    invocation_id = await fleet.submit(name, **sent)
    assert await fleet.submit(name, **sent) == invocation_id
    record = await fleet.until_state(invocation_id, "done")
    assert (record["outcome"], len(record["attempts"])) == ("completed", 1)
    assert await fleet.executions(name) - 1 == 1


async def test_a_gateway_killed_while_a_client_waits(fleet: Fleet) -> None:
    name = await fleet.deploy_counting(BUSY)
    fleet.worker()
    port = await fleet.gateway()
    victim, path = fleet.last, f"/v1/functions/{name}/invoke"
    sent = {"Idempotency-Key": f"once-{name}"}
    async with await fleet.client(port) as doomed:
        call = asyncio.ensure_future(doomed.post(path, content=b"in", headers=sent))
        await fleet.until_executed(name, 1)
        fleet.end(victim)
        with pytest.raises(httpx.TransportError):
            await call
    answer = await fleet.http.post(path, content=b"in", headers=sent)
    assert (answer.status_code, answer.headers["stockade-attempts"]) == (200, "1")
    assert await fleet.executions(name) == 1


VALKEY_STEPS = {
    "before the submission": (before("submit"), {1}),
    # The run begins meanwhile: its addition may be what the server's death cuts off.
    "after the submission": (after("submit"), {0, 1}),
    "after the delivery": (CLAIMED, {1}),
    "before the end is recorded": (before("complete"), {1}),
    "after the end was recorded": (after("complete"), {1}),
}


@pytest.mark.parametrize("when", VALKEY_STEPS)
async def test_a_killed_valkey(fleet: Fleet, proxy: tuple[StepProxy, str], when: str) -> None:
    step, executions = VALKEY_STEPS[when]
    holder, url = proxy
    worker, name = fleet.worker(url), await fleet.deploy_counting()
    port = await fleet.gateway(url)
    gateway = fleet.last
    await fleet.warm_up(name)
    async with await fleet.client(port) as http:
        holder.hold(step)
        call = asyncio.ensure_future(http.post(f"/v1/functions/{name}/invoke", content=b"in"))
        await holder.held()
        await fleet.kill_valkey()
        holder.drop()
        await fleet.valkey.start()
        answer = await call
    assert answer.status_code == 200, answer.text
    record = await fleet.record(answer.headers["stockade-invocation-id"])
    assert (record["state"], record["outcome"]) == ("done", "completed")
    assert await fleet.executions(name) - 1 in executions
    assert worker.poll() is None
    assert gateway.poll() is None


async def test_a_stopped_worker_that_comes_back_changes_nothing(fleet: Fleet) -> None:
    name, sleeper = await fleet.deploy_counting(BUSY), fleet.worker()
    invocation_id = await fleet.submit(name)
    await fleet.until_executed(name, 1)
    sleeper.send_signal(signal.SIGSTOP)
    fleet.worker()
    record = await fleet.until_state(invocation_id, "done")
    sleeper.send_signal(signal.SIGCONT)

    async def refused() -> bool:
        return "stale_completion_refused" in fleet.log_of(sleeper)

    await until(refused)
    assert await fleet.record(invocation_id) == record
    assert [attempt["outcome"] for attempt in record["attempts"]] == ["lost", "completed"]
    assert await fleet.executions(name) == 2
    assert (await fleet.until_state(await fleet.submit(name), "done"))["outcome"] == "completed"


@pytest.mark.parametrize("script", ["begin", "complete"])
async def test_a_late_word_is_refused(
    fleet: Fleet, proxy: tuple[StepProxy, str], script: str
) -> None:
    holder, url = proxy
    name = await fleet.deploy_counting(BUSY)
    fleet.worker(url)
    await fleet.warm_up(name)
    holder.hold(before(script))
    invocation_id = await fleet.submit(name)
    await holder.held()
    holder.hold_all()
    fleet.worker()
    record = await fleet.until_state(invocation_id, "done")
    holder.hand_on()
    done = await fleet.until_state(await fleet.submit(name), "done")
    assert done["outcome"] == "completed"
    assert await fleet.record(invocation_id) == record
    assert [attempt["outcome"] for attempt in record["attempts"]] == ["lost", "completed"]


async def test_many_workers_execute_each_once(fleet: Fleet) -> None:
    name = await fleet.deploy_counting()
    for _ in range(3):
        fleet.worker()
    ids = await asyncio.gather(*(fleet.submit(name) for _ in range(150)))
    records = [await fleet.until_state(one, "done") for one in ids]
    assert {(one["outcome"], len(one["attempts"])) for one in records} == {("completed", 1)}
    assert await fleet.executions(name) == 150


async def test_a_killed_executor_crashes_its_run_alone(fleet: Fleet) -> None:
    name, worker = await fleet.deploy_counting(BUSY, retry={"max_attempts": 1}), fleet.worker()
    invocation_id = await fleet.submit(name)
    await fleet.until_executed(name, 1)
    for pid in executors_of(worker.pid):
        os.kill(pid, signal.SIGKILL)
    record = await fleet.until_state(invocation_id, "done")
    assert record["outcome"] == "crashed"
    assert invocation_id in await fleet.dead_letters()
    assert (await fleet.until_state(await fleet.submit(name), "done"))["outcome"] == "completed"


@pytest.mark.parametrize("find", [executors_of, zygotes_of], ids=["executor", "zygote"])
async def test_what_crashed_is_tried_again(fleet: Fleet, find: Callable[[int], set[int]]) -> None:
    name, worker = await fleet.deploy_counting(BUSY), fleet.worker()
    invocation_id = await fleet.submit(name)
    await fleet.until_executed(name, 1)
    for pid in find(worker.pid):
        os.kill(pid, signal.SIGKILL)
    record = await fleet.until_state(invocation_id, "done")
    assert [attempt["outcome"] for attempt in record["attempts"]] == ["crashed", "completed"]
    assert await fleet.executions(name) == 2
    assert worker.poll() is None


async def test_what_kills_its_executor_again_and_again_is_put_aside(fleet: Fleet) -> None:
    often = {"max_attempts": 10, "base_delay_ms": 1}
    name, worker = await fleet.deploy_counting("(loop br 0)", retry=often), fleet.worker()
    invocation_id = await fleet.submit(name)
    for number in range(3):
        await fleet.until_executed(name, number + 1)
        for pid in executors_of(worker.pid):
            os.kill(pid, signal.SIGKILL)
    record = await fleet.until_state(invocation_id, "done")
    assert record["outcome"] == "crashed"
    assert [attempt["outcome"] for attempt in record["attempts"]] == ["crashed"] * 3
    assert invocation_id in await fleet.dead_letters()
    assert await fleet.executions(name) == 3


async def test_what_kills_its_worker_again_and_again_is_put_aside(fleet: Fleet) -> None:
    name = await fleet.deploy_counting(BUSY)
    invocation_id = await fleet.submit(name)
    for number in range(3):
        victim = fleet.worker()
        await fleet.until_executed(name, number + 1)
        fleet.end(victim)
    fleet.worker()
    record = await fleet.until_state(invocation_id, "done")
    assert record["outcome"] == "lost"
    assert [attempt["outcome"] for attempt in record["attempts"]] == ["lost"] * 3
    assert invocation_id in await fleet.dead_letters()
    assert await fleet.executions(name) == 3


async def test_a_cancelled_run_is_killed(fleet: Fleet) -> None:
    name, worker = await fleet.deploy_counting("(loop br 0)"), fleet.worker()
    invocation_id = await fleet.submit(name)
    await fleet.until_executed(name, 1)
    busy = executors_of(worker.pid)
    answer = await fleet.http.post(f"/v1/invocations/{invocation_id}/cancel")
    assert answer.is_success
    record = await fleet.until_state(invocation_id, "done")
    assert record["outcome"] == "cancelled"
    assert busy - executors_of(worker.pid)
