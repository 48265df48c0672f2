"""What the clients say about functions and aliases: what goes out, and how it is read."""

import json

import httpx
import pytest

from stockade_client import (
    Alias,
    AliasChange,
    AsyncClient,
    Client,
    DeletedFunction,
    Refusal,
    StockadeApiError,
)
from tests.unit.sdk_python.fake_gateway import (
    ALIAS,
    CHANGES,
    DELETED,
    DIGEST,
    REHEARSAL,
    FakeGateway,
    problem,
)

DETAILS = {
    "name": "hello",
    "version": 4,
    "module": DIGEST,
    "abi": "stockade:v1",
    "limits": {"fuel": 1000, "wall_ms": 7},
    "auto_limits": ["fuel"],
    "retry": {"policy": "learned", "max_attempts": 5},
    "created_ms": 5,
    "created_by": "me",
    "message": "Why",
    "labels": {"commit": "abc"},
}
CHANGE = {
    "revision": 2,
    "verb": "rollback",
    "from": {"4": 1},
    "to": {"3": 1},
    "at_ms": 5,
    "by": "me",
    "restored": 1,
}
PROD = "/v1/functions/hello/aliases/prod"
GONE = DeletedFunction("hello", 4, 1_800_000_000_000, "abcdefghij01", 1_800_604_800_000)


@pytest.fixture
def gateway() -> FakeGateway:
    made = FakeGateway()
    answers = {
        "PUT /v1/functions/hello": DETAILS,
        "GET /v1/functions": {"functions": [DETAILS], "deleted": [DELETED]},
        "GET /v1/functions/hello": DETAILS,
        "DELETE /v1/functions/hello": DELETED,
        "POST /v1/functions/hello/restore": DETAILS,
        "GET /v1/functions/hello/versions": {"versions": [DETAILS], "next": 4},
        "DELETE /v1/functions/hello/versions/3": {},
        "GET /v1/functions/hello/diff": {"name": "hello", "from": 3, "to": 4, "changes": CHANGES},
        "GET /v1/functions/hello/aliases": {"aliases": [ALIAS]},
        f"GET {PROD}": ALIAS,
        f"PUT {PROD}": ALIAS,
        f"DELETE {PROD}": {},
        f"GET {PROD}/history": {"changes": [CHANGE, CHANGE | {"from": None, "restored": None}]},
        f"POST {PROD}/promote": ALIAS,
        f"POST {PROD}/rollback": ALIAS,
    }
    for call, answer in answers.items():
        made.on(call, httpx.Response(200, json=answer))
    return made


@pytest.fixture
def client(gateway: FakeGateway) -> Client:
    return Client("http://gateway", "stk_x", transport=gateway.transport)


def test_a_deploy_says_why(client: Client, gateway: FakeGateway) -> None:
    client.put_function("hello", DIGEST, message="Why", labels={"commit": "abc"})
    expected = {"module": DIGEST, "message": "Why", "labels": {"commit": "abc"}}
    assert gateway.last_json == expected


def test_functions_are_asked_for_page_by_page(client: Client, gateway: FakeGateway) -> None:
    pages = [
        httpx.Response(200, json={"functions": [DETAILS | {"name": "a"}], "next": "a"}),
        httpx.Response(200, json={"functions": [DETAILS | {"name": "b"}], "next": None}),
    ]
    gateway.on("GET /v1/functions", *pages)
    assert [one.name for one in client.functions()] == ["a", "b"]
    assert [dict(one.url.params) for one in gateway.requests] == [{}, {"after": "a"}]


def test_a_version_in_full(client: Client, gateway: FakeGateway) -> None:
    found = client.function("hello", alias="prod")
    assert (found.limits["fuel"], found.auto_limits) == (1000, ("fuel",))
    assert found.retry == {"policy": "learned", "max_attempts": 5}
    assert dict(gateway.last.url.params) == {"alias": "prod"}
    assert (found.created_ms, found.created_by, found.message) == (5, "me", "Why")
    assert found.labels == {"commit": "abc"}


def test_versions(client: Client, gateway: FakeGateway) -> None:
    page = client.versions("hello", before=9, limit=1)
    assert dict(gateway.last.url.params) == {"before": "9", "limit": "1"}
    assert ([one.version for one in page.versions], page.next) == ([4], 4)
    client.delete_version("hello", 3)


def test_a_diff(client: Client, gateway: FakeGateway) -> None:
    found = client.diff("hello", 3, "prod")
    assert dict(gateway.last.url.params) == {"from": "3", "to": "prod"}
    assert (found.before, found.after, found.changes) == (3, 4, CHANGES)


def test_a_rehearsal(client: Client, gateway: FakeGateway) -> None:
    gateway.on("PUT /v1/functions/hello", httpx.Response(200, json=REHEARSAL))
    found = client.rehearse_function("hello", DIGEST, limits={"fuel": 7}, against=4)
    assert dict(gateway.last.url.params) == {"dry_run": "true", "against": "4"}
    assert gateway.last_json == {"module": DIGEST, "limits": {"fuel": 7}}
    assert (found.version, found.creates, found.against, found.passes) == (5, True, 4, False)
    assert found.refusals[0] == Refusal("auth.denied", "No.", {"policies": ["no-friday"]})
    client.rehearse_function("hello", DIGEST)
    assert dict(gateway.last.url.params) == {"dry_run": "true"}


