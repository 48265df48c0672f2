"""What the clients say about how an installation stands."""

import httpx
import pytest

from stockade_client import AsyncClient, Client
from stockade_client.status import (
    InstallationStatus,
    QueueStatus,
    RecentRuns,
    RunningFunction,
    WorkerStatus,
)
from tests.unit.sdk_python.fake_gateway import INSTALLATION, FakeGateway

RUNNING = RunningFunction("acme", "resize", 2)
READ = InstallationStatus(
    "installation",
    "1.2.3",
    QueueStatus(7, 3, 1500, 2, 1, 4, 5),
    RecentRuns(5, 10, 1, 0.1),
    working=True,
    running=(RUNNING,),
    capacity=4,
    workers=(WorkerStatus("w1", "1.2.3", "working", 4, 60, (RUNNING,), ("trust",), ("aslr",)),),
    stale=("trust",),
    weak_walls=("aslr",),
)


@pytest.fixture
def gateway() -> FakeGateway:
    return FakeGateway().on("GET /v1/status", httpx.Response(200, json=INSTALLATION))


def test_an_operator_reads_all(gateway: FakeGateway) -> None:
    with Client("http://gateway", "stk_key", transport=gateway.transport) as client:
        assert client.status() == READ


async def test_a_tenant_reads_its_own(gateway: FakeGateway) -> None:
    own = {name: INSTALLATION[name] for name in ("version", "running", "working")}
    queue = {"backlog": 1, "later": 0, "oldest_wait_ms": 0}
    recent = {"minutes": 5, "ended": 0, "failed": 0, "error_rate": None}
    own |= {"scope": "tenant", "queue": queue, "recent": recent}
    gateway.on("GET /v1/status", httpx.Response(200, json=own))
    async with AsyncClient("http://gateway", "stk_key", transport=gateway.transport) as client:
        told = await client.status()
    assert (told.scope, told.queue, told.workers) == ("tenant", QueueStatus(1, 0, 0), ())
    assert told.recent.error_rate is None
