"""Cedar policies: what they are told and how they answer; errors deny; faults have their place."""

from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest

from stockade.core.actions import Action, Group
from stockade.core.authorization import Decision, ResourceKind, Vouching
from stockade.core.errors import StockadeError
from stockade.core.limits import Limits
from stockade.core.policy_questions import (
    SAMPLE_VOUCHING,
    deploy_context,
    every_question,
    question,
    resource_kinds,
)
from stockade.core.principals import Kind, Principal, Role
from stockade.infra.policies.cedar_policies import CedarPolicies
from stockade.infra.policies.policy_text import SCHEMA_FILE
from tests.unit.stockade.infra.policies.policy_files import (
    PERMIT_ALL,
    SCHEMA,
    SHIPPED,
    policies_in,
    policy,
)

OVERFLOWS = "context.memory_bytes * 9223372036854775807 > 0"
DEPLOYS = 'principal, action == Action::"deploy", resource'
FORBIDS = {Kind.KEY: "own-tenant-only", Kind.WORKLOAD: "own-tenant-only-for-workloads"}
PERMITS = {
    Group.READ: ("viewers-read", Role.VIEWER),
    Group.INVOKE: ("invokers-invoke", Role.INVOKER),
    Group.DEPLOY: ("developers-deploy", Role.DEVELOPER),
    Group.ADMINISTER: ("admins-administer", Role.ADMIN),
}


@pytest.fixture(scope="module")
def shipped() -> CedarPolicies:
    return CedarPolicies.load(SHIPPED)


def caller(role: Role = Role.DEVELOPER, kind: Kind = Kind.KEY, **claims: str) -> Principal:
    return Principal("acme", "k1", role, kind=kind, claims=tuple(claims.items()))


def deploy_decision(tmp_path: Path, text: str, **context: int) -> Decision:
    told = {**deploy_context(), **context}
    asked = question(caller(), Action.DEPLOY, ResourceKind.FUNCTION, context=told)
    return CedarPolicies.load(policies_in(tmp_path, p=text)).decide(asked)


def refusal(directory: Path) -> str:
    with pytest.raises(StockadeError) as caught:
        CedarPolicies.load(directory)
    return caught.value.message


@pytest.mark.parametrize(("role", "action", "kind"), [*product(Role, Action, Kind)])
def test_the_shipped_policies_give_each_role_what_is_its(
    shipped: CedarPolicies, role: Role, action: Action, kind: Kind
) -> None:
    name, least = PERMITS[action.group]
    for resource in resource_kinds(action):
        decision = shipped.decide(question(caller(role, kind), action, resource))
        allowed = role.rank >= least.rank
        assert decision == Decision(allowed, (name,) if allowed else ())


@pytest.mark.parametrize(("action", "kind"), [*product(Action, Kind)])
def test_another_tenants_object_is_forbidden_to_every_role(
    shipped: CedarPolicies, action: Action, kind: Kind
) -> None:
    for resource in resource_kinds(action):
        asked = question(caller(Role.ADMIN, kind), action, resource, tenant="other")
        assert shipped.decide(asked) == Decision(allowed=False, policies=(FORBIDS[kind],))


def test_a_signer_vouches_in_its_tenant_alone(shipped: CedarPolicies) -> None:
    assert shipped.vouches(SAMPLE_VOUCHING) == Decision(
        allowed=True, policies=("signers-vouch-in-their-tenant",)
    )
    foreign = replace(SAMPLE_VOUCHING, tenant="other")
    assert shipped.vouches(foreign) == Decision(allowed=False)


def test_what_no_policy_permits_is_denied(tmp_path: Path) -> None:
    nothing = CedarPolicies.load(policies_in(tmp_path, p=policy("false")))
    assert {nothing.decide(one) for one in every_question()} == {Decision(allowed=False)}
    assert not nothing.vouches(SAMPLE_VOUCHING).allowed


def test_a_forbid_that_errs_denies_although_cedar_would_allow(tmp_path: Path) -> None:
    forbid = policy(OVERFLOWS, "broken", DEPLOYS).replace("permit", "forbid")
    decision = deploy_decision(tmp_path, PERMIT_ALL + forbid, memory_bytes=2)
    assert decision == Decision(allowed=False, policies=("broken",), failed=True)
    assert "integer overflow" in decision.reason
    assert deploy_decision(tmp_path, PERMIT_ALL + forbid, memory_bytes=0).allowed


