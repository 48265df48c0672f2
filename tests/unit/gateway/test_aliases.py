"""Aliases over HTTP: shares, promotion, rollback, history, and changes that meet each other."""

import asyncio

import httpx
import pytest

from tests.unit.gateway.installation import Installation, installed, refused

PROD = "/v1/functions/f/aliases/prod"
CANARY = "/v1/functions/f/aliases/canary"


@pytest.fixture(autouse=True)
async def three_versions(gateway: Installation) -> None:
    """Of the function `f`."""
    for fuel in (1, 2, 3):
        await gateway.deploy(limits={"fuel": fuel})


async def weights(gateway: Installation, path: str = PROD) -> dict[str, int]:
    shown: dict[str, int] = (await gateway.http.get(path)).json()["weights"]
    return shown


async def promote(gateway: Installation, **asked: object) -> httpx.Response:
    return await gateway.http.post(f"{PROD}/promote", json=asked)


async def test_an_alias_points_and_tells_who_pointed_it(gateway: Installation) -> None:
    refused(await gateway.http.get(PROD), 404, "alias.not_found")
    refused(await gateway.http.get("/v1/functions/f?alias=prod"), 404, "alias.not_found")
    put = await gateway.http.put(PROD, json={"version": 1})
    shown = put.json()
    assert (put.status_code, put.headers["etag"]) == (201, '"1"')
    assert (shown["function"], shown["alias"], shown["weights"]) == ("f", "prod", {"1": 1})
    assert (shown["revision"], shown["percent"], shown["changed"]) == (1, {"1": 100.0}, True)
    assert shown["changed_by"] == gateway.key.split("_")[2]
    assert (await gateway.http.get("/v1/functions/f?alias=prod")).json()["version"] == 1
    put = await gateway.http.put(PROD, json={"weights": {"2": 10, "1": 90}})
    assert (put.status_code, put.json()["weights"]) == (200, {"1": 90, "2": 10})
    got = await gateway.http.get(PROD)
    assert (got.headers["etag"], got.json()) == ('"2"', _without_changed(put))


def _without_changed(answer: httpx.Response) -> dict[str, object]:
    return {key: value for key, value in answer.json().items() if key != "changed"}


async def test_the_same_again_is_no_change(gateway: Installation) -> None:
    for changed in (True, False):
        put = await gateway.http.put(PROD, json={"version": 1})
        assert (put.json()["changed"], put.json()["revision"]) == (changed, 1)


@pytest.mark.parametrize(
    ("asked", "status", "code"),
    [
        ({}, 400, "alias.weights_invalid"),
        ({"version": 1, "weights": {"1": 1}}, 400, "alias.weights_invalid"),
        ({"version": 1, "percent": {"1": 100}}, 400, "alias.weights_invalid"),
        ({"weights": {}}, 400, "alias.weights_invalid"),
        ({"weights": {"1": 0}}, 400, "alias.weights_invalid"),
        ({"weights": {"1": -1}}, 400, "alias.weights_invalid"),
        ({"weights": {"1": 10_001}}, 400, "alias.weights_invalid"),
        ({"weights": {"0": 1}}, 400, "alias.weights_invalid"),
        ({"weights": {str(n): 1 for n in range(1, 18)}}, 400, "alias.weights_invalid"),
        ({"weights": {"x": 1}}, 400, "request.invalid"),
        ({"weights": {"1": 1.5}}, 400, "request.invalid"),
        ({"percent": {"1": 95, "2": 6}}, 400, "alias.percent_invalid"),
        ({"percent": {"1": 95, "2": 4.99}}, 400, "alias.percent_invalid"),
        ({"percent": {"1": 99.999, "2": 0.001}}, 400, "alias.percent_invalid"),
        ({"percent": {}}, 400, "alias.percent_invalid"),
        ({"version": 9}, 404, "version.not_found"),
        ({"percent": {"1": 50, "9": 50}}, 404, "version.not_found"),
    ],
)
async def test_a_bad_alias(
    gateway: Installation, asked: dict[str, object], status: int, code: str
) -> None:
    refused(await gateway.http.put(PROD, json=asked), status, code)
    refused(await gateway.http.get(PROD), 404, "alias.not_found")


