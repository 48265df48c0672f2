"""Nothing that changes something, and nothing that is refused, goes without an audit entry."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import replace

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from structlog.contextvars import get_contextvars, merge_contextvars
from structlog.testing import capture_logs

from gateway.refusal_window import OF_CHAIN, OF_ONE
from gateway.routes.context import authenticated, caller_of
from stockade.core.actions import Action
from stockade.core.api_keys import ApiKey, generate_key
from stockade.core.audit import PLATFORM, AuditEntry, AuditFacts, AuditHead
from stockade.core.audit_chain import head_is_signed
from stockade.core.audit_verify import Verifier
from stockade.core.errors import StockadeError
from stockade.core.principals import Role
from stockade.infra.audit_key import Ed25519HeadSigner
from stockade.infra.memory.memory_audit import MemoryAuditLog
from tests.unit.gateway.installation import Installation, installed, refused

FREE = {
    ("POST", "/v1/functions/{name}/invoke"),
    ("POST", "/v1/functions/{name}/invocations"),
    ("POST", "/v1/functions/{name}/invocations:batch"),
}
"""Calls that change nothing but make invocations, which have records."""
KEYLESS = {("POST", "/v1/oidc/token")}
"""Calls that want no key: they have no principal before they succeed."""
SAFE = {"GET", "HEAD", "OPTIONS"}
ID = "01900000-0000-7000-8000-000000000001"
DIGEST = "sha256:" + "a" * 64


class FailingLog(MemoryAuditLog):
    """Fails from a given append on."""

    def __init__(self) -> None:
        super().__init__(Ed25519HeadSigner((b"a" * 32,)))
        self.left = 1_000_000
        self.code = "catalog.unavailable"

    async def append(self, entries: Sequence[tuple[str, AuditFacts]]) -> None:
        self.left -= 1
        if self.left < 0:
            raise StockadeError(self.code, "The database is gone.", retryable=True)
        await super().append(entries)


async def entries(gateway: Installation, chain: str = "alice") -> Sequence[AuditEntry]:
    await gateway.app.state.context.audit.flush()
    return await gateway.services.audit.walk(chain, 0, 10_000)


async def told(gateway: Installation, chain: str = "alice") -> list[AuditFacts]:
    return [entry.facts for entry in await entries(gateway, chain)]


async def limited_key(gateway: Installation, role: Role, *scopes: str) -> str:
    text, made = generate_key("test")
    key = ApiKey(made.id, "alice", "k", made.secret_hash, 0, role=role, scopes=scopes)
    await gateway.catalog.add_key(key)
    return text


def mutating_calls(app: FastAPI) -> list[tuple[str, str]]:
    """Out of the application's own routes, so that a new one is among them."""

    def routes(parts: Sequence[object]) -> list[APIRoute]:
        found = []
        for part in parts:
            if isinstance(part, APIRoute):
                found.append(part)
            else:
                inner = getattr(part, "routes", None) or getattr(
                    getattr(part, "original_router", None), "routes", ()
                )
                found += routes(inner)
        return found

    return sorted(
        (method, route.path) for route in routes(app.routes) for method in route.methods - SAFE
    )


OCI = {
    "POST": "/v2/alice/f/blobs/uploads/",
    "PUT": "/v2/alice/f/manifests/v1",
    "PATCH": f"/v2/alice/f/blobs/uploads/{ID}",
    "DELETE": "/v2/alice/f/manifests/v1",
}


def filled(method: str, path: str) -> str:
    if path.startswith("/v2/"):
        return OCI[method]
    names = {"digest": DIGEST, "invocation_id": ID, "key_id": "abcdefghij01", "signer": "s"}
    for part in path.split("/"):
        name = part.strip("{}").partition(":")[0]
        if part.startswith("{"):
            path = path.replace(part, names.get(name, "f"))
    return path


