"""What the clients say about API keys."""

import httpx
import pytest

from stockade_client import ApiKey, AsyncClient, Client, NewApiKey, StockadeApiError, WorkloadKey
from stockade_client.attempts import RetryRule
from tests.unit.sdk_python.fake_gateway import FakeGateway, problem

KEY = {
    "id": "abcdefghij01",
    "name": "ci",
    "kind": "key",
    "subject": None,
    "role": "developer",
    "scopes": ["deploy:hello"],
    "created_ms": 1,
    "expires_ms": 2,
    "revoked_ms": None,
    "last_used_ms": 3,
    "something_new": 1,
}
READ = ApiKey("abcdefghij01", "ci", "developer", ("deploy:hello",), 1, 2, None, 3)
NEW = NewApiKey(READ, "stk_dev_secret")
JOB = {
    "key": "stk_dev_secret",
    "id": "workload0001",
    "tenant": "acme",
    "role": "developer",
    "scopes": [],
    "subject": "https://ci|job",
    "rule": "deploys",
    "expires_ms": 5,
}
WORKLOAD = WorkloadKey(
    "workload0001", "acme", "developer", (), "https://ci|job", "deploys", 5, "stk_dev_secret"
)


@pytest.fixture
def gateway() -> FakeGateway:
    made = httpx.Response(201, json=KEY | {"key": "stk_dev_secret"})
    it = FakeGateway().on("GET /v1/keys", httpx.Response(200, json={"keys": [KEY]}))
    it.on("POST /v1/keys", made).on("POST /v1/keys/abcdefghij01/rotate", made)
    it.on("DELETE /v1/keys/abcdefghij01", httpx.Response(204))
    return it.on("POST /v1/oidc/token", httpx.Response(201, json=JOB))


@pytest.fixture
def client(gateway: FakeGateway) -> Client:
    return Client("http://gateway", "stk_key", transport=gateway.transport)


def test_keys_are_read(client: Client, gateway: FakeGateway) -> None:
    assert client.api_keys() == (READ,)
    bare = {name: KEY[name] for name in ("id", "name", "role", "created_ms")}
    gateway.on("GET /v1/keys", httpx.Response(200, json={"keys": [bare]}))
    assert client.api_keys() == (ApiKey("abcdefghij01", "ci", "developer", (), 1),)


def test_a_key_is_made(client: Client, gateway: FakeGateway) -> None:
    assert client.create_api_key("ci") == NEW
    assert gateway.last_json == {"name": "ci"}
    client.create_api_key("ci", role="viewer", scopes=("read",), expires_in_seconds=60)
    assert gateway.last_json == {
        "name": "ci",
        "role": "viewer",
        "scopes": ["read"],
        "expires_in_seconds": 60,
    }


def test_a_key_is_rotated_and_revoked(client: Client, gateway: FakeGateway) -> None:
    assert client.rotate_api_key("abcdefghij01") == NEW
    assert gateway.last_json == {}
    client.rotate_api_key("abcdefghij01", overlap_seconds=0)
    assert gateway.last_json == {"overlap_seconds": 0}
    client.revoke_api_key("abcdefghij01")
    assert gateway.last.method == "DELETE"


def test_a_token_is_exchanged_without_a_key(gateway: FakeGateway) -> None:
    with Client("http://gateway", transport=gateway.transport) as client:
        assert client.exchange_token("a.b.c") == WORKLOAD
        assert gateway.last_json == {"token": "a.b.c"}
        assert "authorization" not in gateway.last.headers
        client.exchange_token("a.b.c", rule="deploys")
        assert gateway.last_json == {"token": "a.b.c", "rule": "deploys"}


def test_what_makes_a_key_is_not_sent_twice(client: Client, gateway: FakeGateway) -> None:
    def cut(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadError("cut", request=request)

    for call in ("POST /v1/keys", "POST /v1/keys/abcdefghij01/rotate"):
        gateway.on(call, cut)
    for make in (
        lambda: client.create_api_key("ci"),
        lambda: client.rotate_api_key("abcdefghij01"),
    ):
        before = len(gateway.requests)
        with pytest.raises(Exception, match="cut"):
            make()
        assert len(gateway.requests) == before + 1


def test_an_exchange_is_tried_again_while_the_issuer_is_away(gateway: FakeGateway) -> None:
    away, made = problem(503, "oidc.issuer_unavailable"), httpx.Response(201, json=JOB)
    gateway.on("POST /v1/oidc/token", away, made)
    quick = RetryRule(first_pause_seconds=0.0)
    with Client("http://gateway", transport=gateway.transport, retries=quick) as client:
        assert client.exchange_token("a.b.c") == WORKLOAD


def test_secrets_are_not_in_what_is_printed() -> None:
    assert "stk_dev_secret" not in repr(NEW)
    assert "stk_dev_secret" not in repr(WORKLOAD)


def test_a_refusal(client: Client, gateway: FakeGateway) -> None:
    gateway.on("POST /v1/oidc/token", problem(403, "oidc.no_rule"))
    with pytest.raises(StockadeApiError) as caught:
        client.exchange_token("a.b.c")
    assert caught.value.code == "oidc.no_rule"


async def test_the_asynchronous_client_does_the_same(gateway: FakeGateway) -> None:
    async with AsyncClient("http://gateway", "k", transport=gateway.transport) as client:
        assert await client.api_keys() == (READ,)
        assert await client.create_api_key("ci", role="viewer") == NEW
        assert await client.rotate_api_key("abcdefghij01", overlap_seconds=5) == NEW
        await client.revoke_api_key("abcdefghij01")
        assert await client.exchange_token("a.b.c", rule="deploys") == WORKLOAD