def test_a_permit_that_errs_denies_although_another_permits(tmp_path: Path) -> None:
    permit = policy(OVERFLOWS, "broken", DEPLOYS)
    decision = deploy_decision(tmp_path, PERMIT_ALL + permit, memory_bytes=2)
    assert decision == Decision(allowed=False, policies=("broken",), failed=True)


def test_every_failed_policy_is_named(tmp_path: Path) -> None:
    forbids = [
        policy(OVERFLOWS, name, DEPLOYS).replace("permit", "forbid") for name in ("z", "b", "a")
    ]
    decision = deploy_decision(tmp_path, "".join([PERMIT_ALL, *forbids]), memory_bytes=2)
    assert decision.policies == ("a", "b", "z")


def test_a_question_that_does_not_fit_the_schema_is_denied(tmp_path: Path) -> None:
    decision = deploy_decision(tmp_path, PERMIT_ALL, nobody_knows_this=1)
    assert decision == Decision(allowed=False, failed=True)
    assert "nobody_knows_this" in decision.reason


@pytest.mark.parametrize("name", ['"; permit (', "\ud800", "policy0", "a\nb", "x" * 10_000])
def test_hostile_names_and_claims_change_nothing(shipped: CedarPolicies, name: str) -> None:
    principal = replace(caller(Role.VIEWER, Kind.WORKLOAD, sub=name), id=name)
    for action in (Action.READ, Action.INVOKE):
        decision = shipped.decide(question(principal, action, ResourceKind.FUNCTION, name))
        assert decision.allowed is (action is Action.READ and name != "\ud800")


def test_a_question_that_floors_the_engine_is_denied(
    shipped: CedarPolicies, monkeypatch: pytest.MonkeyPatch
) -> None:
    class PanicException(BaseException):
        """As the native code's panics arrive: no `Exception`."""

    def panic(*_: object) -> None:
        raise PanicException

    monkeypatch.setattr("cedarpy.is_authorized", panic)
    assert shipped.decide(next(every_question())) == Decision(allowed=False, failed=True)
    monkeypatch.setattr("cedarpy.is_authorized", lambda *_: (_ for _ in ()).throw(SystemExit))
    with pytest.raises(SystemExit):
        shipped.decide(next(every_question()))


def test_conditions_see_module_grants_hosts_limits_and_claims(tmp_path: Path) -> None:
    text = policy(
        'context.module.abi == "wasi:preview1" && context.module.imports.contains("a.b")'
        ' && context.module.signers.containsAll(["ci", "lead"]) && !context.module.deterministic'
        ' && context.module.size_bytes == 7 && context.module.builders.contains("https://b")'
        ' && context.module.sources.contains("s@1") && context.grant_kinds.contains("kv")'
        ' && context.grants == ["kv:orders"] && context.hosts.isEmpty()'
        " && context.fuel == 1 && context.memory_bytes == 2 && context.wall_ms == 3"
        ' && principal.hasTag("repository_id") && principal.getTag("repository_id") == "9"'
        ' && principal.scopes.isEmpty() && resource.name like "prod-*"',
        scope='principal is Workload, action == Action::"deploy", resource',
    )
    engine = CedarPolicies.load(policies_in(tmp_path, p=text))
    asked = question(
        caller(kind=Kind.WORKLOAD, repository_id="9"),
        Action.DEPLOY,
        ResourceKind.FUNCTION,
        "prod-api",
        {
            "abi": "wasi:preview1",
            "imports": ("a.b",),
            "signers": ("lead", "ci"),
            "deterministic": False,
            "size_bytes": 7,
            "builders": ("https://b",),
            "sources": ("s@1",),
        },
        deploy_context(("kv:orders",), Limits(fuel=1, memory_bytes=2, wall_ms=3)),
    )
    assert engine.decide(asked).allowed
    assert not engine.decide(replace(asked, principal=caller(kind=Kind.WORKLOAD))).allowed


