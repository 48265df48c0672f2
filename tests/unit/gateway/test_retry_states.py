"""A tenant sees, freezes, forgets, takes out and brings in what was learned of its retries."""

import json
import math
from collections.abc import Sequence
from dataclasses import replace

import httpx
import pytest

from gateway.routes.retry_states import MAX_IMPORT_BYTES
from gateway.usecases.keep_retry_states import FORMAT, MOST_IMPORTED
from stockade.core.api_keys import ApiKey, generate_key
from stockade.core.audit import EntryKind
from stockade.core.learned_states import LearnedState, Scope, StateWrite
from stockade.core.principals import Role
from stockade.infra.memory.memory_learned_states import MemoryLearnedStates
from stockade.infra.system_clock import SystemClock
from stockade.retry.budgets import Account
from stockade.retry.memory import Memory
from stockade.retry.parts import MOST_SHARED_BASES, Part
from stockade.retry.state import part_of, plain
from stockade.retry.types import Source
from tests.unit.gateway.installation import Installation, refused
from tests.unit.stockade.retry.contexts import BASIS, COMPLETED, REJECTED

FUNCTION: Scope = ("alice", "f", "1")
TENANT: Scope = ("alice",)
UPSTREAM: Scope = ("alice", "", "http_fetch:x")
MEANT = "?function=f&version=1"


def learned_by(tenant: str = "alice", retries: int = 30) -> Memory:
    memory, now_ms = Memory(), SystemClock().now_ms() - 10_000
    for i in range(60):
        source = Source(tenant, "f", 1, "http_fetch:x" if i % 2 else "")
        memory.observe(replace(COMPLETED, source=source, now_ms=now_ms + i))
    for i in range(retries):
        source = Source(tenant, "f", 1)
        memory.observe(
            replace(REJECTED, source=source, now_ms=now_ms + 99 + i, attempt=2, basis=BASIS)
        )
    memory.part((tenant,)).account = Account(earned=4, drawn=70, seen_ms=now_ms)
    return memory


async def keep(gateway: Installation, memory: Memory) -> None:
    writes = [StateWrite(key, 0, plain(part), "t") for key, part in memory.parts.items()]
    assert all(await gateway.services.learned.swap(writes))


async def kept(gateway: Installation, scope: Scope = FUNCTION) -> LearnedState:
    (found,) = await gateway.services.learned.load([scope])
    assert found is not None
    return found


async def part_in(gateway: Installation, scope: Scope = FUNCTION) -> Part:
    found = await kept(gateway, scope)
    return Part() if found.state is None else part_of(found.state)


async def test_a_function_that_nothing_is_known_of(gateway: Installation) -> None:
    await gateway.deploy()
    found = (await gateway.http.get("/v1/functions/f/retries")).json()
    assert (found["function"], found["version"], found["known"]) == ("f", 1, False)
    assert (found["retries"], found["needs"], found["budget"]) == ([], {}, None)
    assert found["first_attempts"]["success"] == 0.5
    refused(await gateway.http.get("/v1/functions/g/retries"), 404, "function.not_found")
    answer = await gateway.http.get("/v1/functions/f/retries?version=7")
    refused(answer, 404, "version.not_found")


async def test_what_was_learned_is_shown(gateway: Installation) -> None:
    await gateway.deploy()
    await keep(gateway, learned_by())
    found = (await gateway.http.get("/v1/functions/f/retries?version=1")).json()
    assert found["known"]
    assert found["readable"]
    assert not found["frozen"]
    assert not found["set_aside"]
    assert 100 < found["size_bytes"] <= 1024
    assert found["first_attempts"]["success"] > 0.9
    (rate,) = found["retries"]
    assert (rate["basis"], rate["success"] < 0.1, round(rate["trials"])) == (BASIS, True, 30)
    assert found["outage"]["failures"] == 30
    assert found["outage"]["is_out"]
    assert found["outage"]["remaining_ms"] > 0
    assert found["needs"]["fuel"]["p50"] == pytest.approx(1_000_000, rel=0.1)


async def test_all_of_a_tenants_states_in_pages_and_nobody_elses(gateway: Installation) -> None:
    await keep(gateway, learned_by())
    await keep(gateway, learned_by("bob"))
    names, after = [], None
    for _ in range(3):
        params = {"limit": "1"} | ({"after": after} if after is not None else {})
        answer = (await gateway.http.get("/v1/retries", params=params)).json()
        (one,) = answer["states"]
        names.append((one.get("function"), one.get("upstream")))
        after = answer["next"]
    assert names == [(None, None), (None, "http_fetch:x"), ("f", None)]
    assert after is None
    everything = (await gateway.http.get("/v1/retries")).json()["states"]
    assert everything[0]["budget"]["earned"] == 4
    assert everything[0]["budget"]["allowance"] == pytest.approx(40, abs=2)


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=201", "limit=x", f"after={'x' * 401}", "version=0", "functon=f"]
)
async def test_queries_are_read_strictly(gateway: Installation, query: str) -> None:
    for path in ("/v1/retries/export", "/v1/retries/export?function=f"):
        joined = f"{path}{'&' if '?' in path else '?'}{query}"
        await gateway.deploy()
        if "function=f" in path and ("limit" in query or "after" in query):
            continue
        refused(await gateway.http.get(joined), 400, "request.query_invalid")
    refused(await gateway.http.post("/v1/retries/reset?version=1"), 400, "request.query_invalid")
    refused(await gateway.http.post("/v1/retries/reset?function=F!"), 400, "function.name_invalid")


