"""Who sees how the installation stands, and how much of it."""

from dataclasses import replace

import pytest

from stockade.core.api_keys import ApiKey, generate_key
from stockade.core.installation_status import RecentEnds, RunningShare, WorkerReport
from stockade.core.principals import Role
from tests.unit.gateway.installation import SETTINGS, Installation, installed

FIRST = WorkerReport(
    "w1",
    "1.0",
    "working",
    4,
    60,
    (RunningShare("alice", "f", 2), RunningShare("bob", "g", 1)),
    (RecentEnds("alice", 8, 2), RecentEnds("bob", 2, 0), RecentEnds("", 5, 5)),
    ("trust",),
    ("landlock",),
)
SECOND = replace(FIRST, name="w2", running=(RunningShare("bob", "g", 5),), recent=(), stale=())
OPERATED = SETTINGS.model_copy(update={"operator_tenant": "ops"})


async def key_of(gateway: Installation, role: Role, *scopes: str, tenant: str = "ops") -> str:
    await gateway.catalog.ensure_tenant(tenant)
    text, made = generate_key("test")
    key = ApiKey(made.id, tenant, "k", made.secret_hash, 0, role=role, scopes=scopes)
    await gateway.catalog.add_key(key)
    return text


async def seen(gateway: Installation, key: str) -> dict[str, object]:
    async with gateway.client(key) as http:
        answer = await http.get("/v1/status")
    assert answer.status_code == 200
    told: dict[str, object] = answer.json()
    return told


async def test_an_operators_admin_sees_all() -> None:
    async with installed(settings=OPERATED, weak_walls=("nobody",)) as gateway:
        await gateway.deploy()
        await gateway.http.post("/v1/functions/f/invocations", content=b"x")
        for report in (FIRST, SECOND):
            await gateway.services.board.report(report)
        told = await seen(gateway, await key_of(gateway, Role.ADMIN))
    assert (told["scope"], told["capacity"], told["working"]) == ("installation", 8, True)
    assert told["queue"]["ready"] == 1  # type: ignore[index]
    assert told["running"] == [
        {"tenant": "bob", "function": "g", "count": 6},
        {"tenant": "alice", "function": "f", "count": 2},
    ]
    assert told["recent"] == {"minutes": 5, "ended": 15, "failed": 7, "error_rate": 7 / 15}
    assert [one["name"] for one in told["workers"]] == ["w1", "w2"]  # type: ignore[attr-defined]
    assert (told["stale"], told["weak_walls"]) == (["trust"], ["landlock", "nobody"])


async def test_a_tenant_sees_its_own_and_nothing_of_others() -> None:
    async with installed(settings=OPERATED) as gateway:
        for report in (FIRST, SECOND):
            await gateway.services.board.report(report)
        told = await seen(gateway, gateway.key)
    assert told.keys() == {"version", "scope", "queue", "working", "running", "recent"}
    assert told["scope"] == "tenant"
    assert told["queue"] == {"backlog": 0, "later": 0, "oldest_wait_ms": 0}
    assert told["running"] == [{"tenant": "alice", "function": "f", "count": 2}]
    assert told["recent"] == {"minutes": 5, "ended": 8, "failed": 2, "error_rate": 0.25}


@pytest.mark.parametrize(
    ("role", "scopes", "tenant"),
    [
        (Role.DEVELOPER, (), "ops"),
        (Role.ADMIN, ("read",), "ops"),
        (Role.ADMIN, (), "others"),
    ],
)
async def test_who_is_no_whole_admin_of_the_operators_sees_no_installation(
    role: Role, scopes: tuple[str, ...], tenant: str
) -> None:
    async with installed(settings=OPERATED) as gateway:
        told = await seen(gateway, await key_of(gateway, role, *scopes, tenant=tenant))
    assert told["scope"] == "tenant"


async def test_without_operators_nobody_sees_all(gateway: Installation) -> None:
    told = await seen(gateway, await key_of(gateway, Role.ADMIN, tenant="ops"))
    assert told["scope"] == "tenant"
    assert told["working"] is False
    assert told["recent"] == {"minutes": 5, "ended": 0, "failed": 0, "error_rate": None}


async def test_however_many_ask_it_is_looked_up_once_a_second() -> None:
    async with installed(settings=OPERATED) as gateway:
        key = await key_of(gateway, Role.ADMIN)
        assert (await seen(gateway, key))["workers"] == []
        await gateway.services.board.report(FIRST)
        assert (await seen(gateway, key))["workers"] == []
