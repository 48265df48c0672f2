"""Roles in their order, scopes that narrow, and no credential that makes a wider one."""

import pytest

from stockade.core.actions import Action, Group
from stockade.core.errors import StockadeError
from stockade.core.principals import MAX_SCOPES, Kind, Principal, Role, check_scopes


def test_roles_rank_from_the_least_to_the_most() -> None:
    assert [role.rank for role in (Role.VIEWER, Role.INVOKER, Role.DEVELOPER, Role.ADMIN)] == [
        0,
        1,
        2,
        3,
    ]


def test_every_action_has_a_group_and_every_group_an_action() -> None:
    assert {action.group for action in Action} == set(Group)
    assert Action.READ_AUDIT.group is Group.ADMINISTER
    assert Action.SCHEDULE.group is Group.DEPLOY


@pytest.mark.parametrize("action", Action)
def test_no_scopes_leave_everything_to_the_role(action: Action) -> None:
    Principal("acme", "k").check_scope(action, None)
    Principal("acme", "k").check_scope(action, "hello")


COVERED = [
    (("read",), Action.READ, None),
    (("read",), Action.READ, "hello"),
    (("read:hello",), Action.READ, "hello"),
    (("invoke",), Action.CANCEL, "hello"),
    (("invoke:hello",), Action.REDRIVE, "hello"),
    (("deploy:hello",), Action.DEPLOY, "hello"),
    (("deploy:hello",), Action.UPLOAD, None),
    (("deploy:hello",), Action.ADMIT, None),
    (("administer",), Action.MANAGE_KEYS, None),
    (("read", "invoke:hello"), Action.INVOKE, "hello"),
]
LEFT_OUT = [
    (("read",), Action.INVOKE, "hello", "invoke:hello"),
    (("read:hello",), Action.READ, None, "read"),
    (("read:hello",), Action.READ, "other", "read:other"),
    (("read:hello",), Action.READ, "hell", "read:hell"),
    (("invoke:hello",), Action.UPLOAD, None, "deploy"),
    (("deploy:hello",), Action.DEPLOY, "other", "deploy:other"),
    (("deploy:hello",), Action.DEPLOY, None, "deploy"),
    (("deploy",), Action.INVOKE, "hello", "invoke:hello"),
    (("deploy",), Action.MANAGE_SECRETS, None, "administer"),
    (("administer",), Action.READ, None, "read"),
    (("read:hello",), Action.MANAGE_RETRIES, "hello", "administer"),
]


@pytest.mark.parametrize(("scopes", "action", "function"), COVERED)
def test_what_scopes_cover(scopes: tuple[str, ...], action: Action, function: str | None) -> None:
    Principal("acme", "k", Role.ADMIN, scopes).check_scope(action, function)


@pytest.mark.parametrize(("scopes", "action", "function", "wanted"), LEFT_OUT)
def test_what_scopes_leave_out(
    scopes: tuple[str, ...], action: Action, function: str | None, wanted: str
) -> None:
    with pytest.raises(StockadeError) as caught:
        Principal("acme", "k", Role.ADMIN, scopes).check_scope(action, function)
    assert (caught.value.code, caught.value.detail) == ("auth.scope_missing", {"scope": wanted})
    assert f"the scope {wanted!r}." in caught.value.message
    assert not caught.value.retryable


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("given", Role)
def test_no_credential_gives_a_higher_role(role: Role, given: Role) -> None:
    caller = Principal("acme", "k", role)
    if given.rank <= role.rank:
        caller.check_may_give(given, ())
        caller.check_may_give(given, ("read",))
        return
    with pytest.raises(StockadeError, match=r"^key\.exceeds_caller"):
        caller.check_may_give(given, ())


@pytest.mark.parametrize("scopes", [(), ("deploy",), ("read", "deploy"), ("read:hello",)])
def test_no_narrowed_credential_gives_other_scopes(scopes: tuple[str, ...]) -> None:
    caller = Principal("acme", "k", Role.ADMIN, ("administer", "read"))
    caller.check_may_give(Role.ADMIN, ("read",))
    caller.check_may_give(Role.VIEWER, ("administer", "read"))
    with pytest.raises(StockadeError, match=r"^key\.exceeds_caller"):
        caller.check_may_give(Role.VIEWER, scopes)


def test_a_workload_makes_no_keys_for_they_would_outlive_its_job() -> None:
    with pytest.raises(StockadeError, match=r"^key\.exceeds_caller"):
        Principal("acme", "job", kind=Kind.WORKLOAD).check_may_give(Role.VIEWER, ("read",))


def test_scopes_are_sorted_and_each_once() -> None:
    assert check_scopes(["read", "invoke:b", "invoke:a", "read"]) == (
        "invoke:a",
        "invoke:b",
        "read",
    )
    assert check_scopes([]) == ()
    assert len(check_scopes(f"read:f{number}" for number in range(MAX_SCOPES))) == MAX_SCOPES


@pytest.mark.parametrize(
    "scope",
    [
        "",
        "READ",
        "write",
        "read:",
        "read:Hello",
        "read:../x",
        "read:*",
        "read:a:b",
        "administer:hello",
        " read",
        "\ud800",
        "read:" + "a" * 64,
        "x" * 100_000,
    ],
    ids=lambda text: ascii(text[:20]),
)
def test_what_is_no_scope_is_refused(scope: str) -> None:
    with pytest.raises(StockadeError) as caught:
        check_scopes(["read", scope])
    assert caught.value.code == "key.scope_invalid"
    assert len(caught.value.message) < 400
    caught.value.message.encode()


def test_scopes_are_bounded() -> None:
    with pytest.raises(StockadeError, match=r"^key\.scope_invalid"):
        check_scopes(f"read:f{number}" for number in range(MAX_SCOPES + 1))


def test_no_key_that_ends_gives_one_that_ends_later() -> None:
    caller = Principal("acme", "k", expires_ms=1_000)
    caller.check_may_give(Role.ADMIN, (), 1_000)
    for later in (1_001, None):
        with pytest.raises(StockadeError, match=r"^key\.exceeds_caller"):
            caller.check_may_give(Role.ADMIN, (), later)