async def test_every_call_that_changes_something_leaves_an_entry_with_who_and_what(
    gateway: Installation,
) -> None:
    calls = mutating_calls(gateway.app)
    assert len(calls) > 15
    assert set(calls) >= FREE
    await gateway.deploy()
    for method, path in calls:
        if (method, path) in FREE | KEYLESS:
            continue
        before = len(await entries(gateway))
        name = f"{method} {path}"
        answer = await gateway.http.request(method, filled(method, path), json={})
        new = (await told(gateway))[before:]
        assert new, f"{name} ({answer.status_code}) left no entry"
        for facts in new:
            assert facts.principal, name
            assert facts.action, name
            assert facts.call == name
            assert facts.request == answer.headers["x-request-id"], name
        assert new[-1].kind in {"done", "refused"}, name


async def test_every_call_without_a_key_leaves_an_entry(gateway: Installation) -> None:
    calls = mutating_calls(gateway.app)
    async with gateway.client(None) as nobody:
        for method, path in [call for call in calls if call not in KEYLESS][:OF_ONE]:
            refused(
                await nobody.request(method, filled(method, path), json={}), 401, "auth.key_missing"
            )
    found = await told(gateway, PLATFORM)
    assert len(found) == min(len(calls), OF_ONE)
    assert {facts.code for facts in found} == {"auth.key_missing"}
    assert not any(facts.principal for facts in found)


async def test_a_token_that_is_refused_leaves_an_entry(gateway: Installation) -> None:
    answer = await gateway.http.post("/v1/oidc/token", json={"token": "x.y.z"})
    assert answer.json()["code"].startswith("oidc."), answer.text
    (found,) = await told(gateway, PLATFORM)
    assert (found.kind, found.code) == ("refused", answer.json()["code"])


async def test_a_route_that_forgets_the_log_is_told_of_all_the_same(gateway: Installation) -> None:
    async def forgetful(request: Request) -> Response:
        await gateway.app.state.context.authenticator.authenticate(request)
        return Response()

    async def late(request: Request) -> Response:
        await authenticated(request, Action.MANAGE_SECRETS)
        return Response()

    gateway.app.router.add_api_route("/v1/things/{name}", forgetful, methods=["POST"])
    gateway.app.router.add_api_route("/v1/others", late, methods=["POST"])
    assert (await gateway.http.post("/v1/things/x")).status_code == 200
    assert (await gateway.http.post("/v1/others")).status_code == 200
    (unknown,) = await told(gateway, PLATFORM)
    assert (unknown.kind, unknown.call, unknown.object) == ("done", "POST /v1/things/{name}", "x")
    (known,) = await told(gateway)
    assert (known.kind, known.action) == ("done", "manage_secrets")


async def test_a_deploy_is_told_of_before_and_after(gateway: Installation) -> None:
    assert (await gateway.deploy()).status_code == 201
    upload, uploaded, begun, done = await told(gateway)
    assert (upload.kind, uploaded.kind, uploaded.object_kind) == ("begun", "done", "module")
    assert uploaded.object.startswith("sha256:")
    assert (begun.kind, done.kind, done.code) == ("begun", "done", "")
    assert done == replace(begun, kind="done", time_ms=done.time_ms, policies=done.policies)
    key_id = gateway.key.split("_")[2]
    assert (done.principal_kind, done.principal, done.role) == ("key", key_id, "admin")
    assert (done.action, done.object_kind, done.object) == ("deploy", "function", "f")
    assert (done.call, done.source) == ("PUT /v1/functions/{name}", "127.0.0.1")


async def test_what_fails_is_told_with_its_code(gateway: Installation) -> None:
    refused(await gateway.http.delete("/v1/secrets/s"), 404, "secret.not_found")
    begun, done = await told(gateway)
    assert (begun.kind, begun.code) == ("begun", "")
    assert (done.kind, done.code, done.object) == ("done", "secret.not_found", "s")