async def test_freezing_a_function_and_a_tenant(gateway: Installation) -> None:
    await gateway.deploy()
    await keep(gateway, learned_by())
    for meant, scope in ((MEANT, FUNCTION), ("", TENANT)):
        for _ in range(2):
            answer = await gateway.http.post(f"/v1/retries/freeze{meant}")
            assert answer.json() == {"frozen": True}
        assert (await kept(gateway, scope)).frozen
        assert (await kept(gateway, FUNCTION)).frozen
        assert (await gateway.http.get("/v1/functions/f/retries")).json()["frozen"]
        answer = await gateway.http.post(f"/v1/retries/unfreeze{meant}")
        assert answer.json() == {"frozen": False}
        assert not (await kept(gateway, FUNCTION)).frozen


async def test_a_reset_forgets_and_keeps_budgets_and_what_the_platform_was_told(
    gateway: Installation,
) -> None:
    await gateway.deploy()
    memory = learned_by()
    await keep(gateway, memory)
    answer = await gateway.http.post(f"/v1/retries/reset{MEANT}")
    assert answer.json() == {"forgotten": 1}
    assert await part_in(gateway) == Part()
    assert (await part_in(gateway, UPSTREAM)).outage.health.trials > 0
    answer = await gateway.http.post("/v1/retries/reset")
    assert answer.json() == {"forgotten": 2}
    assert await part_in(gateway, UPSTREAM) == Part()
    tenant = await part_in(gateway, TENANT)
    assert tenant.account == memory.part(TENANT).account
    (basis,) = tenant.rates
    assert not tenant.tells(basis)
    assert tenant.rates[basis].estimate(0.5, SystemClock().now_ms()) == pytest.approx(0.5, abs=0.2)
    again = await gateway.http.post("/v1/retries/reset")
    assert again.json() == {"forgotten": 1}


async def test_what_was_taken_out_can_be_brought_in(gateway: Installation) -> None:
    await gateway.deploy()
    await keep(gateway, learned_by())
    before = {scope: await part_in(gateway, scope) for scope in (FUNCTION, TENANT, UPSTREAM)}
    exported = (await gateway.http.get("/v1/retries/export")).json()
    assert (exported["format"], exported["tenant"], exported.pop("next")) == (FORMAT, "alice", None)
    (one,) = (await gateway.http.get(f"/v1/retries/export{MEANT}")).json()["states"]
    assert one in exported["states"]
    await gateway.http.post("/v1/retries/reset")
    answer = await gateway.http.post("/v1/retries/import", json=exported)
    assert answer.json() == {"imported": 3}
    for scope, part in before.items():
        found = await part_in(gateway, scope)
        assert (found.rates, found.firsts, found.needs) == (part.rates, part.firsts, part.needs)
        assert found.outage.health == part.outage.health
        assert found.outage.failures == 0
        assert found.account == part.account


def good(**change: object) -> dict[str, object]:
    state = json.loads(json.dumps(plain(learned_by().part(FUNCTION))))
    state[3][6] = 0
    return {"function": "f", "version": 1, "state": state, **change}


def body(*states: object, **change: object) -> dict[str, object]:
    return {"format": FORMAT, "tenant": "alice", "states": list(states), **change}


def bent(place: tuple[int, ...], value: object) -> dict[str, object]:
    entry = good()
    at = entry["state"]
    for step in place[:-1]:
        at = at[step]  # type: ignore[index]
    at[place[-1]] = value  # type: ignore[index]
    return entry


