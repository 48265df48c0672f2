"""Every route asks the policies first; what they say is what callers get."""

import re
from itertools import product
from pathlib import Path

import pytest
from fastapi.routing import iter_route_contexts

from gateway.oci import routes as oci
from stockade.core.actions import Action, Group
from stockade.core.api_keys import ApiKey, generate_key
from stockade.core.authorization import Decision, Question, ResourceKind, Vouching
from stockade.core.digests import digest_of
from stockade.core.policy_questions import MODULE_ATTRIBUTES, deploy_context
from stockade.core.principals import Role
from stockade.infra.policies.cedar_policies import CedarPolicies
from tests.unit.gateway.installation import GOOD, POLICIES, Installation, installed, refused
from tests.unit.stockade.infra.policies.policy_files import PERMIT_ALL, policies_in

OPEN = {"/healthz", "/readyz", "/version", "/metrics", "/openapi.json", "/v1/oidc/token"}
"""Routes that want no key; the last one gives credentials for a token of a CI service."""
VALUES = {
    "name": "f",
    "alias": "prod",
    "digest": digest_of(b""),
    "invocation_id": "00000000-0000-0000-0000-000000000000",
    "key_id": "abcdefgh",
}
OCI_VALUES = {"(.+)": "alice/f", "([^/]+)": digest_of(b""), "(/?)": "/"}
WASM = {"content-type": "application/wasm"}


class DenyAll:
    """The `PolicyEngine` port: says no, and remembers to what."""

    version, alarm = "1", None
    asked: list[Question]

    def __init__(self, allowed: frozenset[Action] = frozenset()) -> None:
        self._allowed = allowed
        self.asked = []

    def decide(self, question: Question) -> Decision:
        self.asked.append(question)
        return Decision(question.action in self._allowed, ("the-policy",))

    def vouches(self, vouching: Vouching) -> Decision:
        del vouching
        return Decision(allowed=True)


def calls(gateway: Installation) -> list[tuple[str, str]]:
    """Each method and path of the application, filled in."""
    found = [
        (method, re.sub(r"\{(\w+)[^}]*\}", lambda part: VALUES.get(part[1], "x"), route.path))
        for route in iter_route_contexts(gateway.app.routes)
        for method in sorted(route.methods or ())
        if not route.path.startswith("/v2")
    ]
    return found + [
        (method, "/v2/" + _filled(place.path.pattern))
        for place in oci._PLACES  # one route of the framework's, which reads paths itself
        for method in place.handlers
    ]


def _filled(pattern: str) -> str:
    for part, value in OCI_VALUES.items():
        pattern = pattern.replace(part, value)
    return re.sub(r"[()]", "", pattern)


async def test_every_route_asks_the_policies_before_anything_else() -> None:
    engine = DenyAll()
    async with installed(policies=engine) as gateway, gateway.client(None) as nobody:
        wanting = [(method, path) for method, path in calls(gateway) if path not in OPEN]
        assert len(wanting) > 30
        for method, path in wanting:
            engine.asked, engine.version = [], f"{method} {path}"  # nothing is remembered
            answer = await gateway.http.request(method, path, content=b"{}")
            assert answer.status_code == 403, f"{method} {path} asks no policy: {answer.text}"
            if method != "HEAD" and path.startswith("/v1/"):
                problem = refused(answer, 403, "auth.denied")
                assert problem["facts"] == {
                    "action": engine.asked[0].action.value,
                    "policies": ["the-policy"],
                }
            answer = await nobody.request(method, path, content=b"{}")
            assert answer.status_code == 401, f"{method} {path} asks for no key: {answer.text}"


async def test_open_routes_are_those_and_no_others(gateway: Installation) -> None:
    paths = {path for _, path in calls(gateway)}
    assert paths >= OPEN
    assert all(path.startswith(("/v1/", "/v2/")) for path in paths - OPEN), paths - OPEN


async def test_a_deploy_is_asked_with_what_it_is_made_of() -> None:
    engine = DenyAll(frozenset(Action) - {Action.DEPLOY})
    async with installed(policies=engine) as gateway:
        grants = ["log", "kv:orders", "http_fetch:GET https://api.example.org"]
        answer = await gateway.deploy("prod-f", grants=grants, limits={"fuel": 7})
        refused(answer, 403, "auth.denied")
        asked = engine.asked[-1]
        assert (asked.action, asked.resource.name) == (Action.DEPLOY, "prod-f")
        assert set(asked.context) == set(deploy_context())
        assert asked.context["grants"] == tuple(sorted(grants))
        assert asked.context["grant_kinds"] == ("http_fetch", "kv", "log")
        assert asked.context["hosts"] == ("api.example.org",)
        assert asked.context["fuel"] == 7
        assert asked.module is not None
        assert set(asked.module.attributes) == set(MODULE_ATTRIBUTES)
        assert asked.module.name == (await gateway.upload()).json()["digest"]
        assert await gateway.catalog.functions("alice") == ()