async def test_our_own_mistakes_are_told(gateway: Installation) -> None:
    async def mistaken(request: Request) -> Response:
        await caller_of(request, Action.UPLOAD)
        raise RuntimeError("ours")

    gateway.app.router.add_api_route("/v1/mistakes", mistaken, methods=["POST"])
    headers = {"x-request-id": "mine.1"}
    answer = await gateway.http.post("/v1/mistakes", headers=headers)
    refused(answer, 500, "internal.error")
    assert answer.headers["x-request-id"] == "mine.1"
    assert [facts.code for facts in await told(gateway)] == ["", "internal.error"]


async def test_an_answer_that_breaks_off_is_told_once(gateway: Installation) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"x"
        raise RuntimeError("ours")

    async def breaking(request: Request) -> Response:
        await caller_of(request, Action.UPLOAD)
        return StreamingResponse(broken())

    gateway.app.router.add_api_route("/v1/breaks", breaking, methods=["POST"])
    with suppress(RuntimeError):
        await gateway.http.post("/v1/breaks")
    assert [(facts.kind, facts.code) for facts in await told(gateway)] == [
        ("begun", ""),
        ("done", ""),
    ]


async def test_an_alias_is_named_with_its_function(gateway: Installation) -> None:
    await gateway.deploy()
    await gateway.http.put("/v1/functions/f/aliases/prod", json={"version": 1})
    done = (await told(gateway))[-1]
    assert (done.object_kind, done.object, done.action) == ("alias", "f/prod", "point_alias")


@pytest.mark.parametrize(
    ("method", "path", "kind", "name", "action"),
    [
        ("POST", "/aliases/prod/promote", "alias", "f/prod", "point_alias"),
        ("POST", "/aliases/prod/rollback", "alias", "f/prod", "point_alias"),
        ("DELETE", "/aliases/prod", "alias", "f/prod", "point_alias"),
        ("DELETE", "/versions/2", "version", "f/2", "delete_function"),
        ("DELETE", "", "function", "f", "delete_function"),
        ("POST", "/restore", "function", "f", "delete_function"),
    ],
)
async def test_what_becomes_of_a_function_is_told(
    gateway: Installation, method: str, path: str, kind: str, name: str, action: str
) -> None:
    for fuel in (1, 2, 3):
        await gateway.deploy(limits={"fuel": fuel})
    for version in (3, 1):
        await gateway.http.put("/v1/functions/f/aliases/prod", json={"version": version})
    asked = {"version": 3} if path.endswith("promote") else None
    answer = await gateway.http.request(method, f"/v1/functions/f{path}", json=asked)
    assert answer.is_success, answer.text
    begun, done = (await told(gateway))[-2:]
    assert (begun.kind, done.kind, done.code) == ("begun", "done", "")
    assert (done.object_kind, done.object, done.action) == (kind, name, action)


async def test_a_rehearsal_is_not_told_of(gateway: Installation) -> None:
    module = (await gateway.deploy()).json()["module"]
    before = len(await told(gateway))
    answer = await gateway.http.put("/v1/functions/f?dry_run=true", json={"module": module})
    assert answer.status_code == 200
    assert len(await told(gateway)) == before


async def test_a_key_is_named_by_its_id_and_its_text_is_nowhere(gateway: Installation) -> None:
    made = (await gateway.http.post("/v1/keys", json={"name": "ci"})).json()
    secret = b"a very secret thing"
    await gateway.http.put("/v1/secrets/s", content=secret)
    found = await told(gateway)
    assert found[1].object == made["id"]
    text = json.dumps([str(facts) for facts in found])
    for hidden in (made["key"], made["key"].rpartition("_")[2], secret.decode(), gateway.key):
        assert hidden not in text


async def test_reads_and_invocations_that_are_done_are_not_told_of(gateway: Installation) -> None:
    await gateway.deploy()
    before = len(await entries(gateway))
    await gateway.worked(gateway.invoke(b"x"))
    for path in ("/v1/functions", "/v1/keys", "/v1/signers", "/v1/audit", "/v1/functions/absent"):
        await gateway.http.get(path)
    assert len(await entries(gateway)) == before