def test_a_signers_name_key_and_module_can_be_asked_for(tmp_path: Path) -> None:
    text = policy(
        'principal.name == "ci" && principal.public_key like "ab*"'
        ' && resource.abi == "wasi:preview1"',
        scope='principal, action == Action::"vouch", resource',
    )
    engine = CedarPolicies.load(policies_in(tmp_path, p=text))
    module = replace(
        SAMPLE_VOUCHING.module,
        attributes={**SAMPLE_VOUCHING.module.attributes, "abi": "wasi:preview1"},
    )
    assert engine.vouches(Vouching("acme", "ci", "ab" * 32, module)).allowed
    assert not engine.vouches(Vouching("acme", "ci", "cd" * 32, module)).allowed


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (PERMIT_ALL.replace('@id("all") ', ""), "p.cedar:1: the policy has no @id"),
        (PERMIT_ALL.replace('("all")', ""), "p.cedar:1: the policy has no @id"),
        (PERMIT_ALL.replace("all", ""), "p.cedar:1: the @id '' is not 1 to 100 of"),
        (PERMIT_ALL.replace("all", "a b"), "p.cedar:1: the @id 'a b' is not 1 to 100 of"),
        (PERMIT_ALL.replace("all", "é"), r"p.cedar:1: the @id '\xe9' is not 1 to 100 of"),
        (PERMIT_ALL.replace("@id", "@note"), "p.cedar:1: the policy has no @id"),
        (f"{PERMIT_ALL}\n{PERMIT_ALL}", "p.cedar:3: the @id 'all' is taken by p.cedar:1"),
        (PERMIT_ALL.replace("resource", "resource in ?resource"), "templates are not supported"),
        (policy("1 1"), "p.cedar:1: policy 'a': unexpected token `1`"),
        (PERMIT_ALL + policy("context.nope", scope=DEPLOYS), "p.cedar:2: policy 'a': attribute"),
        (policy("principal.nope", scope=DEPLOYS), "attribute `nope` on entity type"),
        (policy('context.fuel == "x"', scope=DEPLOYS), "Long and String are not compatible"),
        (
            PERMIT_ALL.replace("action", 'action == Action::"no"'),
            'unrecognized action `Action::"no"',
        ),
        (PERMIT_ALL.replace("principal", "principal is User"), "unrecognized entity type `User`"),
        (
            policy('principal.getTag("x") == "y"', scope="principal is Workload, action, resource"),
            "unable to guarantee safety of access to tag",
        ),
    ],
)
def test_a_policy_that_cannot_be_used_is_told_by_file_line_and_name(
    tmp_path: Path, text: str, what: str
) -> None:
    assert what in refusal(policies_in(tmp_path, p=text))


def test_several_faults_are_told_at_once_and_not_without_end(tmp_path: Path) -> None:
    text = "".join(policy("principal.nope", f"a{number}") for number in range(40))
    message = refusal(policies_in(tmp_path, p=text))
    assert "p.cedar:1: policy 'a0'" in message
    assert message.count("p.cedar:") == 10


def test_names_are_unique_over_all_files(tmp_path: Path) -> None:
    message = refusal(policies_in(tmp_path, b=PERMIT_ALL, c=PERMIT_ALL))
    assert "c.cedar:1: the @id 'all' is taken by b.cedar:1" in message


def test_other_annotations_may_stand_beside_the_id(tmp_path: Path) -> None:
    text = f'@owner("ops"){PERMIT_ALL}@id("b")@owner permit (principal, action, resource);'
    assert CedarPolicies.load(policies_in(tmp_path, p=text)).ids == ("all", "b")


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("entity Tenant;", "entity Tenant", "schema.cedarschema: error parsing schema"),
        ("entity Key in [Role]", "entity Key", "asks for 'read'"),
        ("  wall_ms: Long,\n".replace("  ", "      "), "", "does not fit this release"),
        ("redrive in [invokers]", "other in [invokers]", "asks for 'redrive'"),
        ("action vouch", "action voucher", "asks for 'vouch'"),
        ("  name: String,\n  public_key", "  public_key", "asks for 'vouch'"),
    ],
)
def test_a_schema_that_is_not_this_releases_is_told_at_load(
    tmp_path: Path, old: str, new: str, what: str
) -> None:
    assert old in SCHEMA
    directory = policies_in(tmp_path, p=PERMIT_ALL)
    (directory / SCHEMA_FILE).write_text(SCHEMA.replace(old, new, 1), encoding="utf-8")
    assert what in refusal(directory)


def test_the_version_is_that_of_the_content(tmp_path: Path) -> None:
    first = CedarPolicies.load(policies_in(tmp_path / "a")).version
    assert CedarPolicies.load(policies_in(tmp_path / "b")).version == first
    assert CedarPolicies.load(policies_in(tmp_path / "a", more=PERMIT_ALL)).version != first
