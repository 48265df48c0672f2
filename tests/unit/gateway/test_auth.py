"""Who calls: keys are checked before anything else, and nothing crosses tenants."""

import asyncio
from collections import Counter
from dataclasses import replace

import httpx
import pytest
from starlette.requests import Request

from gateway import auth
from gateway.sources import BURST
from gateway.usecases import resolve_function
from gateway.usecases.resolve_function import FunctionResolver
from stockade.core.api_keys import ApiKey, generate_key
from stockade.core.errors import StockadeError
from stockade.core.modules import Abi, FunctionContent, FunctionVersion
from stockade.infra.memory.memory_catalog import MemoryCatalog
from stockade.infra.system_clock import SystemClock
from tests.unit.gateway.installation import SETTINGS, Installation, installed, refused
from tests.unit.registry.signed_modules import SIGNER


@pytest.mark.parametrize("header", ["", "stk_x", "Basic abc", "Bearer", "Bearer "])
async def test_no_key(gateway: Installation, header: str) -> None:
    gateway.http.headers["authorization"] = header
    answer = await gateway.http.get("/v1/functions")
    refused(answer, 401, "auth.key_missing")
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_a_mistyped_key_is_told_without_the_catalog() -> None:
    class Unreachable(MemoryCatalog):
        async def find_key(self, key_id: str) -> ApiKey | None:
            raise AssertionError(key_id)

    text, _ = generate_key("test")
    wrong = "b" if text[-1] == "a" else "a"
    async with installed(catalog=Unreachable()) as it:
        for header in (f"Bearer {text[:-1]}{wrong}", "Bearer x", "Bearer " + "é" * 300):
            sent = {"authorization": header.encode()}
            answer = await it.http.get("/v1/functions", headers=sent)  # type: ignore[arg-type]
            refused(answer, 401, "auth.key_malformed")


async def test_unknown_wrong_and_expired_keys_read_the_same(gateway: Installation) -> None:
    unknown, _ = generate_key("test")
    other, made = generate_key("test")
    await gateway.catalog.add_key(ApiKey(made.id, "alice", "k", b"\0" * 32, 0))
    expired = await gateway.new_key("alice", expires_ms=1)
    bodies = set()
    for key in (unknown, other, expired):
        async with gateway.client(key) as http:
            answer = await http.get("/v1/functions")
        refused(answer, 401, "auth.key_invalid")
        bodies.add(answer.text)
    assert len(bodies) == 1


async def test_a_key_is_looked_up_once_while_it_is_remembered() -> None:
    class Counting(MemoryCatalog):
        asked = 0

        async def find_key(self, key_id: str) -> ApiKey | None:
            self.asked += 1
            return await super().find_key(key_id)

    for seconds, expected in ((1.0, 1), (0.0, 3)):
        catalog = Counting()
        settings = SETTINGS.model_copy(update={"catalog_cache_seconds": seconds})
        async with installed(catalog=catalog, settings=settings) as it:
            await catalog.ensure_tenant("alice")
            text, made = generate_key("test")
            await catalog.add_key(ApiKey(made.id, "alice", "k", made.secret_hash, 0))
            async with it.client(text) as http:
                for _ in range(3):
                    assert (await http.get("/v1/functions")).status_code == 200
        assert catalog.asked == expected


async def _both(
    gateway: Installation, method: str, path: str, absent: str
) -> tuple[httpx.Response, httpx.Response]:
    async with gateway.client(await gateway.new_key("mallory")) as http:
        return await http.request(method, path), await http.request(method, absent)


async def test_another_tenants_object_reads_as_absent(gateway: Installation) -> None:
    digest = (await gateway.deploy()).json()["module"]
    answer = await gateway.http.post("/v1/functions/f/invocations")
    of, no = answer.json()["id"], "01900000-0000-7000-8000-000000000000"
    pairs = [
        ("GET", "/v1/functions/f", "/v1/functions/g"),
        ("POST", "/v1/functions/f/invoke", "/v1/functions/g/invoke"),
        ("GET", f"/v1/modules/{digest}", "/v1/modules/sha256:" + "0" * 64),
        ("GET", f"/v1/invocations/{of}", f"/v1/invocations/{no}"),
        ("GET", f"/v1/invocations/{of}/result", f"/v1/invocations/{no}/result"),
        ("GET", f"/v1/invocations/{of}/logs", f"/v1/invocations/{no}/logs"),
        ("POST", f"/v1/invocations/{of}/cancel", f"/v1/invocations/{no}/cancel"),
        ("POST", f"/v1/signers/{SIGNER.name}/revoke", "/v1/signers/none/revoke"),
    ]
    for method, path, absent in pairs:
        theirs, none = await _both(gateway, method, path, absent)
        assert theirs.status_code == none.status_code == 404
        same = theirs.text.replace(of, no).replace("'f'", "'g'").replace(SIGNER.name, "none")
        assert same == none.text.replace(SIGNER.name, "none")
    assert (await gateway.http.get(f"/v1/invocations/{of}")).json()["state"] == "queued"