async def test_refused_reads_and_invocations_are_told_with_the_policies(
    gateway: Installation,
) -> None:
    await gateway.deploy()
    before = len(await entries(gateway))
    async with gateway.client(await limited_key(gateway, Role.VIEWER)) as viewer:
        refused(await viewer.post("/v1/functions/f/invoke"), 403, "auth.denied")
        refused(await viewer.get("/v1/keys"), 403, "auth.denied")
        refused(await viewer.delete("/v1/secrets/s"), 403, "auth.denied")
    async with gateway.client(await limited_key(gateway, Role.ADMIN, "read")) as reader:
        refused(await reader.post("/v1/functions/f/invoke"), 403, "auth.scope_missing")
    found = (await told(gateway))[before:]
    assert [(facts.kind, facts.action, facts.code) for facts in found] == [
        ("refused", "invoke", "auth.denied"),
        ("refused", "manage_keys", "auth.denied"),
        ("refused", "manage_secrets", "auth.denied"),
        ("refused", "invoke", "auth.scope_missing"),
    ]
    assert found[0].role == "viewer"
    assert (found[0].object_kind, found[0].object) == ("function", "f")


async def test_the_policies_that_refuse_are_named(gateway: Installation) -> None:
    facts: dict[str, object] = {"policies": ["no-weekends", "x" * 500]}
    error = StockadeError("auth.denied", "No.", detail=facts)

    async def denied(request: Request) -> Response:
        await authenticated(request, Action.DEPLOY)
        raise error

    gateway.app.router.add_api_route("/v1/denied", denied, methods=["POST"])
    refused(await gateway.http.post("/v1/denied"), 403, "auth.denied")
    (found,) = await told(gateway)
    assert found.policies == ("no-weekends", "x" * 256)


async def test_a_reason_is_kept_and_bounded(gateway: Installation) -> None:
    headers = [(b"stockade-reason", "der Schlüssel ist weg".encode())]
    await gateway.http.post("/v1/signers/nobody/revoke", headers=headers)
    await gateway.http.delete("/v1/secrets/s", headers={"stockade-reason": "x" * 1000})
    found = await told(gateway)
    assert found[0].reason == "der Schlüssel ist weg"
    assert found[2].reason == "x" * 256


async def test_request_ids_are_taken_when_sound_and_made_when_not(gateway: Installation) -> None:
    for given, kept in (("abc-1._Z", True), ("x" * 64, True), ("x" * 65, False), ("a b", False)):
        answer = await gateway.http.get("/healthz", headers={"x-request-id": given})
        assert (answer.headers["x-request-id"] == given) is kept
        assert len(answer.headers["x-request-id"]) <= 64
    ids = {(await gateway.http.get("/healthz")).headers["x-request-id"] for _ in range(3)}
    assert len(ids) == 3


async def test_what_is_logged_of_a_request_has_its_id(gateway: Installation) -> None:
    with capture_logs([merge_contextvars]) as logged:
        async with gateway.client(None) as nobody:
            await nobody.get("/v1/keys", headers={"x-request-id": "mine.7"})
    (line,) = [line for line in logged if line["event"] == "action_refused"]
    assert (line["request_id"], line["code"]) == ("mine.7", "auth.key_missing")
    assert not get_contextvars()


async def test_hostile_paths_are_told_bounded_and_escaped(gateway: Installation) -> None:
    await gateway.http.delete("/v1/secrets/%1b%5b31m%E2%80%AE%00" + "a" * 1000)
    found = await told(gateway)
    assert all(len(facts.object) <= 256 and "\0" not in facts.object for facts in found)
    text = (await gateway.http.get("/v1/audit")).text
    assert text.isascii()
    assert "\x1b" not in text


