"""`/v1/schedules`: set, shown, listed, paused, deleted; what is wrong is refused by its code."""

import base64
from dataclasses import replace
from datetime import datetime

import httpx
import pytest

from stockade.core.schedules import MAX_SCHEDULES
from tests.unit.gateway.installation import SETTINGS, Installation, installed, refused

NIGHTLY: dict[str, object] = {
    "function": "f",
    "cron": "30 2 * * *",
    "time_zone": "Europe/Berlin",
    "input": "größe",
    "priority": "low",
    "catch_up": "all",
}
MINUTELY: dict[str, object] = {"function": "f", "every_seconds": 60}


async def put(gateway: Installation, asked: object, name: str = "nightly") -> httpx.Response:
    return await gateway.http.put(f"/v1/schedules/{name}", json=asked)


async def test_a_schedule_is_set_and_shown_with_its_next_times(gateway: Installation) -> None:
    await gateway.deploy()
    answer = await put(gateway, NIGHTLY)
    shown = answer.json()
    assert answer.status_code == 201
    assert {name: shown[name] for name in NIGHTLY} == NIGHTLY
    assert (shown["paused"], shown["last_ms"], shown["refusal"]) == (False, None, None)
    times = shown["next_times"]
    assert len(times) == 5
    assert [one["time_ms"] for one in times] == sorted({one["time_ms"] for one in times})
    assert shown["next_ms"] == times[0]["time_ms"] > shown["created_ms"]
    assert all(one["utc"].endswith("Z") for one in times)
    assert all("T02:30:00+" in one["local"] or "T03:00:00+" in one["local"] for one in times)
    assert (await gateway.http.get("/v1/schedules/nightly")).json() == shown


async def test_an_interval_counts_from_its_creation_or_its_anchor(gateway: Installation) -> None:
    await gateway.deploy()
    shown = (await put(gateway, MINUTELY)).json()
    assert shown["next_ms"] == shown["created_ms"] + 60_000
    assert shown["anchor_ms"] is None
    for time in shown["next_times"]:
        for told in (time["utc"], time["local"]):
            assert datetime.fromisoformat(told).timestamp() * 1000 == pytest.approx(time["time_ms"])
    anchored = MINUTELY | {"anchor": "2020-01-01T00:00:07Z"}
    shown = (await put(gateway, anchored, "anchored")).json()
    assert shown["next_ms"] % 60_000 == 7_000
    assert shown["next_times"][0]["utc"].endswith(":07Z")
    assert shown["next_times"][0]["local"].endswith(":07+00:00")


async def test_the_same_again_changes_nothing(gateway: Installation) -> None:
    await gateway.deploy()
    first, again = await put(gateway, MINUTELY), await put(gateway, MINUTELY)
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()
    other = (await put(gateway, MINUTELY | {"input": "x"})).json()
    assert other["next_ms"] == first.json()["next_ms"]
    assert other["input"] == "x"
    stored = await gateway.services.schedules.schedule("alice", "nightly")
    assert stored is not None
    assert stored.definition.input == b"x"


async def test_another_timing_begins_now(gateway: Installation) -> None:
    await gateway.deploy()
    await put(gateway, NIGHTLY)
    shown = (await put(gateway, MINUTELY)).json()
    assert 0 < shown["next_ms"] - gateway.services.clock.now_ms() <= 60_000
    assert "cron" not in shown


async def test_bytes_that_are_no_text_go_as_base64(gateway: Installation) -> None:
    await gateway.deploy()
    text = base64.b64encode(b"\0\xff").decode()
    shown = (await put(gateway, MINUTELY | {"input_base64": text})).json()
    assert shown["input_base64"] == text
    assert "input" not in shown


async def test_paused_it_has_no_next_time_until_it_is_resumed(gateway: Installation) -> None:
    await gateway.deploy()
    await put(gateway, MINUTELY)
    shown = (await gateway.http.post("/v1/schedules/nightly/pause")).json()
    assert (shown["paused"], shown["next_ms"], shown["next_times"]) == (True, None, [])
    assert (await put(gateway, NIGHTLY)).json()["paused"] is True
    assert await gateway.services.schedules.next_due_ms() is None
    shown = (await gateway.http.post("/v1/schedules/nightly/resume")).json()
    assert (shown["paused"], len(shown["next_times"])) == (False, 5)
    assert await gateway.services.schedules.next_due_ms() == shown["next_ms"]


async def test_schedules_are_listed_without_inputs_and_deleted(gateway: Installation) -> None:
    await gateway.deploy()
    await put(gateway, NIGHTLY)
    await put(gateway, MINUTELY, "minutely")
    listed = (await gateway.http.get("/v1/schedules")).json()["schedules"]
    assert [one["name"] for one in listed] == ["minutely", "nightly"]
    assert "input" not in listed[1]
    assert (await gateway.http.delete("/v1/schedules/nightly")).status_code == 204
    refused(await gateway.http.delete("/v1/schedules/nightly"), 404, "schedule.not_found")
    assert len((await gateway.http.get("/v1/schedules")).json()["schedules"]) == 1


async def test_another_tenants_are_not_there(gateway: Installation) -> None:
    await gateway.deploy()
    await put(gateway, MINUTELY)
    async with gateway.client(await gateway.new_key("bob")) as bob:
        assert (await bob.get("/v1/schedules")).json() == {"schedules": []}
        for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/pause"), ("POST", "/resume")):
            answer = await bob.request(method, f"/v1/schedules/nightly{path}")
            refused(answer, 404, "schedule.not_found")
        answer = await bob.put("/v1/schedules/nightly", json=MINUTELY)
        refused(answer, 404, "function.not_found")
    assert (await gateway.http.get("/v1/schedules/nightly")).json()["paused"] is False