@pytest.mark.parametrize(
    "asked",
    [{"version": "canary"}, {"weights": {"canary": 1}}, {"alias": "canary"}, {"version": "2"}],
)
async def test_an_alias_cannot_point_to_an_alias_so_there_are_no_loops(
    gateway: Installation, asked: dict[str, object]
) -> None:
    await gateway.http.put(CANARY, json={"version": 2})
    answer = await gateway.http.put(PROD, json=asked)
    assert answer.status_code == 400
    assert answer.json()["code"] in {"request.invalid", "request.unknown_field"}
    refused(await gateway.http.get(PROD), 404, "alias.not_found")


async def test_a_promotion_copies_so_two_promotions_make_no_loop(gateway: Installation) -> None:
    await gateway.http.put(PROD, json={"version": 1})
    await gateway.http.put(CANARY, json={"version": 2})
    await promote(gateway, **{"from": "canary"})
    await gateway.http.post(f"{CANARY}/promote", json={"from": "prod"})
    await gateway.http.put(CANARY, json={"version": 3})
    assert (await weights(gateway), await weights(gateway, CANARY)) == ({"2": 1}, {"3": 1})
    refused(await promote(gateway, **{"from": "prod"}), 400, "alias.source_invalid")


async def test_percentages(gateway: Installation) -> None:
    put = await gateway.http.put(PROD, json={"percent": {"1": 99.5, "2": 0.5}})
    assert put.json()["weights"] == {"1": 199, "2": 1}
    assert put.json()["percent"] == {"1": 99.5, "2": 0.5}


@pytest.mark.parametrize(
    "alias", ["UPPER", "a" * 64, "a_b", "%2e%2e", "a%00b", "%D0%B0", "a%CC%81", "-x", "a%252fb"]
)
async def test_a_bad_name(gateway: Installation, alias: str) -> None:
    path = f"/v1/functions/f/aliases/{alias}"
    for call in (
        gateway.http.put(path, json={"version": 1}),
        gateway.http.get(path),
        gateway.http.delete(path),
        gateway.http.get(f"{path}/history"),
        gateway.http.post(f"{path}/promote", json={"version": 1}),
        gateway.http.post(f"{path}/rollback"),
        gateway.invoke(query=f"?alias={alias}"),
        gateway.http.get(f"/v1/functions/f/diff?from={alias}"),
        gateway.http.post(f"{PROD}/promote", json={"from": alias}),
    ):
        refused(await call, 400, "alias.name_invalid")


@pytest.mark.parametrize("alias", ["latest", "7", "007", "xn--80ak6aa92e"])
async def test_a_reserved_name(gateway: Installation, alias: str) -> None:
    path = f"/v1/functions/f/aliases/{alias}"
    refused(await gateway.http.put(path, json={"version": 1}), 400, "alias.name_reserved")
    answer = await gateway.http.post(f"{path}/promote", json={"version": 1})
    refused(answer, 400, "alias.name_reserved")
    refused(await gateway.http.get(path), 404, "alias.not_found")


async def test_weights_share_invocations_out_and_an_id_sticks(gateway: Installation) -> None:
    await gateway.http.put(PROD, json={"percent": {"1": 80, "2": 20}})
    resolver = gateway.app.state.context.resolver

    async def drawn() -> list[int]:
        return [
            (await resolver.resolve("alice", "f", "prod", None, str(n))).version for n in range(500)
        ]

    first = await drawn()
    assert await drawn() == first
    assert 55 <= first.count(2) <= 145  # 100 expected, five standard deviations of 9 either side
    await gateway.http.put(PROD, json={"percent": {"1": 50, "2": 50}})
    moved = {pair for pair in zip(first, await drawn(), strict=True) if pair[0] != pair[1]}
    assert moved == {(1, 2)}