async def test_without_the_log_nothing_is_done() -> None:
    log = FailingLog()
    async with installed(audit=log) as gateway:
        log.left = 0
        problem = refused(
            await gateway.http.put("/v1/secrets/s", content=b"x"), 503, "audit.unavailable"
        )
        assert problem["retryable"]
        log.code = "audit.chain_broken"
        refused(await gateway.upload(), 503, "audit.chain_broken")
        assert await gateway.catalog.secrets("alice") == ()
        assert b"audit_failures_total 2.0" in (await gateway.http.get("/metrics")).content
        assert (await gateway.http.get("/v1/functions")).status_code == 200


async def test_when_the_end_cannot_be_told_the_answer_stands_and_the_alarm_tells() -> None:
    """As when the gateway dies between: `begun` without `done` says that nobody knows."""
    log = FailingLog()
    async with installed(audit=log) as gateway:
        log.left = 1
        made = await gateway.http.post("/v1/keys", json={"name": "ci"})
        assert made.status_code == 201
        assert made.json()["key"]
        assert [facts.kind for facts in await told(gateway)] == ["begun"]
        assert b"audit_failures_total 1.0" in (await gateway.http.get("/metrics")).content


async def test_refusals_wait_for_the_log() -> None:
    log = FailingLog()
    async with installed(audit=log) as gateway:
        log.left = 0
        async with gateway.client(None) as nobody:
            refused(await nobody.get("/v1/keys"), 401, "auth.key_missing")
        assert await told(gateway, PLATFORM) == []
        log.left = 10
        assert [facts.code for facts in await told(gateway, PLATFORM)] == ["auth.key_missing"]


async def test_a_broken_chain_does_not_keep_the_others(gateway: Installation) -> None:
    async with gateway.client(await gateway.new_key("bob")) as bob, gateway.client(None) as nobody:
        await bob.put("/v1/secrets/s", content=b"x")
        log = gateway.services.audit
        assert isinstance(log, MemoryAuditLog)
        log._entries["bob"].pop()
        refused(await bob.put("/v1/secrets/s", content=b"x"), 503, "audit.chain_broken")
        refused(await nobody.get("/v1/keys"), 401, "auth.key_missing")
    assert [facts.code for facts in await told(gateway, PLATFORM)] == ["auth.key_missing"]
    assert len(await log.walk("bob", 0, 10)) == 1
    assert await gateway.catalog.secrets("alice") == ()


async def test_the_policies_that_permit_are_named(gateway: Installation) -> None:
    await gateway.deploy()
    upload, uploaded, _, deployed = await told(gateway)
    assert upload.policies == ("developers-deploy",)
    assert "developers-deploy" in uploaded.policies
    assert "developers-deploy" in deployed.policies


async def test_floods_of_wrong_keys_are_counted_not_written(gateway: Installation) -> None:
    async with gateway.client("stk_test_abcdefghij01_" + "a" * 32) as stranger:
        for _ in range(60):
            await stranger.get("/v1/keys")
    trail = gateway.app.state.context.audit
    assert len(await told(gateway, PLATFORM)) == OF_ONE
    await trail.close()
    found = await told(gateway, PLATFORM)
    assert len(found) == OF_ONE + 1
    assert (found[-1].kind, found[-1].count) == ("suppressed", 60 - OF_ONE)
    assert found[-1].source == "127.0.0.1"


async def test_floods_from_everywhere_are_bounded(gateway: Installation) -> None:
    for number in range(400):
        transport = httpx.ASGITransport(
            gateway.app, client=(f"198.51.{number // 200}.{number % 200}", 1)
        )
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as stranger:
            await stranger.get("/v1/keys")
    await gateway.app.state.context.audit.close()
    found = await told(gateway, PLATFORM)
    counted = [facts for facts in found if facts.kind == "suppressed"]
    assert len(found) - len(counted) == OF_CHAIN
    assert len(counted) == 21
    assert sum(facts.count for facts in counted) == 400 - OF_CHAIN


