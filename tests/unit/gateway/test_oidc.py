"""CI jobs exchange a real issuer's tokens for keys, each once, and may what a rule says."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest

from gateway.key_use import KEY_KEPT_SECONDS, sweep
from gateway.sources import BURST
from gateway.usecases import exchange_token
from stockade.core.audit import PLATFORM
from stockade.core.errors import StockadeError
from stockade.core.principals import Kind, Principal, Role
from stockade.core.workloads import (
    FixedIdentity,
    IdentityPolicy,
    IssuerKind,
    TrustedIssuer,
    WorkloadRule,
)
from stockade.infra.http_issuer_keys import MIN_INTERVAL_SECONDS, HttpIssuerKeys
from stockade.infra.policies.cedar_policies import CedarPolicies
from stockade.infra.policies.policy_text import Source, read_sources
from tests.unit.gateway.installation import Installation, installed, refused
from tests.unit.oidc_issuer import (
    EC_KEY,
    OTHER_RSA_KEY,
    RULE,
    Issuer,
    ec_jwk,
    rsa_jwk,
    serving,
    token,
)

POLICIES = Path(__file__).parents[3] / "policies" / "authorization"


class Time:
    """The monotonic clock of whoever fetches keys."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@dataclass
class Ci:
    """A CI service, and a gateway that trusts it."""

    issuer: Issuer
    gateway: Installation
    time: Time

    def token(self, kid: str = "one", **changes: object) -> str:
        now_seconds = self.gateway.services.clock.now_ms() / 1000
        return token(self.issuer.claims(now_seconds, **changes), kid=kid)

    async def exchange(self, text: str, **more: object) -> httpx.Response:
        async with self.gateway.client(None) as http:
            return await http.post("/v1/oidc/token", json={"token": text} | more)

    async def client(self, **changes: object) -> httpx.AsyncClient:
        answer = await self.exchange(self.token(**changes))  # type: ignore[arg-type]
        assert answer.status_code == 201, answer.text
        return self.gateway.client(answer.json()["key"])


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with serving() as running:
        yield running


async def _running(trusted: TrustedIssuer, issuer: Issuer, **services: object) -> AsyncIterator[Ci]:
    time = Time()
    keys = HttpIssuerKeys(time)
    policy = FixedIdentity(IdentityPolicy((trusted,)))
    async with installed(identity=policy, issuer_keys=keys, **services) as gateway:
        yield Ci(issuer, gateway, time)
    await keys.aclose()


@pytest.fixture
async def ci(issuer: Issuer) -> AsyncIterator[Ci]:
    async for it in _running(issuer.trusted(), issuer):
        yield it


async def test_a_job_deploys_with_no_key_that_anybody_keeps(ci: Ci) -> None:
    before_ms = ci.gateway.services.clock.now_ms()
    answer = await ci.exchange(ci.token())
    made = answer.json()
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    assert {name: made[name] for name in ("tenant", "role", "scopes", "rule", "subject")} == {
        "tenant": "alice",
        "role": "developer",
        "scopes": [],
        "rule": "deploys",
        "subject": f"{ci.issuer.url}|repo:acme/hello:ref:refs/heads/main",
    }
    assert before_ms < made["expires_ms"] <= ci.gateway.services.clock.now_ms() + 900_000
    module = (await ci.gateway.upload()).json()["digest"]
    async with ci.gateway.client(made["key"]) as http:
        assert (await http.put("/v1/functions/f", json={"module": module})).status_code == 201
        refused(await http.get("/v1/keys"), 403, "auth.denied")
    listed = (await ci.gateway.http.get("/v1/keys")).json()["keys"]
    (shown,) = [one for one in listed if one["id"] == made["id"]]
    assert (shown["kind"], shown["name"], shown["subject"]) == (
        "workload",
        "deploys",
        made["subject"],
    )


async def test_a_jobs_key_can_be_revoked_but_not_rotated(ci: Ci) -> None:
    made = (await ci.exchange(ci.token())).json()
    answer = await ci.gateway.http.post(f"/v1/keys/{made['id']}/rotate", json={})
    refused(answer, 409, "key.of_a_job")
    assert (await ci.gateway.http.delete(f"/v1/keys/{made['id']}")).status_code == 204
    async with ci.gateway.client(made["key"]) as http:
        refused(await http.get("/v1/functions"), 401, "auth.key_invalid")


async def test_a_token_is_taken_once(ci: Ci) -> None:
    for text in (ci.token(), ci.token(jti=None)):
        assert (await ci.exchange(text)).status_code == 201
        refused(await ci.exchange(text), 409, "oidc.token_replayed")