async def test_the_draw_is_the_invocations_id_and_a_replay_does_not_draw_again(
    gateway: Installation,
) -> None:
    await gateway.http.put(PROD, json={"percent": {"1": 50, "2": 50}})
    resolver = gateway.app.state.context.resolver
    path = "/v1/functions/f/invocations?alias=prod"
    for number in range(12):
        key = {"idempotency-key": f"k{number}"}
        ids = {(await gateway.http.post(path, headers=key)).json()["id"] for _ in range(4)}
        assert len(ids) == 1
        record = (await gateway.http.get(f"/v1/invocations/{ids.pop()}")).json()
        drawn = await resolver.resolve("alice", "f", "prod", None, record["id"])
        assert record["version"] == drawn.version


async def test_a_gradual_promotion_and_a_rollback(gateway: Installation) -> None:
    await gateway.http.put(PROD, json={"version": 1})
    answer = await promote(gateway, version=2, percent=5)
    assert answer.json()["percent"] == {"1": 95.0, "2": 5.0}
    answer = await promote(gateway, version=2, percent=5)
    assert (answer.json()["changed"], answer.json()["revision"]) == (False, 2)
    await promote(gateway, version=2, percent=50)
    await promote(gateway, version=2)
    assert await weights(gateway) == {"2": 1}
    back = [await gateway.http.post(f"{PROD}/rollback") for _ in range(3)]
    shares = [answer.json()["percent"] for answer in back]
    assert shares == [{"1": 50.0, "2": 50.0}, {"1": 95.0, "2": 5.0}, {"1": 100.0}]
    refused(await gateway.http.post(f"{PROD}/rollback"), 409, "alias.no_earlier")
    assert (await gateway.http.get("/v1/functions/f?alias=prod")).json()["version"] == 1


async def test_a_rollback_to_a_revision_and_one_asked_for_twice(gateway: Installation) -> None:
    for version in (1, 2, 3):
        await gateway.http.put(PROD, json={"version": version})
    answer = await gateway.http.post(f"{PROD}/rollback?revision=1")
    assert (answer.json()["weights"], answer.json()["revision"]) == ({"1": 1}, 4)
    refused(await gateway.http.post(f"{PROD}/rollback?revision=9"), 404, "alias.revision_not_found")
    refused(await gateway.http.post(f"{PROD}/rollback?revision=x"), 400, "request.query_invalid")
    await gateway.http.put(PROD, json={"version": 3})
    seen = {"if-match": '"5"'}
    answers = [await gateway.http.post(f"{PROD}/rollback", headers=seen) for _ in range(2)]
    assert [one.json()["changed"] for one in answers] == [True, False]
    assert await weights(gateway) == {"1": 1}


@pytest.mark.parametrize(
    ("asked", "status", "code"),
    [
        ({}, 400, "alias.source_invalid"),
        ({"version": 1, "from": "canary"}, 400, "alias.source_invalid"),
        ({"from": "nothing"}, 404, "alias.not_found"),
        ({"version": 9}, 404, "version.not_found"),
        ({"version": 0}, 400, "alias.weights_invalid"),
        ({"version": 2, "percent": 0}, 400, "alias.percent_invalid"),
        ({"version": 2, "percent": 101}, 400, "alias.percent_invalid"),
        ({"version": 2, "share": 5}, 400, "request.unknown_field"),
    ],
)
async def test_a_bad_promotion(
    gateway: Installation, asked: dict[str, object], status: int, code: str
) -> None:
    await gateway.http.put(PROD, json={"version": 1})
    await gateway.http.put(CANARY, json={"version": 2})
    refused(await promote(gateway, **asked), status, code)
    assert await weights(gateway) == {"1": 1}


async def test_two_who_saw_the_same_do_not_overwrite_each_other(gateway: Installation) -> None:
    await gateway.http.put(PROD, json={"version": 1})
    calls = (
        gateway.http.post(f"{PROD}/promote", json={"version": v}, headers={"if-match": '"1"'})
        for v in (2, 3)
    )
    answers = await asyncio.gather(*calls)
    assert sorted(one.status_code for one in answers) == [200, 412]
    lost = next(one for one in answers if one.status_code == 412)
    assert refused(lost, 412, "alias.changed")["facts"] == {"revision": 2, "expected": 1}
    for call in (
        gateway.http.put(PROD, json={"version": 1}, headers={"if-match": '"1"'}),
        gateway.http.put(PROD, json={"version": 1}, headers={"if-none-match": "*"}),
        gateway.http.delete(PROD, headers={"if-match": '"1"'}),
        gateway.http.post(f"{PROD}/rollback", headers={"if-match": '"7"'}),
    ):
        refused(await call, 412, "alias.changed")


