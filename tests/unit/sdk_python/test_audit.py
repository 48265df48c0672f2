"""What the clients say about the audit log."""

import json

import httpx
import pytest

from stockade_client import AsyncClient, AuditFilter, Client, StockadeApiError
from tests.unit.sdk_python.fake_gateway import FakeGateway
from tests.unit.stockade.core.audit_chains import chain, export

ENTRIES, HEAD = chain(3)
LINES = export(ENTRIES, HEAD)
LIST = {"entries": [json.loads(line) for line in reversed(LINES[:3])], "next": None}


@pytest.fixture
def gateway() -> FakeGateway:
    made = FakeGateway().on("GET /v1/audit", httpx.Response(200, json=LIST))
    made.on("GET /v1/audit/head", httpx.Response(200, json=json.loads(LINES[3])))
    text = "".join(line + "\n" for line in LINES)
    return made.on("GET /v1/audit/export", httpx.Response(200, text=text))


@pytest.fixture
def client(gateway: FakeGateway) -> Client:
    return Client("http://gateway", "stk_key", transport=gateway.transport)


def test_entries_are_listed_and_narrowed(client: Client, gateway: FakeGateway) -> None:
    wanted = AuditFilter("deploy", "abc", "f", "2030-01-01T00:00:00Z", "2031-01-01T00:00:00Z")
    found = client.audit(wanted, limit=3, before=9)
    assert dict(gateway.last.url.params) == {
        "action": "deploy",
        "principal": "abc",
        "object": "f",
        "since": "2030-01-01T00:00:00Z",
        "until": "2031-01-01T00:00:00Z",
        "limit": "3",
        "before": "9",
    }
    assert [entry.sequence for entry in found] == [3, 2, 1]
    assert found[0].object == ENTRIES[2].facts.object
    assert found[0].policies == ENTRIES[2].facts.policies
    assert (found[0].previous, found[0].hash) == (ENTRIES[2].previous, ENTRIES[2].hash)
    client.audit()
    assert not gateway.last.url.params


def test_the_head_is_there_unless_the_log_is_empty(client: Client, gateway: FakeGateway) -> None:
    head = client.audit_head()
    assert head is not None
    assert (head.sequence, head.hash, head.signature) == (3, HEAD.hash, HEAD.signature)
    gateway.on("GET /v1/audit/head", httpx.Response(200, json={"head": None, "v": 1}))
    assert client.audit_head() is None


def test_lines_come_as_they_are(client: Client, gateway: FakeGateway) -> None:
    assert list(client.audit_lines(after=0, limit=10)) == LINES
    assert dict(gateway.last.url.params) == {"after": "0", "limit": "10"}


def test_what_is_no_entry_is_no_answer(client: Client, gateway: FakeGateway) -> None:
    gateway.on("GET /v1/audit", httpx.Response(200, json={"entries": [{"sequence": 1}]}))
    with pytest.raises(StockadeApiError) as refused:
        client.audit()
    assert refused.value.code == "client.unexpected_answer"


async def test_the_asyncio_client_says_the_same(gateway: FakeGateway) -> None:
    async with AsyncClient("http://gateway", "stk_key", transport=gateway.transport) as client:
        assert len(await client.audit(limit=3)) == 3
        assert list(await client.audit_lines()) == LINES
        head = await client.audit_head()
    assert head is not None
    assert head.sequence == 3
