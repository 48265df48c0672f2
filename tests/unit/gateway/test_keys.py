"""`/v1/keys`: roles, scopes, ends, rotation and revocation over HTTP."""

import pytest

from gateway.routes import keys as routes
from stockade.core.api_keys import generate_key
from stockade.core.principals import Role
from tests.unit.gateway.installation import Installation, refused

DAY_SECONDS = 24 * 3600


async def _made(gateway: Installation, **asked: object) -> dict[str, object]:
    answer = await gateway.http.post("/v1/keys", json={"name": "ci"} | asked)
    assert answer.status_code == 201, answer.text
    shown: dict[str, object] = answer.json()
    return shown


async def _status(gateway: Installation, key: object, path: str = "/v1/functions") -> int:
    async with gateway.client(str(key)) as http:
        return (await http.get(path)).status_code


@pytest.mark.parametrize(
    ("role", "statuses"),
    [
        (Role.VIEWER, [200, 404, 403, 403]),
        (Role.INVOKER, [200, 404, 403, 403]),
        (Role.DEVELOPER, [200, 404, 201, 403]),
        (Role.ADMIN, [200, 404, 201, 200]),
    ],
)
async def test_a_role_may_what_those_before_it_may(
    gateway: Installation, role: Role, statuses: list[int]
) -> None:
    module = (await gateway.upload()).json()["digest"]
    made = await _made(gateway, role=role)
    assert (made["role"], made["scopes"]) == (role, [])
    async with gateway.client(str(made["key"])) as http:
        answers = [
            await http.get("/v1/functions"),
            await http.get("/v1/functions/none"),
            await http.put("/v1/functions/f", json={"module": module}),
            await http.get("/v1/keys"),
        ]
    assert [answer.status_code for answer in answers] == statuses


async def test_a_viewer_does_not_invoke_and_is_told_why(gateway: Installation) -> None:
    await gateway.deploy()
    made = await _made(gateway, role="viewer")
    async with gateway.client(str(made["key"])) as http:
        problem = refused(await http.post("/v1/functions/f/invocations"), 403, "auth.denied")
    assert problem["facts"] == {"action": "invoke", "policies": []}


async def test_scopes_narrow_a_key_to_a_function(gateway: Installation) -> None:
    await gateway.deploy("f")
    await gateway.deploy("g")
    made = await _made(gateway, scopes=["invoke:f", "invoke:f"])
    assert made["scopes"] == ["invoke:f"]
    async with gateway.client(str(made["key"])) as http:
        assert (await http.post("/v1/functions/f/invocations")).status_code == 202
        for answer in (
            await http.post("/v1/functions/g/invocations"),
            await http.get("/v1/functions/f"),
            await http.get("/v1/keys"),
        ):
            refused(answer, 403, "auth.scope_missing")


async def test_a_key_ends_when_it_was_to(gateway: Installation) -> None:
    made = await _made(gateway, expires_in_seconds=60)
    now_ms = gateway.services.clock.now_ms()
    assert now_ms + 55_000 < int(str(made["expires_ms"])) <= now_ms + 60_000
    assert await _status(gateway, made["key"]) == 200


@pytest.mark.parametrize(
    ("asked", "status", "code"),
    [
        ({"role": "root"}, 400, "request.invalid"),
        ({"role": "ADMIN"}, 400, "request.invalid"),
        ({"scopes": ["everything"]}, 400, "key.scope_invalid"),
        ({"scopes": ["read:é"]}, 400, "key.scope_invalid"),
        ({"scopes": [f"read:f{n}" for n in range(33)]}, 400, "key.scope_invalid"),
        ({"expires_in_seconds": 0}, 400, "key.expiry_invalid"),
        ({"expires_in_seconds": -1}, 400, "key.expiry_invalid"),
        ({"expires_in_seconds": 2**62}, 400, "key.expiry_invalid"),
        ({"expires_in_seconds": 2**80}, 400, "key.expiry_invalid"),
        ({"expires_in_seconds": 1.5}, 400, "request.invalid"),
        ({"name": "../x"}, 400, "key.name_invalid"),
        ({"name": "a" * 64}, 400, "key.name_invalid"),
        ({"tenant": "mallory"}, 400, "request.unknown_field"),
    ],
    ids=str,
)
async def test_a_bad_key(
    gateway: Installation, asked: dict[str, object], status: int, code: str
) -> None:
    refused(await gateway.http.post("/v1/keys", json={"name": "ci"} | asked), status, code)
    assert len(await gateway.catalog.keys("alice")) == 1


async def test_a_narrowed_administrator_makes_no_wider_key(gateway: Installation) -> None:
    made = await _made(gateway, scopes=["administer", "read"])
    async with gateway.client(str(made["key"])) as http:
        inherited = await http.post("/v1/keys", json={"name": "child"})
        assert inherited.json()["scopes"] == ["administer", "read"]
        for asked in ({"scopes": []}, {"scopes": ["deploy"]}):
            answer = await http.post("/v1/keys", json={"name": "child"} | asked)
            refused(answer, 403, "key.exceeds_caller")
        whole = (await gateway.catalog.keys("alice"))[0]
        answer = await http.post(f"/v1/keys/{whole.id}/rotate", json={})
        refused(answer, 403, "key.exceeds_caller")
    assert len(await gateway.catalog.keys("alice")) == 3


