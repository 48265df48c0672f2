"""Alive, ready, which release: without a key, within a second."""

import asyncio
from collections.abc import Sequence

from stockade.core.errors import StockadeError
from stockade.core.installation_status import WorkerReport
from stockade.core.invocations import InvocationRecord
from stockade.core.plans import FixedPlans
from stockade.infra.memory.memory_catalog import MemoryCatalog
from stockade.infra.memory.memory_queue import MemoryInvocationQueue
from stockade.infra.memory.memory_queue_state import MemoryQueueState
from stockade.infra.memory.memory_status import MemoryStatusBoard
from stockade.infra.queue_settings import QueueSettings
from stockade.infra.system_clock import SystemClock
from tests.unit.gateway.installation import Installation, installed, refused


class Silent(MemoryInvocationQueue):
    async def record(self, tenant: str, invocation_id: str) -> InvocationRecord | None:
        await asyncio.Event().wait()
        return await super().record(tenant, invocation_id)


class Gone(MemoryCatalog):
    async def find_key(self, key_id: str) -> None:
        del key_id
        raise StockadeError("catalog.unavailable", "Try again.", retryable=True)


async def test_all_is_well(gateway: Installation) -> None:
    async with gateway.client(None) as http:
        assert (await http.get("/healthz")).json() == {"ok": True}
        assert (await http.get("/version")).json()["version"]
        answer = await http.get("/readyz")
    expected = {"queue": "ok", "catalog": "ok", "policies": "ok", "workers": "none", "walls": "ok"}
    assert answer.json() == {"ready": True} | expected


async def test_what_does_not_answer_is_named() -> None:
    async with (
        installed(queue=Silent(SystemClock()), catalog=Gone()) as it,
        it.client(None) as http,
    ):
        answer = await http.get("/readyz")
        assert answer.status_code == 503
        expected = {"queue": "unavailable", "catalog": "unavailable", "policies": "ok"}
        expected |= {"workers": "none", "walls": "ok"}
        assert answer.json() == {"ready": False} | expected
        assert (await http.get("/healthz")).status_code == 200


class BoardGone(MemoryStatusBoard):
    async def workers(self) -> Sequence[WorkerReport]:
        raise StockadeError("queue.unavailable", "Try again.", retryable=True)


async def test_it_takes_work_without_workers_and_with_a_weak_wall_and_says_so() -> None:
    async with installed(weak_walls=("landlock",)) as it, it.client(None) as http:
        report = WorkerReport("w1", "1", "working", 4, 1)
        await it.services.board.report(report)
        told = (await http.get("/readyz")).json()
        assert (told["ready"], told["workers"], told["walls"]) == (True, "ok", "weak")
    gone = BoardGone(SystemClock(), MemoryQueueState(QueueSettings()))
    async with installed(board=gone) as it, it.client(None) as http:
        answer = await http.get("/readyz")
        assert (answer.status_code, answer.json()["workers"]) == (200, "none")


async def test_without_the_catalog_nobody_gets_in() -> None:
    async with installed(catalog=Gone()) as it:
        answer = await it.http.get("/v1/functions")
        refused(answer, 503, "catalog.unavailable")
        assert answer.headers["retry-after"] == "1"


async def test_paths_and_methods_that_are_not_there(gateway: Installation) -> None:
    for path in ("/", "/v1", "/v1/functions/", "/docs", "/v1/functions/f/invoke/x"):
        refused(await gateway.http.get(path), 404, "request.not_found")
    answer = await gateway.http.delete("/v1/functions")
    refused(answer, 405, "request.method_not_allowed")
    assert answer.headers["allow"] == "GET"


async def test_files_that_cannot_be_used_are_told_and_stop_nobody() -> None:
    plans = FixedPlans(alarm="plans.toml: the operator's own words")
    async with installed(plans=plans) as it, it.client(None) as http:
        answer = await http.get("/readyz")
        assert (answer.status_code, answer.json()["policies"]) == (200, "stale")
        told = (await http.get("/metrics")).text
        assert 'stockade_policies_stale{files="plans"} 1.0' in told
        assert 'stockade_policies_stale{files="authorization"} 0.0' in told
        assert 'stockade_policies_stale{files="trust"} 0.0' in told
        assert 'stockade_policies_stale{files="identity"} 0.0' in told
        assert "own words" not in answer.text + told