async def test_another_tenants_module_cannot_be_deployed(gateway: Installation) -> None:
    digest = (await gateway.upload()).json()["digest"]
    async with gateway.client(await gateway.new_key("mallory")) as http:
        answer = await http.put("/v1/functions/f", json={"module": digest})
        refused(answer, 404, "module.not_found")
        assert (await http.get("/v1/functions")).json()["functions"] == []
        assert (await http.get("/v1/signers")).json() == {"signers": []}


async def test_what_is_remembered_is_bounded(
    gateway: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auth, "_MAX_CACHED", 2)
    monkeypatch.setattr(resolve_function, "_MAX_CACHED", 2)
    for name in ("a", "b", "c"):
        await gateway.deploy(name)
        async with gateway.client(await gateway.new_key("alice")) as http:
            assert (await http.get(f"/v1/functions/{name}")).status_code == 200
    context = gateway.app.state.context
    assert len(context.authenticator._cached) <= 2
    assert len(context.resolver._cached) <= 2


class Slow(MemoryCatalog):
    """Answers when it is told to, and counts the questions."""

    def __init__(self) -> None:
        super().__init__()
        self.answers = asyncio.Event()
        self.asked: Counter[str] = Counter()

    async def find_key(self, key_id: str) -> ApiKey | None:
        self.asked["key"] += 1
        await self.answers.wait()
        return await super().find_key(key_id)

    async def function_version(
        self, tenant: str, name: str, version: int | None
    ) -> FunctionVersion | None:
        self.asked["version"] += 1
        found = await super().function_version(tenant, name, version)
        await self.answers.wait()
        return found


async def test_callers_at_once_ask_the_catalog_once() -> None:
    catalog = Slow()
    text, made = generate_key("test")
    content = FunctionContent("sha256:" + "a" * 64, Abi.STOCKADE_V1, deterministic=True)
    await catalog.ensure_tenant("alice")
    await catalog.add_key(ApiKey(made.id, "alice", "k", made.secret_hash, 0))
    await catalog.put_function("alice", "f", content, 1)
    authenticator = auth.Authenticator(catalog, SystemClock(), 5.0)
    resolver = FunctionResolver(catalog, 5.0)
    request = Request({"type": "http", "headers": [(b"authorization", f"Bearer {text}".encode())]})
    keys = [asyncio.ensure_future(authenticator.authenticate(request)) for _ in range(20)]
    versions = [
        asyncio.ensure_future(resolver.resolve("alice", "f", None, None, "x")) for _ in range(20)
    ]
    while not (catalog.asked["key"] and catalog.asked["version"]):
        await asyncio.sleep(0)
    catalog.answers.set()
    assert {principal.tenant for principal in await asyncio.gather(*keys)} == {"alice"}
    assert {found.version for found in await asyncio.gather(*versions)} == {1}
    assert catalog.asked == {"key": 1, "version": 1}


async def test_what_was_read_before_a_change_is_not_remembered_behind_it() -> None:
    catalog = Slow()
    content = FunctionContent("sha256:" + "a" * 64, Abi.STOCKADE_V1, deterministic=True)
    await catalog.ensure_tenant("alice")
    await catalog.put_function("alice", "f", content, 1)
    resolver = FunctionResolver(catalog, 5.0)
    before = asyncio.ensure_future(resolver.resolve("alice", "f", None, None, "x"))
    while not catalog.asked["version"]:
        await asyncio.sleep(0)
    await catalog.put_function("alice", "f", replace(content, env=(("K", "V"),)), 2)
    resolver.forget("alice", "f")
    catalog.answers.set()
    assert (await before).version == 1
    assert (await resolver.resolve("alice", "f", None, None, "x")).version == 2