async def test_of_two_gateways_at_once_one_takes_the_token(ci: Ci) -> None:
    async for other in _running(ci.issuer.trusted(), ci.issuer, catalog=ci.gateway.catalog):
        text = ci.token()
        answers = await asyncio.gather(*(one.exchange(text) for one in (ci, other) * 5))
        assert sorted(one.status_code for one in answers) == [201] + [409] * 9
        (made,) = [one.json() for one in answers if one.status_code == 201]
        async with other.gateway.client(made["key"]) as http:
            assert (await http.get("/v1/functions")).status_code == 200


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"iss": "https://token.actions.githubusercontent.com"}, 401, "oidc.issuer_untrusted"),
        ({"aud": "https://other.example.org"}, 401, "oidc.audience_wrong"),
        ({"exp": 1}, 401, "oidc.claims_invalid"),
        ({"iat": 1, "nbf": 1, "exp": 300}, 401, "oidc.token_expired"),
        ({"nbf": 2**39}, 401, "oidc.token_not_yet_valid"),
        ({"repository_id": "43"}, 403, "oidc.no_rule"),
        ({"repository_id": None}, 403, "oidc.no_rule"),
        ({"ref": "refs/heads/evil"}, 403, "oidc.no_rule"),
        ({"ref": "refs/tags/v1/../evil"}, 403, "oidc.no_rule"),
        ({"ref": ["refs/heads/main"]}, 403, "oidc.no_rule"),
        ({"event_name": "pull_request_target"}, 403, "oidc.event_refused"),
        ({"event_name": "workflow_run"}, 403, "oidc.event_refused"),
        ({"sha": "a" * 513}, 401, "oidc.claims_invalid"),
        ({"kid": "unknown"}, 401, "oidc.key_unknown"),
    ],
    ids=str,
)
async def test_a_token_that_is_refused(
    ci: Ci, changes: dict[str, object], status: int, code: str
) -> None:
    text = ci.token(**changes)  # type: ignore[arg-type]
    answer = await ci.exchange(text)
    problem = refused(answer, status, code)
    assert text not in answer.text
    assert not problem["retryable"]
    assert len(await ci.gateway.catalog.keys("alice")) == 1


@pytest.mark.parametrize("text", ["refs/heads/\0", "\ud800", "a\x1b[2J\n"], ids=ascii)
async def test_hostile_texts_in_sound_tokens_are_kept_whole_or_refused(ci: Ci, text: str) -> None:
    for changes in ({"sub": text}, {"sha": text}, {"jti": text}):
        answer = await ci.exchange(ci.token(**changes))  # type: ignore[arg-type]
        assert answer.text.isascii()
        if answer.status_code != 201:
            refused(answer, 400, "catalog.value_invalid")
            continue
        stored = await ci.gateway.catalog.find_key(answer.json()["id"])
        assert stored is not None
        assert "sha" not in changes or dict(stored.claims)["sha"] == text


async def test_an_attackers_signature_is_refused_whatever_it_claims(ci: Ci) -> None:
    claims = ci.issuer.claims(ci.gateway.services.clock.now_ms() / 1000)
    refused(await ci.exchange(token(claims, OTHER_RSA_KEY)), 401, "oidc.signature_invalid")
    refused(await ci.exchange(token(claims, "s" * 64, "HS256")), 401, "oidc.algorithm_refused")
    # Another key of the issuer's under this one's name.
    ci.issuer.keys = [rsa_jwk("one"), ec_jwk("two")]
    ci.time.seconds += 10_000
    refused(await ci.exchange(token(claims, EC_KEY, "ES256", "one")), 401, "oidc.key_unknown")
    assert (await ci.exchange(token(claims, EC_KEY, "ES256", "two"))).status_code == 201


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "request.invalid"),
        (b"{}", 400, "request.invalid"),
        (b'{"token": 5}', 400, "request.invalid"),
        (b'{"token": "a.b.c", "tenant": "mallory"}', 400, "request.unknown_field"),
        (b'{"token": "stk_dev_x"}', 400, "oidc.token_malformed"),
        (b'{"token": "' + b"a" * 20_000 + b'"}', 413, "oidc.token_too_large"),
        (b'{"token": "' + b"a" * 300_000 + b'"}', 413, "request.too_large"),
    ],
    ids=range(7),
)
async def test_a_bad_request(ci: Ci, body: bytes, status: int, code: str) -> None:
    async with ci.gateway.client(None) as http:
        headers = {"content-type": "application/json"}
        answer = await http.post("/v1/oidc/token", content=body, headers=headers)
    refused(answer, status, code)