async def test_the_log_is_listed_page_by_page(gateway: Installation) -> None:
    await gateway.deploy()
    first = (await gateway.http.get("/v1/audit", params={"limit": 3})).json()
    assert [entry["sequence"] for entry in first["entries"]] == [4, 3, 2]
    second = await gateway.http.get("/v1/audit", params={"limit": 3, "before": first["next"]})
    assert [entry["sequence"] for entry in second.json()["entries"]] == [1]
    assert second.json()["next"] is None
    deploys = await gateway.http.get("/v1/audit?action=deploy&object=f&since=2020-01-01T00:00:00Z")
    assert [entry["kind"] for entry in deploys.json()["entries"]] == ["done", "begun"]
    none = await gateway.http.get("/v1/audit?until=2020-01-01T00:00:00Z&principal=x")
    assert none.json() == {"entries": [], "next": None}


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "limit=x", "before=-1", "before=" + "9" * 19, "since=today"]
)
async def test_queries_are_read_strictly(gateway: Installation, query: str) -> None:
    refused(await gateway.http.get(f"/v1/audit?{query}"), 400, "request.query_invalid")


async def test_another_tenants_log_is_not_seen(gateway: Installation) -> None:
    await gateway.deploy()
    async with gateway.client(await gateway.new_key("bob")) as bob:
        assert (await bob.get("/v1/audit")).json()["entries"] == []
        assert (await bob.get("/v1/audit/head")).json() == {"head": None, "v": 1}
        assert (await bob.get("/v1/audit/export")).content == b""
    async with gateway.client(await limited_key(gateway, Role.DEVELOPER)) as developer:
        for path in ("/v1/audit", "/v1/audit/head", "/v1/audit/export"):
            refused(await developer.get(path), 403, "auth.denied")


def is_signed(head: AuditHead) -> bool:
    return head_is_signed(head, Ed25519HeadSigner((b"a" * 32,)))


async def test_an_export_verifies_whole_and_in_parts(gateway: Installation) -> None:
    for number in range(3):
        await gateway.deploy(f"f{number}")
    whole = await gateway.http.get("/v1/audit/export")
    assert whole.headers["content-type"] == "application/x-ndjson"
    found = Verifier(is_signed).verify(whole.text.splitlines())
    assert (found.fault, found.entries, found.chain) == (None, 12, "alice")
    assert found.head is not None
    parts = []
    for after in (0, 5, 10, 12):
        part = await gateway.http.get("/v1/audit/export", params={"after": after, "limit": 5})
        parts += part.text.splitlines()
    assert Verifier(is_signed).verify(parts).fault is None
    assert parts[:12] == whole.text.splitlines()[:12]
    head = (await gateway.http.get("/v1/audit/head")).json()["head"]
    assert head["sequence"] == 12
    beyond = await gateway.http.get("/v1/audit/export?after=1000")
    assert len(beyond.text.splitlines()) == 1


async def test_refusals_of_another_protocol_are_told_by_their_status(gateway: Installation) -> None:
    async def other(request: Request) -> Response:
        await caller_of(request, Action.UPLOAD)
        return Response(status_code=403)

    gateway.app.router.add_api_route("/v3/things", other, methods=["POST"])
    await gateway.http.post("/v3/things")
    assert [facts.code for facts in await told(gateway)] == ["", "http.403"]


async def test_whoever_may_not_deploy_fills_no_log(gateway: Installation) -> None:
    """What is refused before anything begins is counted beyond a few, as every refusal is."""
    module = (await gateway.upload()).json()["digest"]
    async with gateway.client(await limited_key(gateway, Role.VIEWER)) as viewer:
        for _ in range(OF_ONE + 5):
            answer = await viewer.put("/v1/functions/f", json={"module": module})
            refused(answer, 403, "auth.denied")
        refused(await viewer.put("/v1/functions/f", json={}), 400, "request.invalid")
    found = [facts for facts in await told(gateway) if facts.action == "deploy"]
    assert [facts.kind for facts in found] == ["refused"] * OF_ONE
    assert {facts.code for facts in found} == {"auth.denied"}