async def test_who_guesses_is_slowed_but_locks_nobody_out(gateway: Installation) -> None:
    known, unknown = gateway.key, await gateway.new_key("alice")
    assert (await gateway.http.get("/v1/functions")).status_code == 200
    statuses = []
    for _ in range(BURST + 1):
        async with gateway.client(generate_key("dev")[0]) as http:
            answer = await http.get("/v1/functions")
            statuses.append(answer.status_code)
    assert statuses == [401] * BURST + [429]
    refused(answer, 429, "auth.too_many_failures")
    assert int(answer.headers["retry-after"]) >= 1
    # The same for a key that is right: or else the answer would tell.
    async with gateway.client(unknown) as http:
        refused(await http.get("/v1/functions"), 429, "auth.too_many_failures")
    authenticator = gateway.app.state.context.authenticator
    async with gateway.client(known) as http:
        authenticator.forget_all()
        assert (await http.get("/v1/functions")).status_code == 200
        authenticator.forget(known.split("_")[2])
        assert (await http.get("/v1/functions")).status_code == 200
        authenticator._cache_seconds = 0.0
        for _ in range(3):
            assert (await http.get("/v1/functions")).status_code == 200
    typo = {"authorization": f"Bearer {known[:-1]}{'0' if known[-1] != '0' else '1'}"}
    refused(await gateway.http.get("/v1/functions", headers=typo), 401, "auth.key_malformed")


async def test_a_known_key_that_was_revoked_is_slowed_like_any_other(
    gateway: Installation,
) -> None:
    gateway.app.state.context.authenticator._cache_seconds = 0.0
    assert (await gateway.http.get("/v1/functions")).status_code == 200
    (key,) = await gateway.catalog.keys("alice")
    await gateway.catalog.revoke_key("alice", key.id, 1)
    answers = [await gateway.http.get("/v1/functions") for _ in range(BURST + 1)]
    assert [one.status_code for one in answers] == [401] * BURST + [429]


async def test_a_key_revoked_on_one_gateway_ends_on_the_other_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seconds = 100.0
    monkeypatch.setattr(auth.time, "monotonic", lambda: seconds)
    async with installed() as one, installed(catalog=one.catalog) as other:
        stray = await one.new_key("alice")
        (key,) = [key for key in await one.catalog.keys("alice") if key.id in stray]
        async with other.client(stray) as there, one.client(one.key) as here:
            assert (await there.get("/v1/functions")).status_code == 200
            assert (await here.delete(f"/v1/keys/{key.id}")).status_code == 204
            assert (await there.get("/v1/functions")).status_code == 200
            seconds += other.services.settings.catalog_cache_seconds
            refused(await there.get("/v1/functions"), 401, "auth.key_invalid")


async def test_a_key_looked_up_before_its_revocation_is_not_remembered_behind_it() -> None:
    catalog = SlowToAnswer()
    text, made = generate_key("test")
    await catalog.ensure_tenant("alice")
    await catalog.add_key(ApiKey(made.id, "alice", "k", made.secret_hash, 0))
    authenticator = auth.Authenticator(catalog, SystemClock(), 5.0)
    request = Request({"type": "http", "headers": [(b"authorization", f"Bearer {text}".encode())]})
    before = asyncio.ensure_future(authenticator.authenticate(request))
    await catalog.asked.wait()
    await catalog.revoke_key("alice", made.id, 1)
    authenticator.forget(made.id)
    catalog.answers.set()
    await before
    with pytest.raises(StockadeError, match=r"^auth\.key_invalid"):
        await authenticator.authenticate(request)


async def test_a_key_that_is_gone_is_forgotten(gateway: Installation) -> None:
    gateway.app.state.context.authenticator._cache_seconds = 0.0
    assert (await gateway.http.get("/v1/functions")).status_code == 200
    gateway.catalog._keys.clear()
    refused(await gateway.http.get("/v1/functions"), 401, "auth.key_invalid")
    assert gateway.app.state.context.authenticator._cached == {}


class SlowToAnswer(MemoryCatalog):
    """Looks at once, and answers when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.answers = asyncio.Event(), asyncio.Event()

    async def find_key(self, key_id: str) -> ApiKey | None:
        found = await super().find_key(key_id)
        self.asked.set()
        await self.answers.wait()
        return found