async def test_a_rule_may_be_named(issuer: Issuer) -> None:
    reader = replace(RULE, name="reads", role=Role.VIEWER, scopes=("read",), key_seconds=60)
    async for ci in _running(issuer.trusted(RULE, reader), issuer):
        assert (await ci.exchange(ci.token())).json()["rule"] == "deploys"
        made = (await ci.exchange(ci.token(), rule="reads")).json()
        assert (made["role"], made["scopes"]) == ("viewer", ["read"])
        assert made["expires_ms"] <= ci.gateway.services.clock.now_ms() + 60_000
        refused(await ci.exchange(ci.token(), rule="none"), 403, "oidc.no_rule")


async def test_an_operator_may_allow_a_risky_event(issuer: Issuer) -> None:
    allowing = replace(RULE, events=frozenset({"workflow_run"}))
    async for ci in _running(issuer.trusted(allowing), issuer):
        assert (await ci.exchange(ci.token(event_name="workflow_run"))).status_code == 201
        answer = await ci.exchange(ci.token(event_name="pull_request_target"))
        refused(answer, 403, "oidc.event_refused")


async def test_gitlabs_jobs(issuer: Issuer) -> None:
    rule = WorkloadRule(
        "gitlab", "alice", Role.INVOKER, {"project_id": ("42",), "ref_protected": ("true",)}
    )
    trusted = issuer.trusted(rule, kind=IssuerKind.GITLAB)
    async for ci in _running(trusted, issuer):
        job = {"project_id": 42, "ref_protected": "true", "pipeline_source": "push"}
        assert (await ci.exchange(ci.token(**job))).status_code == 201  # type: ignore[arg-type]
        job["ref_protected"] = "false"
        refused(await ci.exchange(ci.token(**job)), 403, "oidc.no_rule")  # type: ignore[arg-type]


async def test_a_tenant_that_is_not_there_burns_no_token(issuer: Issuer) -> None:
    rule = replace(RULE, tenant="later")
    async for ci in _running(issuer.trusted(rule), issuer):
        text = ci.token()
        refused(await ci.exchange(text), 404, "tenant.not_found")
        await ci.gateway.catalog.ensure_tenant("later")
        assert (await ci.exchange(text)).status_code == 201


async def test_rotated_keys_and_an_issuer_that_is_away(ci: Ci) -> None:
    assert (await ci.exchange(ci.token())).status_code == 201
    ci.issuer.keys = [rsa_jwk("two")]
    ci.time.seconds += MIN_INTERVAL_SECONDS
    assert (await ci.exchange(ci.token(kid="two"))).status_code == 201
    refused(await ci.exchange(ci.token(kid="one")), 401, "oidc.key_unknown")
    ci.issuer.answers["/ci/jwks"] = lambda: (500, {}, b"")
    ci.time.seconds += MIN_INTERVAL_SECONDS
    answer = await ci.exchange(ci.token(kid="three"))
    assert refused(answer, 503, "oidc.issuer_unavailable")["retryable"]
    assert int(answer.headers["retry-after"]) >= 1
    # What was known before still counts.
    assert (await ci.exchange(ci.token(kid="two"))).status_code == 201


async def test_an_issuer_that_is_down_is_a_clear_503() -> None:
    with serving() as down:
        pass
    async for ci in _running(down.trusted(), down):
        text = ci.token()
        for _ in range(BURST + 1):
            refused(await ci.exchange(text), 503, "oidc.issuer_unavailable")
        with serving(down):
            ci.time.seconds += MIN_INTERVAL_SECONDS
            assert (await ci.exchange(text)).status_code == 201


async def test_policies_see_a_jobs_claims(issuer: Issuer) -> None:
    own = b"""
    @id("only-main-deploys")
    forbid (principal is Workload, action in Action::"deployers", resource)
    unless { principal.hasTag("ref") && principal.getTag("ref") == "refs/heads/main" };
    """
    engine = CedarPolicies([*read_sources(POLICIES), Source("own.cedar", own)])
    async for ci in _running(issuer.trusted(), issuer, policies=engine):
        module = (await ci.gateway.upload()).json()["digest"]
        async with await ci.client() as http:
            assert (await http.put("/v1/functions/f", json={"module": module})).status_code == 201
        async with await ci.client(ref="refs/tags/v1") as http:
            answer = await http.put("/v1/functions/g", json={"module": module})
            problem = refused(answer, 403, "auth.denied")
            assert "only-main-deploys" in str(problem["detail"])


