"""Deploys and aliases: equal content is one version; what is asked for is checked whole."""

import pytest

from stockade.core.addresses import parse_networks
from stockade.core.egress import EgressPolicy
from tests.guest import guests
from tests.unit.gateway.installation import Installation, installed, refused
from tests.unit.registry.signed_modules import signed

COMMAND = signed(
    b"\0asm\x01\0\0\0"
    b"\x01\x04\x01\x60\0\0"  # a type: nothing to nothing
    b"\x03\x02\x01\0"
    b"\x05\x03\x01\0\x01"
    b"\x07\x13\x02\x06memory\x02\0\x06_start\0\0"
    b"\x0a\x04\x01\x02\0\x0b"
)
ENV = {"A": "1"}


async def test_equal_content_makes_no_new_version(gateway: Installation) -> None:
    first, again = await gateway.deploy(), await gateway.deploy()
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    other = await gateway.deploy(limits={"fuel": 7}, grants=["log"])
    assert (other.status_code, other.json()["version"]) == (201, 2)
    assert other.json()["limits"]["fuel"] == 7
    assert other.json()["limits"]["wall_ms"] == 10_000
    assert (other.json()["grants"], other.json()["concurrency"]) == (["log"], None)


async def test_functions_are_listed_and_shown(gateway: Installation) -> None:
    await gateway.deploy("b")
    await gateway.deploy("a")
    await gateway.deploy("a", limits={"fuel": 7})
    listed = (await gateway.http.get("/v1/functions")).json()["functions"]
    assert [(one["name"], one["version"]) for one in listed] == [("a", 2), ("b", 1)]
    assert (await gateway.http.get("/v1/functions/a")).json()["version"] == 2
    assert (await gateway.http.get("/v1/functions/a?version=1")).json()["version"] == 1
    refused(await gateway.http.get("/v1/functions/a?version=3"), 404, "version.not_found")
    refused(await gateway.http.get("/v1/functions/c"), 404, "function.not_found")


async def test_an_own_deploy_is_seen_at_once(gateway: Installation) -> None:
    await gateway.deploy()
    assert (await gateway.http.get("/v1/functions/f")).json()["version"] == 1
    await gateway.deploy(limits={"fuel": 7})
    assert (await gateway.http.get("/v1/functions/f")).json()["version"] == 2


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"module": "sha256:short"}, "module.digest_invalid"),
        ({"surprise": 1}, "request.unknown_field"),
        ({"retry": {"surprise": 1}}, "request.unknown_field"),
        ({"limits": {"fule": 1}}, "limits.unknown"),
        ({"limits": {"fuel": 0}}, "limits.not_positive"),
        ({"limits": {"fuel": 10**30}}, "limits.above_ceiling"),
        ({"limits": {"fuel": 1.5}}, "request.invalid"),
        ({"grants": ["root\x1b"]}, "function.grant_unknown"),
        ({"retry": {"policy": "always"}}, "function.retry_invalid"),
        ({"retry": {"max_attempts": 0}}, "function.retry_invalid"),
        ({"retry": {"base_delay_ms": 2, "max_delay_ms": 1}}, "function.retry_invalid"),
        ({"concurrency": 0}, "function.concurrency_invalid"),
        ({"concurrency": 10**30}, "function.concurrency_invalid"),
        ({"env": {"A": "\0"}}, "function.env_invalid"),
        ({"grants": ["kv:a", "kv:a:read"]}, "function.grants_contradict"),
        ({"grants": ["log", "log"]}, "function.grants_contradict"),
        ({"grants": ["kv:A"]}, "function.grant_invalid"),
        ({"grants": ["http_fetch:GET nowhere"]}, "function.grant_invalid"),
    ],
)
async def test_a_bad_deploy(gateway: Installation, change: dict[str, object], code: str) -> None:
    refused(await gateway.deploy("bad", **change), 400, code)
    refused(await gateway.http.get("/v1/functions/bad"), 404, "function.not_found")


@pytest.mark.parametrize(
    ("env", "status"),
    [
        ({}, 201),
        (ENV, 201),
        ({str(n): "" for n in range(64)}, 201),
        ({str(n): "" for n in range(65)}, 400),
        ({"A": "x" * 32 * 1024}, 400),
        ({"": "1"}, 400),
        ({"A=B": "1"}, 400),
        ({"A": "\0"}, 400),
    ],
)
async def test_environment_of_commands(
    gateway: Installation, env: dict[str, str], status: int
) -> None:
    module = (await gateway.upload(COMMAND)).json()
    assert module["abi"] == "wasi:preview1"
    asked = {"module": module["digest"], "env": env}
    answer = await gateway.http.put("/v1/functions/f", json=asked)
    assert answer.status_code == status, answer.text
    if status == 400:
        refused(answer, 400, "function.env_invalid")


async def test_grants_environment_and_cap_stand_in_the_version(gateway: Installation) -> None:
    asked = {"grants": ["now_ms", "kv:orders", "secret:API_KEY"], "env": ENV, "concurrency": 3}
    made = (await gateway.deploy(**asked)).json()
    assert made["grants"] == sorted(asked["grants"])  # type: ignore[type-var] # a list of texts
    assert (made["env"], made["concurrency"]) == (ENV, 3)
    assert (await gateway.deploy(**asked)).status_code == 200