async def test_every_call_wants_a_key(gateway: Installation) -> None:
    async with gateway.client(None) as nobody:
        for method, path in (
            ("GET", ""),
            ("PUT", "/a"),
            ("GET", "/a"),
            ("DELETE", "/a"),
            ("POST", "/a/pause"),
            ("POST", "/a/resume"),
        ):
            answer = await nobody.request(method, f"/v1/schedules{path}")
            refused(answer, 401, "auth.key_missing")


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"cron": "* * * * * *"}, 400, "schedule.cron_invalid"),
        ({"cron": "@daily"}, 400, "schedule.cron_invalid"),
        ({"cron": ""}, 400, "schedule.cron_invalid"),
        ({"cron": "1," * 5000 + "1 * * * *"}, 400, "schedule.cron_invalid"),
        ({"cron": "0 0 30 2 *"}, 400, "schedule.never_fires"),
        ({"cron": "0 0 */30 2 MON#5"}, 400, "schedule.never_fires"),
        ({"time_zone": "Mars/Olympus"}, 400, "schedule.time_zone_unknown"),
        ({"time_zone": "../../etc/passwd"}, 400, "schedule.time_zone_unknown"),
        ({"time_zone": "\0"}, 400, "schedule.time_zone_unknown"),
        ({"every_seconds": 60}, 400, "schedule.timing_invalid"),
        ({"anchor": "2020-01-01T00:00:00Z"}, 400, "schedule.timing_invalid"),
        ({"cron": None}, 400, "schedule.timing_invalid"),
        ({"cron": None, "every_seconds": 60}, 400, "schedule.timing_invalid"),
        ({"input_base64": "AA=="}, 400, "schedule.input_invalid"),
        ({"input": None, "input_base64": "?"}, 400, "schedule.input_invalid"),
        ({"input": None, "input_base64": "ü"}, 400, "schedule.input_invalid"),
        ({"input": "x" * (32 * 1024 + 1)}, 413, "schedule.input_too_large"),
        ({"input": "x" * 5000, "function": "small"}, 413, "schedule.input_too_large"),
        ({"function": "absent"}, 404, "function.not_found"),
        ({"function": "A"}, 400, "function.name_invalid"),
        ({"alias": "absent"}, 404, "alias.not_found"),
        ({"version": 9}, 404, "version.not_found"),
        ({"version": 2**63}, 404, "version.not_found"),
        ({"version": 1, "alias": "prod"}, 400, "request.invalid"),
        ({"priority": "first"}, 400, "request.invalid"),
        ({"catch_up": "some"}, 400, "request.invalid"),
        ({"input": 7}, 400, "request.invalid"),
        ({"every": 7}, 400, "request.unknown_field"),
    ],
)
async def test_what_is_wrong_is_refused(
    gateway: Installation, change: dict[str, object], status: int, code: str
) -> None:
    await gateway.deploy()
    await gateway.deploy("small", limits={"input_bytes": 100})
    refused(await put(gateway, NIGHTLY | change), status, code)
    assert (await gateway.http.get("/v1/schedules")).json() == {"schedules": []}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"every_seconds": 0}, "schedule.interval_invalid"),
        ({"every_seconds": -5}, "schedule.interval_invalid"),
        ({"every_seconds": 10**30}, "schedule.interval_invalid"),
        ({"every_seconds": 0.5}, "request.invalid"),
        ({"time_zone": "UTC"}, "schedule.timing_invalid"),
        ({"anchor": "yesterday"}, "schedule.anchor_invalid"),
        ({"anchor": "9999-01-01T00:00:00Z"}, "schedule.anchor_invalid"),
    ],
)
async def test_a_wrong_interval_is_refused(
    gateway: Installation, change: dict[str, object], code: str
) -> None:
    await gateway.deploy()
    refused(await put(gateway, MINUTELY | change), 400, code)


async def test_an_anchor_may_be_long_ago(gateway: Installation) -> None:
    await gateway.deploy()
    shown = (await put(gateway, MINUTELY | {"anchor": "0002-01-01T00:00:00Z"})).json()
    assert 0 < shown["next_ms"] - gateway.services.clock.now_ms() <= 60_000


@pytest.mark.parametrize("name", ["A", "a b", "a" * 64, "a%00", "%C3%A9", "-a"])
async def test_a_bad_name_is_refused(gateway: Installation, name: str) -> None:
    for method, path in (("PUT", ""), ("GET", ""), ("DELETE", ""), ("POST", "/pause")):
        answer = await gateway.http.request(method, f"/v1/schedules/{name}{path}", json=MINUTELY)
        refused(answer, 400, "schedule.name_invalid")


async def test_an_input_goes_with_its_invocation_or_is_refused() -> None:
    small = SETTINGS.model_copy(update={"inline_input_bytes": 100})
    async with installed(settings=small) as gateway:
        await gateway.deploy()
        assert (await put(gateway, MINUTELY | {"input": "x" * 100})).status_code == 201
        answer = await put(gateway, MINUTELY | {"input": "x" * 101})
        refused(answer, 413, "schedule.input_too_large")


async def test_a_tenant_has_as_many_as_it_may(gateway: Installation) -> None:
    await gateway.deploy()
    await put(gateway, MINUTELY, "s")
    stored = await gateway.services.schedules.schedule("alice", "s")
    assert stored is not None

    for number in range(MAX_SCHEDULES - 1):
        await gateway.services.schedules.add(replace(stored, name=f"s{number}"), MAX_SCHEDULES)
    refused(await put(gateway, MINUTELY, "more"), 409, "schedule.too_many")
    assert (await put(gateway, MINUTELY, "s")).status_code == 200