async def test_a_job_is_a_workload_with_its_claims(ci: Ci) -> None:
    made = (await ci.exchange(ci.token())).json()
    stored = await ci.gateway.catalog.find_key(made["id"])
    assert stored is not None
    principal = stored.principal
    assert principal == Principal(
        "alice", made["subject"], Role.DEVELOPER, (), Kind.WORKLOAD, principal.claims
    )
    claims = dict(principal.claims)
    assert claims["repository_id"] == "42"
    assert not {"jti", "exp", "run_attempt"} & set(claims)


async def test_an_administering_job_makes_no_keys(issuer: Issuer) -> None:
    rule = replace(RULE, role=Role.ADMIN)
    async for ci in _running(issuer.trusted(rule), issuer):
        async with await ci.client() as http:
            assert (await http.get("/v1/keys")).status_code == 200
            answer = await http.post("/v1/keys", json={"name": "back-door"})
            refused(answer, 403, "key.exceeds_caller")
            (own,) = [
                key for key in await ci.gateway.catalog.keys("alice") if key.id in ci.gateway.key
            ]
            answer = await http.post(f"/v1/keys/{own.id}/rotate", json={})
            refused(answer, 403, "key.exceeds_caller")


async def test_who_sends_wrong_tokens_is_slowed(ci: Ci) -> None:
    answers = [await ci.exchange(ci.token(aud="x")) for _ in range(BURST + 1)]
    assert [one.status_code for one in answers] == [401] * BURST + [429]
    refused(await ci.exchange(ci.token()), 429, "auth.too_many_failures")


async def test_a_tenants_jobs_are_bounded(ci: Ci, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange_token, "MAX_WORKLOADS", 1)
    first = (await ci.exchange(ci.token())).json()
    text = ci.token()
    refused(await ci.exchange(text), 429, "oidc.too_many_jobs")
    assert (await ci.gateway.http.post("/v1/keys", json={"name": "a"})).status_code == 201
    await ci.gateway.http.delete(f"/v1/keys/{first['id']}")
    assert (await ci.exchange(text)).status_code == 201


async def test_without_an_issuer_no_token_counts(issuer: Issuer) -> None:
    async with installed() as gateway:
        ci = Ci(issuer, gateway, Time())
        refused(await ci.exchange(ci.token()), 401, "oidc.issuer_untrusted")


async def test_ended_jobs_leave_the_list_after_a_while(ci: Ci) -> None:
    class Later:
        def now_ms(self) -> int:
            return ci.gateway.services.clock.now_ms() + 3 * 3600 * 1000

        def new_id(self) -> str:
            return ""

    await ci.exchange(ci.token())
    await sweep(ci.gateway.catalog, ci.gateway.services.clock)
    assert len(await ci.gateway.catalog.keys("alice")) == 2
    await sweep(ci.gateway.catalog, Later())
    assert len(await ci.gateway.catalog.keys("alice")) == 1


async def test_a_revoked_key_leaves_the_list_after_a_month(ci: Ci) -> None:
    catalog, clock = ci.gateway.catalog, ci.gateway.services.clock
    (key,) = await catalog.keys("alice")
    month_ms = int(KEY_KEPT_SECONDS * 1000)
    await catalog.add_key(replace(key, id="abcdefghij09", expires_ms=clock.now_ms() - month_ms - 1))
    recent = clock.now_ms() - month_ms + 60_000
    await catalog.add_key(replace(key, id="abcdefghij08", revoked_ms=recent))
    await sweep(catalog, clock)
    assert {one.id for one in await catalog.keys("alice")} == {key.id, "abcdefghij08"}


async def test_a_sweep_that_fails_is_done_the_next_time(
    ci: Ci, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(_before_ms: int) -> int:
        raise StockadeError("catalog.unavailable", "away", retryable=True)

    monkeypatch.setattr(ci.gateway.catalog, "sweep_workloads", away)
    await sweep(ci.gateway.catalog, ci.gateway.services.clock)


async def test_the_audit_log_tells_of_exchanges_and_of_refusals(ci: Ci) -> None:
    made = (await ci.exchange(ci.token())).json()
    refused(await ci.exchange(ci.token(aud="x")), 401, "oidc.audience_wrong")
    await ci.gateway.app.state.context.audit.flush()
    told = {
        (chain, entry.facts.kind, entry.facts.principal, entry.facts.object, entry.facts.code)
        for chain in ("alice", PLATFORM)
        for entry in await ci.gateway.services.audit.walk(chain, 0, 100)
        if entry.facts.call == "POST /v1/oidc/token"
    }
    assert told == {
        ("alice", "begun", made["subject"], made["id"], ""),
        ("alice", "done", made["subject"], made["id"], ""),
        (PLATFORM, "refused", "", "", "oidc.audience_wrong"),
    }