@pytest.mark.parametrize(
    ("call", "grant"),
    [
        ('"now_ms" (func (result i64))', "now_ms"),
        ('"kv_get" (func (param i32 i32) (result i64))', "kv:NAMESPACE:read"),
        ('"secret_get" (func (param i32 i32) (result i64))', "secret:NAME"),
        ('"http_fetch" (func (param i32 i32) (result i64))', "http_fetch:METHODS ORIGIN"),
    ],
)
async def test_an_import_without_its_grant_is_refused_at_deploy(
    gateway: Installation, call: str, grant: str
) -> None:
    body = signed(guests.module("(unreachable)", imports=f'(import "stockade:v1" {call})'))
    digest = (await gateway.upload(body)).json()["digest"]
    answer = await gateway.http.put("/v1/functions/f", json={"module": digest})
    problem = refused(answer, 422, "function.grant_missing")
    assert problem["facts"] == {"missing": [grant]}
    given = grant.replace("NAMESPACE", "n").replace("NAME", "N")
    given = given.replace("METHODS ORIGIN", "GET https://a.example")
    asked = {"module": digest, "grants": [given]}
    assert (await gateway.http.put("/v1/functions/f", json=asked)).status_code == 201


@pytest.mark.parametrize(
    "origin",
    ["http://127.0.0.1", "http://[::1]:80", "https://denied.example", "https://*.denied.example",
     "http://10.0.0.1", "http://169.254.169.254", "http://168.63.129.16", "http://a.example:25"],
)  # fmt: skip
async def test_what_the_operator_denies_cannot_be_granted(origin: str) -> None:
    async with installed(egress_policy=EgressPolicy(denied_hosts=("denied.example",))) as gateway:
        answer = await gateway.deploy(grants=[f"http_fetch:GET {origin}"])
        refused(answer, 403, "function.grant_forbidden")


async def test_an_address_that_the_operator_allows_can_be_granted() -> None:
    policy = EgressPolicy(networks=parse_networks(["127.0.0.0/8"]))
    async with installed(egress_policy=policy) as gateway:
        answer = await gateway.deploy(grants=["http_fetch:GET http://127.0.0.1:8080/v1"])
        assert answer.status_code == 201


async def test_the_field_that_nobody_knows_is_named_in_short(gateway: Installation) -> None:
    answer = await gateway.deploy(**{"x" * 5000: 1})
    facts = refused(answer, 400, "request.unknown_field")["facts"]
    assert facts == {"field": "x" * 200}


@pytest.mark.parametrize(
    "name", ["UPPER", "-x", "x-", "a" * 64, "a" * 300, "a_b", "a%00b", "%2e%2e", "a%0ab", "%ff"]
)
async def test_a_bad_name(gateway: Installation, name: str) -> None:
    path = f"/v1/functions/{name}"
    refused(await gateway.http.get(path), 400, "function.name_invalid")
    refused(await gateway.http.post(f"{path}/invoke"), 400, "function.name_invalid")
    answer = await gateway.http.put(path, json={"module": "x"})
    refused(answer, 400, "function.name_invalid")


@pytest.mark.parametrize("path", ["/v1/functions/%2e%2e%2fkeys", "/v1/functions/a%2fb", "/v1//"])
async def test_a_slash_in_a_name_is_another_path(gateway: Installation, path: str) -> None:
    refused(await gateway.http.get(path), 404, "request.not_found")


async def test_aliases(gateway: Installation) -> None:
    await gateway.deploy()
    await gateway.deploy(limits={"fuel": 7})
    path = "/v1/functions/f/aliases/prod"
    refused(await gateway.http.get(path), 404, "alias.not_found")
    refused(await gateway.http.get("/v1/functions/f?alias=prod"), 404, "alias.not_found")
    put = await gateway.http.put(path, json={"version": 1})
    assert (put.status_code, put.json()) == (
        201,
        {"function": "f", "alias": "prod", "weights": {"1": 1}},
    )
    assert (await gateway.http.get("/v1/functions/f?alias=prod")).json()["version"] == 1
    put = await gateway.http.put(path, json={"weights": {"2": 10, "1": 90}})
    assert (put.status_code, put.json()["weights"]) == (200, {"1": 90, "2": 10})
    assert (await gateway.http.get(path)).json() == put.json()


@pytest.mark.parametrize(
    ("asked", "status", "code"),
    [
        ({}, 400, "alias.weights_invalid"),
        ({"version": 1, "weights": {"1": 1}}, 400, "alias.weights_invalid"),
        ({"weights": {}}, 400, "alias.weights_invalid"),
        ({"weights": {"1": 0}}, 400, "alias.weights_invalid"),
        ({"weights": {"1": 10_001}}, 400, "alias.weights_invalid"),
        ({"weights": {"0": 1}}, 400, "alias.weights_invalid"),
        ({"weights": {str(n): 1 for n in range(1, 18)}}, 400, "alias.weights_invalid"),
        ({"weights": {"x": 1}}, 400, "request.invalid"),
        ({"version": 9}, 404, "version.not_found"),
    ],
)
async def test_a_bad_alias(
    gateway: Installation, asked: dict[str, object], status: int, code: str
) -> None:
    await gateway.deploy()
    answer = await gateway.http.put("/v1/functions/f/aliases/a", json=asked)
    refused(answer, status, code)


async def test_weights_share_invocations_out_and_a_draw_sticks(gateway: Installation) -> None:
    await gateway.deploy()
    await gateway.deploy(limits={"fuel": 7})
    path = "/v1/functions/f/aliases/canary"
    await gateway.http.put(path, json={"weights": {"1": 80, "2": 20}})
    resolver = gateway.app.state.context.resolver
    drawn = [
        (await resolver.resolve("alice", "f", "canary", None, str(n))).version for n in range(500)
    ]
    again = [
        (await resolver.resolve("alice", "f", "canary", None, str(n))).version for n in range(500)
    ]
    assert drawn == again
    assert 50 < drawn.count(2) < 150