async def test_a_key_that_ends_makes_none_that_outlives_it(gateway: Installation) -> None:
    made = await _made(gateway, role="admin", expires_in_seconds=DAY_SECONDS)
    forever = (await gateway.catalog.keys("alice"))[0]
    async with gateway.client(str(made["key"])) as http:
        inherited = await http.post("/v1/keys", json={"name": "child"})
        assert inherited.json()["expires_ms"] == made["expires_ms"]
        longer = {"name": "child", "expires_in_seconds": 2 * DAY_SECONDS}
        refused(await http.post("/v1/keys", json=longer), 403, "key.exceeds_caller")
        answer = await http.post(f"/v1/keys/{forever.id}/rotate", json={})
        refused(answer, 403, "key.exceeds_caller")
        assert (await http.post(f"/v1/keys/{made['id']}/rotate", json={})).status_code == 201


async def test_rotation_keeps_both_keys_for_a_while(gateway: Installation) -> None:
    old = await _made(gateway, role="developer", scopes=["read"], expires_in_seconds=DAY_SECONDS)
    answer = await gateway.http.post(f"/v1/keys/{old['id']}/rotate", json={"overlap_seconds": 60})
    new = answer.json()
    assert answer.status_code == 201
    assert [new[part] for part in ("name", "role", "scopes")] == ["ci", "developer", ["read"]]
    assert new["id"] != old["id"]
    lifetime_ms = new["expires_ms"] - new["created_ms"]
    assert lifetime_ms == pytest.approx(DAY_SECONDS * 1000, abs=2_000)
    assert await _status(gateway, old["key"]) == await _status(gateway, new["key"]) == 200
    stored = await gateway.catalog.find_key(str(old["id"]))
    assert stored is not None
    assert stored.expires_ms is not None
    assert stored.expires_ms <= gateway.services.clock.now_ms() + 60_000


async def test_rotation_without_overlap_ends_the_old_key_at_once(gateway: Installation) -> None:
    old = await _made(gateway)
    assert await _status(gateway, old["key"]) == 200
    answer = await gateway.http.post(f"/v1/keys/{old['id']}/rotate", json={"overlap_seconds": 0})
    assert answer.json()["expires_ms"] is None
    assert await _status(gateway, old["key"]) == 401
    assert await _status(gateway, answer.json()["key"]) == 200
    again = await gateway.http.post(f"/v1/keys/{old['id']}/rotate", json={})
    refused(again, 409, "key.not_in_force")


async def test_rotation_lengthens_no_life(gateway: Installation) -> None:
    old = await _made(gateway, expires_in_seconds=60)
    await gateway.http.post(f"/v1/keys/{old['id']}/rotate", json={})
    stored = await gateway.catalog.find_key(str(old["id"]))
    assert stored is not None
    assert stored.expires_ms == old["expires_ms"]


@pytest.mark.parametrize("overlap_seconds", [-1, 31 * DAY_SECONDS])
async def test_a_bad_overlap(gateway: Installation, overlap_seconds: int) -> None:
    old = await _made(gateway)
    asked = {"overlap_seconds": overlap_seconds}
    answer = await gateway.http.post(f"/v1/keys/{old['id']}/rotate", json=asked)
    refused(answer, 400, "key.expiry_invalid")


async def test_a_revoked_key_ends_at_once_and_stays_in_the_list(gateway: Installation) -> None:
    made = await _made(gateway)
    assert await _status(gateway, made["key"]) == 200
    assert (await gateway.http.delete(f"/v1/keys/{made['id']}")).status_code == 204
    assert (await gateway.http.delete(f"/v1/keys/{made['id']}")).status_code == 204
    assert await _status(gateway, made["key"]) == 401
    answer = await gateway.http.get("/v1/keys")
    listed = {one["id"]: one for one in answer.json()["keys"]}
    assert listed[str(made["id"])]["revoked_ms"] is not None
    assert str(made["key"]).rpartition("_")[2] not in answer.text
    rotated = await gateway.http.post(f"/v1/keys/{made['id']}/rotate", json={})
    refused(rotated, 409, "key.not_in_force")


async def test_another_tenants_key_reads_as_absent(gateway: Installation) -> None:
    text = await gateway.new_key("mallory")
    (theirs,) = await gateway.catalog.keys("mallory")
    for key_id in (theirs.id, "nosuchkey000", "%00", "%ED%A0%80", "x" * 2_000):
        refused(await gateway.http.delete(f"/v1/keys/{key_id}"), 404, "key.not_found")
        answer = await gateway.http.post(f"/v1/keys/{key_id}/rotate", json={})
        refused(answer, 404, "key.not_found")
    assert await _status(gateway, text) == 200


async def test_a_tenants_keys_are_bounded(
    gateway: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "MAX_KEYS", 3)
    await _made(gateway)
    third = await _made(gateway)
    for path in ("/v1/keys", f"/v1/keys/{third['id']}/rotate"):
        answer = await gateway.http.post(path, json={"name": "ci"} if path[-1] == "s" else {})
        refused(answer, 409, "key.too_many")
    await gateway.http.delete(f"/v1/keys/{third['id']}")
    await _made(gateway)


async def test_a_key_of_another_environment_is_told_apart_by_its_text_alone(
    gateway: Installation,
) -> None:
    text, _ = generate_key("prod")
    assert await _status(gateway, text) == 401