@pytest.mark.parametrize(
    "headers",
    [{"if-match": "3"}, {"if-match": "*"}, {"if-match": 'W/"3"'}, {"if-match": '"1", "2"'},
     {"if-match": '"9999999999"'}, {"if-none-match": '"1"'},
     {"if-none-match": "*", "if-match": '"1"'}],
)  # fmt: skip
async def test_a_condition_that_cannot_be_read(
    gateway: Installation, headers: dict[str, str]
) -> None:
    answer = await gateway.http.put(PROD, json={"version": 1}, headers=headers)
    refused(answer, 400, "request.header_invalid")


async def test_aliases_are_listed_and_deleted_and_their_history_stays(
    gateway: Installation,
) -> None:
    await gateway.http.put(PROD, json={"version": 1})
    await gateway.http.put(CANARY, json={"version": 2})
    await promote(gateway, **{"from": "canary"})
    listed = (await gateway.http.get("/v1/functions/f/aliases")).json()["aliases"]
    assert [(one["alias"], one["weights"]) for one in listed] == [
        ("canary", {"2": 1}),
        ("prod", {"2": 1}),
    ]
    assert (await gateway.http.delete(PROD)).status_code == 204
    refused(await gateway.http.delete(PROD), 404, "alias.not_found")
    refused(await gateway.invoke(query="?alias=prod"), 404, "alias.not_found")
    changes = (await gateway.http.get(f"{PROD}/history")).json()["changes"]
    assert [(one["verb"], one["from"], one["to"]) for one in changes] == [
        ("delete", {"2": 1}, None),
        ("promote", {"1": 1}, {"2": 1}),
        ("set", None, {"1": 1}),
    ]
    assert {one["by"] for one in changes} == {gateway.key.split("_")[2]}


async def test_there_is_nothing_of_a_function_that_is_not_there(gateway: Installation) -> None:
    base = "/v1/functions/nothing/aliases"
    for call in (
        gateway.http.get(base),
        gateway.http.get(f"{base}/prod"),
        gateway.http.get(f"{base}/prod/history"),
        gateway.http.put(f"{base}/prod", json={"version": 1}),
        gateway.http.post(f"{base}/prod/promote", json={"version": 1}),
        gateway.http.post(f"{base}/prod/rollback"),
        gateway.http.delete(f"{base}/prod"),
    ):
        refused(await call, 404, "function.not_found")


async def test_another_tenants_alias_reads_as_absent(gateway: Installation) -> None:
    await gateway.http.put(PROD, json={"version": 1})
    async with gateway.client(await gateway.new_key("bob")) as other:
        for call in (
            other.get(PROD),
            other.get(f"{PROD}/history"),
            other.post(f"{PROD}/promote", json={"version": 1}),
            other.post(f"{PROD}/rollback"),
            other.delete(PROD),
        ):
            refused(await call, 404, "function.not_found")


async def test_what_moved_between_the_look_and_the_change_is_told() -> None:
    async with installed() as gateway:
        for fuel in (1, 2, 3):
            await gateway.deploy(limits={"fuel": fuel})
        await gateway.http.put(PROD, json={"version": 1})
        await gateway.http.put(CANARY, json={"version": 2})
        catalog = gateway.catalog
        asked = catalog.change_alias

        async def meanwhile(*given: object) -> object:
            catalog.change_alias = asked  # type: ignore[method-assign] # the store's other user
            await gateway.http.put(CANARY, json={"version": 3})
            return await asked(*given)  # type: ignore[arg-type] # as they came

        catalog.change_alias = meanwhile  # type: ignore[method-assign, assignment]
        answer = await promote(gateway, **{"from": "canary"})
        assert refused(answer, 412, "alias.changed")["retryable"]
        assert await weights(gateway) == {"1": 1}