def test_a_rehearsal_of_a_module_that_goes_along(client: Client, gateway: FakeGateway) -> None:
    gateway.on("PUT /v1/functions/hello", httpx.Response(200, json=REHEARSAL))
    client.rehearse_function("hello", b"\0asm", detached_signature=b"\1")
    assert gateway.last_json == {"wasm_base64": "AGFzbQ==", "signature_base64": "AQ=="}
    client.rehearse_function("hello", b"\0asm")
    assert gateway.last_json == {"wasm_base64": "AGFzbQ=="}


def test_deletion_and_restoration(client: Client, gateway: FakeGateway) -> None:
    assert client.delete_function("hello") == GONE
    assert client.deleted_functions() == (GONE,)
    assert gateway.last.url.params["deleted"] == "true"
    assert client.restore_function("hello").version == 4


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({"version": 3}, {"version": 3}),
        ({"weights": {3: 9, 4: 1}}, {"weights": {"3": 9, "4": 1}}),
        ({"percent": {3: 99.5, 4: 0.5}}, {"percent": {"3": 99.5, "4": 0.5}}),
    ],
)
def test_an_alias_takes_a_version_or_shares(
    client: Client, gateway: FakeGateway, given: dict[str, object], sent: object
) -> None:
    made = client.put_alias("hello", "prod", **given)  # type: ignore[arg-type] # one of three
    assert gateway.last_json == sent
    assert made == Alias(
        "hello", "prod", {3: 9, 4: 1}, {3: 90.0, 4: 10}, 7, 1_800_000_000_000, "abcdefghij01", True
    )


@pytest.mark.parametrize("given", [{}, {"version": 3, "weights": {3: 1}}])
def test_an_alias_takes_one_of_them(client: Client, given: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="either"):
        client.put_alias("hello", "prod", **given)  # type: ignore[arg-type] # and that is wrong


def test_promotion_of_a_version_or_an_alias(client: Client, gateway: FakeGateway) -> None:
    client.promote("hello", "prod", 4, percent=5)
    assert gateway.last_json == {"version": 4, "percent": 5}
    client.promote("hello", "prod", "canary")
    assert gateway.last_json == {"from": "canary"}


def test_a_revision_that_was_seen_goes_along(client: Client, gateway: FakeGateway) -> None:
    for call in (
        lambda: client.put_alias("hello", "prod", version=1, expected_revision=7),
        lambda: client.promote("hello", "prod", 4, expected_revision=7),
        lambda: client.rollback("hello", "prod", to_revision=3, expected_revision=7),
        lambda: client.delete_alias("hello", "prod", expected_revision=7),
    ):
        call()
        assert gateway.last.headers["If-Match"] == '"7"'
    client.put_alias("hello", "prod", version=1, expected_revision=0)
    assert gateway.last.headers["If-None-Match"] == "*"
    assert "If-Match" not in gateway.last.headers


def test_a_rollback_is_sent_twice_only_when_twice_is_once(
    client: Client, gateway: FakeGateway
) -> None:
    unavailable = problem(503, "catalog.unavailable")
    gateway.on(f"POST {PROD}/rollback", unavailable, httpx.Response(200, json=ALIAS))
    with pytest.raises(StockadeApiError):
        client.rollback("hello", "prod")
    gateway.on(f"POST {PROD}/rollback", unavailable, httpx.Response(200, json=ALIAS))
    assert client.rollback("hello", "prod", expected_revision=6).revision == 7


def test_aliases_and_their_history(client: Client) -> None:
    assert [one.name for one in client.aliases("hello")] == ["prod"]
    assert client.alias("hello", "prod").weights == {3: 9, 4: 1}
    changes = client.alias_history("hello", "prod")
    assert changes[0] == AliasChange(2, "rollback", {4: 1}, {3: 1}, 5, "me", 1)
    assert (changes[1].before, changes[1].restored) == (None, None)


@pytest.mark.parametrize("weights", [{"x": 1}, {"1": "x"}, [1]])
def test_an_answer_that_makes_no_sense_is_no_alias(
    client: Client, gateway: FakeGateway, weights: object
) -> None:
    gateway.on(f"GET {PROD}", httpx.Response(200, json=ALIAS | {"weights": weights}))
    with pytest.raises(StockadeApiError) as caught:
        client.alias("hello", "prod")
    assert caught.value.code == "client.unexpected_answer"


async def test_the_asynchronous_client_says_the_same(gateway: FakeGateway) -> None:
    async with AsyncClient("http://gateway", "stk_x", transport=gateway.transport) as client:
        gateway.on(
            "GET /v1/functions",
            httpx.Response(200, json={"functions": [DETAILS], "next": "hello"}),
            httpx.Response(200, json={"functions": [DETAILS], "deleted": [DELETED]}),
        )
        assert len(await client.functions()) == 2
        assert (await client.put_function("hello", DIGEST, message="Why")).version == 4
        assert (await client.function("hello", version=4)).version == 4
        assert (await client.versions("hello")).next == 4
        assert (await client.diff("hello", 3)).after == 4
        await client.delete_version("hello", 3)
        assert await client.delete_function("hello") == GONE
        assert await client.deleted_functions() == (GONE,)
        assert (await client.restore_function("hello")).name == "hello"
        assert (await client.put_alias("hello", "prod", version=3)).revision == 7
        assert (await client.alias("hello", "prod")).name == "prod"
        assert len(await client.aliases("hello")) == 1
        assert len(await client.alias_history("hello", "prod")) == 2
        assert (await client.promote("hello", "prod", 4)).changed
        assert (await client.rollback("hello", "prod")).changed
        await client.delete_alias("hello", "prod")
        gateway.on("PUT /v1/functions/hello", httpx.Response(200, json=REHEARSAL))
        assert not (await client.rehearse_function("hello", DIGEST)).passes
    assert json.loads(gateway.last.content) == {"module": DIGEST}