def overfull() -> dict[str, object]:
    """Every part within its bounds, and all of them together too large."""
    rate, full = [9999, 20_000, 65_535, 2**40, 1000, 1000], [400 + i // 2 for i in range(44)]
    bases = [["b" * 23 + str(i), *rate] for i in range(10)]
    needs = [[limit, *full] for limit in ("fuel", "memory", "wall")]
    outage = [*rate, 2**50, 2**40, 2**40, 2**40, *[600] * 16]
    return good(state=[2, bases, rate, outage, needs, []])


FUTURE_MS = 2**50
HOSTILE = [
    ("retries.state_invalid", bent((2, 0), -1)),
    ("retries.state_invalid", bent((2, 0), 1.5)),
    ("retries.state_invalid", bent((2, 1), 2**60)),
    ("retries.state_invalid", bent((2, 1), 20_001)),
    ("retries.state_invalid", bent((2, 1), "1")),
    ("retries.state_invalid", bent((2, 2), 65_536)),
    ("retries.state_invalid", bent((2, 4), 1001)),
    ("retries.state_invalid", bent((2, 3), FUTURE_MS)),
    ("retries.state_invalid", bent((3, 9), FUTURE_MS)),
    ("retries.state_invalid", bent((2,), None)),
    ("retries.state_invalid", bent((1,), [[f"b{i}", 1, 1, 0, 0, 0, 0] for i in range(11)])),
    ("retries.state_invalid", bent((1,), [["\x1b[2J", 1, 1, 0, 0, 0, 0]])),
    ("retries.state_invalid", bent((1,), [["b" * 25, 1, 1, 0, 0, 0, 0]])),
    ("retries.state_invalid", bent((4,), [["fuel", *([400, 1] * 23)]])),
    ("retries.state_invalid", good(state=[[[[[]]]]])),
    ("retries.state_invalid", good(state=[])),
    ("retries.state_invalid", overfull()),
    ("retries.version_unknown", bent((0,), 99)),
    ("retries.version_unknown", bent((0,), 0)),
    ("retries.state_invalid", good(version=0)),
    ("retries.state_invalid", good(version=None)),
    ("retries.state_invalid", good(upstream="http_fetch:x")),
    ("retries.state_invalid", good(function=None, version=None, upstream="x" * 301)),
    ("retries.state_invalid", good(function=None, version=None, upstream="a\nb")),
    ("function.name_invalid", good(function="../g")),
    ("version.not_found", good(function="g")),
    ("version.not_found", good(version=2)),
    ("request.unknown_field", good(tenant="bob")),
    ("request.invalid", good(state="AAAA")),
]


@pytest.mark.parametrize(("code", "entry"), HOSTILE)
async def test_a_state_that_is_none_refuses_all(
    gateway: Installation, code: str, entry: dict[str, object]
) -> None:
    await gateway.deploy()
    answer = await gateway.http.post("/v1/retries/import", json=body(good(), entry))
    assert answer.json()["code"] == code, answer.text
    assert len(answer.content) < 1000
    assert await part_in(gateway) == Part()


@pytest.mark.parametrize(
    ("code", "status", "change"),
    [
        ("retries.format_unknown", 400, {"format": "stockade.learned-retries.2"}),
        ("retries.tenant_differs", 400, {"tenant": "bob"}),
        ("retries.too_many_states", 413, {"states": [good()] * (MOST_IMPORTED + 1)}),
        ("request.unknown_field", 400, {"next": "f/1"}),
    ],
)
async def test_an_import_that_is_none_is_refused(
    gateway: Installation, code: str, status: int, change: dict[str, object]
) -> None:
    await gateway.deploy()
    answer = await gateway.http.post("/v1/retries/import", json=body(good(), **change))
    refused(answer, status, code)


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e999", "1" * 400])
async def test_numbers_that_are_none_never_enter(gateway: Installation, text: str) -> None:
    await gateway.deploy()
    sent = json.dumps(body(bent((2, 0), -12345))).replace("-12345", text)
    headers = {"content-type": "application/json"}
    answer = await gateway.http.post("/v1/retries/import", content=sent, headers=headers)
    assert answer.json()["code"] in {"request.invalid", "retries.state_invalid"}
    assert not math.isnan((await part_in(gateway)).firsts.trials)


async def test_an_import_that_is_too_large_is_refused(gateway: Installation) -> None:
    headers = {"content-type": "application/json"}
    answer = await gateway.http.post(
        "/v1/retries/import", content=b" " * (MAX_IMPORT_BYTES + 1), headers=headers
    )
    refused(answer, 413, "request.too_large")


async def test_whatever_a_tenant_brings_in_the_platform_hears_no_more_of_it(
    gateway: Installation,
) -> None:
    await keep(gateway, learned_by())
    (basis,) = (await part_in(gateway, TENANT)).rates
    empty = {"state": json.loads(json.dumps(plain(Part())))}
    for _ in range(3):
        answer = await gateway.http.post("/v1/retries/import", json=body(empty))
        assert answer.json() == {"imported": 1}
        assert not (await part_in(gateway, TENANT)).tells(basis)


async def test_imports_one_after_another_leave_a_tenants_state_readable_and_its_bases_known(
    gateway: Installation,
) -> None:
    await keep(gateway, learned_by())
    before = await part_in(gateway, TENANT)
    (basis,) = before.rates
    row = [0, 500, 0, SystemClock().now_ms(), 0, 0]
    for turn in range(3):
        bases = [[f"made-up-{turn}-{i}", *row] for i in range(MOST_SHARED_BASES)]
        empty = json.loads(json.dumps(plain(Part())))
        answer = await gateway.http.post(
            "/v1/retries/import", json=body({"state": [empty[0], bases, *empty[2:]]})
        )
        assert answer.json() == {"imported": 1}
        part = await part_in(gateway, TENANT)
        assert len(part.rates) == MOST_SHARED_BASES
        assert not part.tells(basis)
        assert part.account == before.account
        part.rate("a-new-one", MOST_SHARED_BASES)
        assert basis in part.rates, "what was brought gives way first"


async def test_another_tenants_are_not_there(gateway: Installation) -> None:
    await gateway.deploy()
    await keep(gateway, learned_by())
    async with gateway.client(await gateway.new_key("bob")) as bob:
        assert (await bob.get("/v1/retries")).json() == {"states": [], "next": None}
        refused(await bob.get("/v1/functions/f/retries"), 404, "function.not_found")
        for what in ("freeze", "unfreeze", "reset"):
            answer = await bob.post(f"/v1/retries/{what}{MEANT}")
            refused(answer, 404, "version.not_found")
        refused(await bob.get(f"/v1/retries/export{MEANT}"), 404, "version.not_found")
        assert (await bob.post("/v1/retries/reset")).json() == {"forgotten": 0}
    assert (await part_in(gateway)).rates


@pytest.mark.parametrize("role", [Role.VIEWER, Role.INVOKER, Role.DEVELOPER])
async def test_only_admins_change_them(gateway: Installation, role: Role) -> None:
    await gateway.deploy()
    text, made = generate_key("test")
    await gateway.catalog.add_key(ApiKey(made.id, "alice", "k", made.secret_hash, 0, role=role))
    async with gateway.client(text) as caller:
        assert (await caller.get("/v1/functions/f/retries")).status_code == 200
        calls = [caller.post(f"/v1/retries/{what}") for what in ("freeze", "unfreeze", "reset")]
        calls += [caller.get("/v1/retries/export"), caller.post("/v1/retries/import", json=body())]
        for call in calls:
            refused(await call, 403, "auth.denied")


async def test_the_audit_log_says_whose_state_was_changed(gateway: Installation) -> None:
    await gateway.deploy()
    for call in (f"freeze{MEANT}", "unfreeze?function=f", "reset"):
        assert (await gateway.http.post(f"/v1/retries/{call}")).status_code == 200
    entries = [good(), good(function=None, version=None, upstream="http_fetch:x")]
    answer = await gateway.http.post("/v1/retries/import", json=body(*entries))
    assert answer.json() == {"imported": 2}
    changes = [
        (entry.facts.call.rpartition("/")[2], entry.facts.object_kind, entry.facts.object)
        for entry in await gateway.services.audit.walk("alice", 0, 1000)
        if (entry.facts.action, entry.facts.kind) == ("manage_retries", EntryKind.DONE)
    ]
    assert changes == [
        ("freeze", "retry", "f/1"),
        ("unfreeze", "retry", "f"),
        ("reset", "retry", ""),
        ("import", "retry", "f/1, http_fetch:x"),
    ]


async def test_what_cannot_be_read_says_so_and_can_be_reset(gateway: Installation) -> None:
    await gateway.deploy()
    states = gateway.services.learned
    assert all(await states.swap([StateWrite(FUNCTION, 0, [99, "spoilt"], "t")]))
    found = (await gateway.http.get("/v1/functions/f/retries")).json()
    assert (found["readable"], found["known"], "retries" in found) == (False, True, False)
    assert (await gateway.http.get(f"/v1/retries/export{MEANT}")).json()["states"] == []
    await gateway.http.post(f"/v1/retries/reset{MEANT}")
    assert (await gateway.http.get("/v1/functions/f/retries")).json()["readable"]


class Contested(MemoryLearnedStates):
    """Somebody else writes each time; or the place is away."""

    away = False

    async def swap(self, writes: Sequence[StateWrite]) -> list[bool | None]:
        return [None if self.away else False] * len(writes)

    async def scopes(self, tenant: str) -> list[Scope] | None:
        return None if self.away else await super().scopes(tenant)


async def test_a_reset_that_never_wins_says_so(gateway: Installation) -> None:
    states = Contested(SystemClock())
    other = replace(gateway.services, learned=states)
    gateway.app.state.context = replace(gateway.app.state.context, services=other)
    await gateway.deploy()

    async def reset() -> httpx.Response:
        return await gateway.http.post(f"/v1/retries/reset{MEANT}")

    refused(await reset(), 503, "retries.busy")
    states.away = True
    refused(await reset(), 503, "queue.unavailable")
    refused(await gateway.http.get("/v1/retries"), 503, "queue.unavailable")