async def test_policies_are_told_which_alias_is_changed() -> None:
    engine = DenyAll(frozenset(Action) - {Action.POINT_ALIAS})
    async with installed(policies=engine) as gateway:
        await gateway.deploy()
        alias = "/v1/functions/f/aliases/canary"
        for call in (
            gateway.http.put(alias, json={"version": 1}),
            gateway.http.post(f"{alias}/promote", json={"version": 1}),
            gateway.http.post(f"{alias}/rollback"),
            gateway.http.delete(alias),
        ):
            refused(await call, 403, "auth.denied")
            asked = engine.asked[-1]
            assert (asked.resource.kind, asked.resource.name) == (ResourceKind.FUNCTION, "f")
            assert asked.context == {"alias": "canary"}
        assert await gateway.catalog.alias("alice", "f", "canary") is None


async def test_an_upload_is_asked_twice_before_and_after_it_is_read() -> None:
    engine = DenyAll(frozenset({Action.UPLOAD}))
    async with installed(policies=engine) as gateway:
        refused(await gateway.upload(), 403, "auth.denied")
        first, second = engine.asked
        assert (first.action, second.action) == (Action.UPLOAD, Action.ADMIT)
        assert set(second.resource.attributes) == set(MODULE_ATTRIBUTES)
        assert second.resource.attributes["signers"] == ("ci",)
        assert second.resource.attributes["abi"] == "stockade:v1"
        assert gateway.compiler.compiled == []
        assert await gateway.catalog.module("alice", digest_of(GOOD)) is None


TRIED = {
    Group.READ: ("GET", "/v1/functions"),
    Group.INVOKE: ("POST", "/v1/functions/f/invocations"),
    Group.DEPLOY: ("POST", "/v1/modules"),
    Group.ADMINISTER: ("GET", "/v1/keys"),
}
LEAST = dict(zip(TRIED, Role, strict=True))


@pytest.mark.parametrize(("role", "group"), [*product(Role, TRIED)])
async def test_roles_may_what_the_shipped_policies_say(
    gateway: Installation, role: Role, group: Group
) -> None:
    await gateway.deploy()
    async with gateway.client(await key_of(gateway, role)) as http:
        method, path = TRIED[group]
        answer = await http.request(method, path, content=GOOD, headers=WASM)
        if role.rank < LEAST[group].rank:
            problem = refused(answer, 403, "auth.denied")
            assert f"the role {role.value!r}" in str(problem["detail"])
        else:
            assert answer.status_code < 300, answer.text


async def key_of(gateway: Installation, role: Role) -> str:
    text, made = generate_key("test")
    key = ApiKey(made.id, "alice", role.value, made.secret_hash, 0, role=role)
    await gateway.catalog.add_key(key)
    return text


async def test_a_policy_that_fails_is_a_denial_of_its_own_kind(tmp_path: Path) -> None:
    broken = (
        '@id("broken") forbid (principal, action == Action::"deploy", resource)'
        " when { context.fuel * 9223372036854775807 > 0 };"
    )
    policies = CedarPolicies.load(policies_in(tmp_path, p=PERMIT_ALL + broken))
    async with installed(policies=policies) as gateway:
        problem = refused(await gateway.deploy(), 403, "auth.policy_failed")
        assert problem["facts"] == {"action": "deploy", "policies": ["broken"]}


async def test_a_function_may_be_closed_to_all_but_one_key(tmp_path: Path) -> None:
    async with installed(policies=POLICIES) as gateway:
        await gateway.deploy("secret-f")
    text = (
        PERMIT_ALL + '@id("closed") forbid (principal, action == Action::"invoke", resource)'
        ' when { resource is Function && resource.name like "secret-*" };'
    )
    policies = CedarPolicies.load(policies_in(tmp_path, p=text))
    async with installed(policies=policies) as gateway:
        await gateway.deploy("secret-f")
        await gateway.deploy("f")
        problem = refused(await gateway.invoke(name="secret-f"), 403, "auth.denied")
        assert problem["facts"] == {"action": "invoke", "policies": ["closed"]}
        answer = await gateway.worked(gateway.invoke(name="f"))
        assert answer.status_code == 200
