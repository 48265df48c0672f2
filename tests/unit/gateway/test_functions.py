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
    page = (await gateway.http.get("/v1/functions?limit=1")).json()
    assert ([one["name"] for one in page["functions"]], page["next"]) == (["a"], "a")
    page = (await gateway.http.get("/v1/functions?limit=1&after=a")).json()
    assert ([one["name"] for one in page["functions"]], page["next"]) == (["b"], None)
    assert (await gateway.http.get("/v1/functions/a")).json()["version"] == 2
    assert (await gateway.http.get("/v1/functions/a?version=1")).json()["version"] == 1
    refused(await gateway.http.get("/v1/functions/a?version=3"), 404, "version.not_found")
    refused(await gateway.http.get("/v1/functions/c"), 404, "function.not_found")


@pytest.mark.parametrize(
    "path",
    ["functions?limit=0", "functions?limit=201", "functions?limit=x", "functions?limit=%D9%A1",
     "functions?deleted=yes", "functions/f/versions?before=0", "functions/f/versions?before=-1",
     "functions/f/versions?before=x", "functions/f/versions?limit=99999999999999999999",
     "functions/f/diff", "functions/f/diff?from="],
)  # fmt: skip
async def test_a_bad_query(gateway: Installation, path: str) -> None:
    await gateway.deploy()
    refused(await gateway.http.get(f"/v1/{path}"), 400, "request.query_invalid")


async def test_a_page_begins_behind_a_name_only(gateway: Installation) -> None:
    answer = await gateway.http.get("/v1/functions?after=%2e%2e")
    refused(answer, 400, "function.name_invalid")


async def test_versions_come_newest_first_with_who_when_and_why(gateway: Installation) -> None:
    for fuel in (1, 2, 3):
        labels = {"commit": f"c{fuel}"}
        await gateway.deploy(limits={"fuel": fuel}, message=f"Take {fuel}", labels=labels)
    page = (await gateway.http.get("/v1/functions/f/versions?limit=2")).json()
    assert [one["version"] for one in page["versions"]] == [3, 2]
    assert page["next"] == 2
    newest = page["versions"][0]
    assert (newest["message"], newest["labels"]) == ("Take 3", {"commit": "c3"})
    assert newest["created_by"] == gateway.key.split("_")[2]
    assert newest["created_ms"] > 0
    page = (await gateway.http.get("/v1/functions/f/versions?limit=2&before=2")).json()
    assert ([one["version"] for one in page["versions"]], page["next"]) == ([1], None)
    refused(await gateway.http.get("/v1/functions/g/versions"), 404, "function.not_found")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"message": "a\nb"}, "function.message_invalid"),
        ({"message": "x" * 501}, "function.message_invalid"),
        ({"labels": {"A": "b"}}, "function.labels_invalid"),
        ({"labels": {str(number): "" for number in range(17)}}, "function.labels_invalid"),
    ],
)
async def test_a_bad_note(gateway: Installation, change: dict[str, object], code: str) -> None:
    refused(await gateway.deploy(**change), 400, code)
    refused(await gateway.http.get("/v1/functions/f"), 404, "function.not_found")


async def test_a_version_that_nothing_needs_is_deleted_for_good(gateway: Installation) -> None:
    for fuel in (1, 2, 3):
        await gateway.deploy(limits={"fuel": fuel})
    path = "/v1/functions/f/versions"
    await gateway.http.put("/v1/functions/f/aliases/prod", json={"version": 1})
    facts = refused(await gateway.http.delete(f"{path}/1"), 409, "version.in_use")["facts"]
    assert facts == {"aliases": ["prod"]}
    refused(await gateway.http.delete(f"{path}/3"), 409, "version.in_use")
    assert (await gateway.http.delete(f"{path}/2")).status_code == 204
    refused(await gateway.http.delete(f"{path}/2"), 404, "version.not_found")
    refused(await gateway.http.delete(f"{path}/x"), 400, "request.invalid")
    refused(await gateway.invoke(query="?version=2"), 404, "version.not_found")
    asked = {"version": 2}
    answer = await gateway.http.put("/v1/functions/f/aliases/prod", json=asked)
    refused(answer, 404, "version.not_found")


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
        ({"limits": {"fuel": "many"}}, "request.invalid"),
        ({"limits": "automatic"}, "request.invalid"),
        ({"limits": {"fule": "auto"}}, "limits.unknown"),
        ({"limits": {"log_bytes": "auto"}}, "limits.not_learned"),
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
    "name",
    ["UPPER", "-x", "x-", "a" * 64, "a" * 300, "a_b", "a%00b", "%2e%2e", "a%0ab", "%ff",
     "%D0%B0bc", "a%CC%81", "%EF%BD%81", "a%E2%80%8Bb", "%E2%80%AEcba", "a%252fb", "a%5cb", "a;b",
     "%c0%ae%c0%ae", "a%20", "caf%C3%A9"],
)  # fmt: skip
async def test_a_bad_name(gateway: Installation, name: str) -> None:
    path = f"/v1/functions/{name}"
    refused(await gateway.http.get(path), 400, "function.name_invalid")
    refused(await gateway.http.post(f"{path}/invoke"), 400, "function.name_invalid")
    answer = await gateway.http.put(path, json={"module": "x"})
    refused(answer, 400, "function.name_invalid")
    for call in (
        gateway.http.get(f"{path}/versions"),
        gateway.http.get(f"{path}/diff?from=1"),
        gateway.http.get(f"{path}/aliases"),
        gateway.http.delete(path),
        gateway.http.post(f"{path}/restore"),
        gateway.http.delete(f"{path}/versions/1"),
        gateway.http.post(f"{path}/aliases/prod/rollback"),
    ):
        refused(await call, 400, "function.name_invalid")


@pytest.mark.parametrize("name", ["xn--80ak6aa92e", "stockade", "system"])
async def test_a_reserved_name_is_for_no_new_function(gateway: Installation, name: str) -> None:
    refused(await gateway.deploy(name), 400, "function.name_reserved")
    version = (await gateway.deploy("f")).json()["version"]
    content = await gateway.catalog.function_version("alice", "f", version)
    assert content is not None
    await gateway.catalog.put_function("alice", name, content.content, 0)
    assert (await gateway.deploy(name, limits={"fuel": 7})).status_code == 201


@pytest.mark.parametrize("path", ["/v1/functions/%2e%2e%2fkeys", "/v1/functions/a%2fb", "/v1//"])
async def test_a_slash_in_a_name_is_another_path(gateway: Installation, path: str) -> None:
    refused(await gateway.http.get(path), 404, "request.not_found")
