"""Diffs, and deploys that are only rehearsed: everything is told, nothing is written."""

import base64
import copy
from pathlib import Path

import pytest

from gateway.usecases.refusals import Refusals
from registry.signature_format import split_envelope
from stockade.core.egress import EgressPolicy
from stockade.core.errors import StockadeError
from stockade.infra.policies.cedar_policies import CedarPolicies
from stockade.infra.policies.policy_text import Source, read_sources
from tests.guest import guests
from tests.unit.gateway.installation import GOOD, Installation, installed, refused
from tests.unit.registry.signed_modules import BODY, signed

POLICY_DIR = Path(__file__).parents[3] / "policies" / "authorization"
F = "/v1/functions/f"
DRY = f"{F}?dry_run=true"
CLOCK = signed(
    guests.module("(unreachable)", imports='(import "stockade:v1" "now_ms" (func (result i64)))')
)
FORBID = """
@id("no-big-memory")
forbid (principal, action == Action::"deploy", resource)
when { context.memory_bytes > 1048576 };
"""


async def diff(gateway: Installation, query: str) -> dict[str, object]:
    answer = await gateway.http.get(f"{F}/diff?{query}")
    assert answer.status_code == 200, answer.text
    shown: dict[str, object] = answer.json()
    return shown


async def test_a_diff_tells_what_differs_and_no_value_of_the_environment(
    gateway: Installation,
) -> None:
    await gateway.deploy(env={"A": "hush", "B": "1", "C": "1"}, grants=["log"])
    digest = (await gateway.upload(CLOCK)).json()["digest"]
    asked = {
        "module": digest,
        "limits": {"fuel": 7},
        "grants": ["log", "now_ms"],
        "retry": {"policy": "never"},
        "concurrency": 3,
        "env": {"A": "hush-hush", "B": "1", "D": "x"},
    }
    assert (await gateway.http.put(F, json=asked)).status_code == 201
    shown = await diff(gateway, "from=1&to=2")
    changes = shown["changes"]
    assert isinstance(changes, dict)
    assert (shown["name"], shown["from"], shown["to"]) == ("f", 1, 2)
    assert changes["module"]["to"] == digest
    assert changes["imports"] == {"added": ["stockade:v1.now_ms"]}
    assert changes["grants"] == {"added": ["now_ms"]}
    assert changes["limits"] == {"fuel": {"from": 1_000_000_000, "to": 7}}
    assert changes["retry"] == {"policy": {"from": "fixed", "to": "never"}}
    assert changes["concurrency"] == {"from": None, "to": 3}
    assert changes["env"] == {"added": ["D"], "removed": ["C"], "changed": ["A"]}
    assert changes["deterministic"] == {"from": True, "to": False}
    assert set(changes["size_bytes"]) == {"from", "to"}
    assert "hush" not in str(shown)


async def test_a_diff_of_aliases_and_the_latest(gateway: Installation) -> None:
    for fuel in (1, 2, 3):
        await gateway.deploy(limits={"fuel": fuel})
    weights = {"weights": {"1": 10, "2": 90}}
    await gateway.http.put(f"{F}/aliases/prod", json=weights)
    shown = await diff(gateway, "from=prod")
    assert (shown["from"], shown["to"]) == (2, 3)
    assert shown["changes"] == {"limits": {"fuel": {"from": 2, "to": 3}}}
    assert (await diff(gateway, "from=3&to=latest"))["changes"] == {}
    for query, code in (
        ("from=9", "version.not_found"),
        ("from=0", "version.not_found"),
        ("from=99999999999999999999", "version.not_found"),
        ("from=1&to=canary", "alias.not_found"),
    ):
        refused(await gateway.http.get(f"{F}/diff?{query}"), 404, code)
    refused(await gateway.http.get("/v1/functions/g/diff?from=prod"), 404, "function.not_found")


async def test_a_diff_without_the_earlier_module_tells_the_rest(gateway: Installation) -> None:
    await gateway.deploy(limits={"fuel": 1})
    await gateway.deploy(limits={"fuel": 2})
    gateway.catalog._modules.clear()
    assert (await diff(gateway, "from=1"))["changes"] == {"limits": {"fuel": {"from": 1, "to": 2}}}


async def test_a_rehearsal_tells_what_would_change_and_writes_nothing(
    gateway: Installation,
) -> None:
    module = (await gateway.deploy(limits={"fuel": 1})).json()["module"]
    await gateway.deploy(limits={"fuel": 2})
    await gateway.http.put(f"{F}/aliases/prod", json={"version": 1})
    before = copy.deepcopy(gateway.catalog.__dict__["_functions"])
    asked = {"module": module, "limits": {"fuel": 3}, "message": "Would it?"}
    shown = (await gateway.http.put(DRY, json=asked)).json()
    assert shown == {
        "dry_run": True,
        "name": "f",
        "version": 3,
        "creates": True,
        "against": 2,
        "changes": {"limits": {"fuel": {"from": 2, "to": 3}}},
        "refusals": [],
    }
    shown = (await gateway.http.put(f"{DRY}&against=prod", json=asked)).json()
    assert (shown["against"], shown["version"]) == (1, 3)
    shown = (await gateway.http.put(DRY, json=asked | {"limits": {"fuel": 2}})).json()
    assert (shown["creates"], shown["version"], shown["changes"]) == (False, 2, {})
    new = (await gateway.http.put("/v1/functions/new?dry_run=true", json=asked)).json()
    assert (new["creates"], new["version"], new["against"]) == (True, 1, None)
    assert gateway.catalog.__dict__["_functions"] == before
    refused(await gateway.http.get("/v1/functions/new"), 404, "function.not_found")


async def test_a_rehearsal_tells_every_refusal_at_once() -> None:
    async with installed(egress_policy=EgressPolicy(denied_hosts=("denied.example",))) as gateway:
        digest = (await gateway.upload(CLOCK)).json()["digest"]
        asked = {
            "module": digest,
            "limits": {"fuel": 10**30, "fule": 1, "wall_ms": 0},
            "grants": ["root", "http_fetch:GET https://denied.example"],
            "retry": {"policy": "always"},
            "concurrency": 0,
            "env": {"": "x"},
            "message": "a\nb",
        }
        shown = (await gateway.http.put("/v1/functions/xn--a?dry_run=true", json=asked)).json()
        assert [one["code"] for one in shown["refusals"]] == [
            "function.name_reserved",
            "limits.above_ceiling",
            "limits.unknown",
            "limits.not_positive",
            "function.grant_unknown",
            "function.grant_missing",
            "function.grant_forbidden",
            "function.retry_invalid",
            "function.concurrency_invalid",
            "function.env_invalid",
            "function.message_invalid",
        ]


async def test_a_rehearsal_names_the_policy_that_would_say_no() -> None:
    policies = CedarPolicies([*read_sources(POLICY_DIR), Source("own.cedar", FORBID.encode())])
    async with installed(policies=policies) as strict:
        digest = (await strict.upload()).json()["digest"]
        asked = {"module": digest, "limits": {"fuel": 10**30}}
        shown = (await strict.http.put(DRY, json=asked)).json()
        assert [one["code"] for one in shown["refusals"]] == ["limits.above_ceiling", "auth.denied"]
        assert shown["refusals"][1]["facts"]["policies"] == ["no-big-memory"]
        fits = {"module": digest, "limits": {"memory_bytes": 1024 * 1024}}
        assert (await strict.http.put(DRY, json=fits)).json()["refusals"] == []


async def test_a_rehearsal_without_the_module_tells_the_rest(gateway: Installation) -> None:
    asked = {"module": "sha256:" + "0" * 64, "concurrency": 0}
    shown = (await gateway.http.put(DRY, json=asked)).json()
    codes = [one["code"] for one in shown["refusals"]]
    assert codes == ["module.not_found", "function.concurrency_invalid"]
    assert (shown["creates"], shown["changes"]) == (True, {})


def along(content: bytes, **asked: object) -> dict[str, object]:
    return {"wasm_base64": base64.b64encode(content).decode()} | asked


async def test_a_module_that_comes_along_is_judged_whole_and_stored_nowhere(
    gateway: Installation,
) -> None:
    await gateway.deploy()
    blobs = len(gateway.blobs._blobs)
    shown = (await gateway.http.put(DRY, json=along(CLOCK))).json()
    assert [one["code"] for one in shown["refusals"]] == ["function.grant_missing"]
    assert shown["changes"]["imports"] == {"added": ["stockade:v1.now_ms"]}
    granted = along(CLOCK, grants=["now_ms"])
    shown = (await gateway.http.put(DRY, json=granted)).json()
    assert (shown["refusals"], shown["version"], shown["creates"]) == ([], 2, True)
    digest = shown["changes"]["module"]["to"]
    refused(await gateway.http.get(f"/v1/modules/{digest}"), 404, "module.not_found")
    assert len(gateway.blobs._blobs) == blobs
    assert len(gateway.compiler.compiled) == 3  # one was uploaded, the other tried twice


async def test_a_known_module_that_comes_along_is_the_one_that_is_there(
    gateway: Installation,
) -> None:
    await gateway.deploy()
    shown = (await gateway.http.put(DRY, json=along(GOOD))).json()
    assert (shown["creates"], shown["version"], shown["refusals"]) == (False, 1, [])


@pytest.mark.parametrize(
    ("content", "code"),
    [(BODY, "module.unsigned"), (b"text", "module.not_wasm"), (GOOD[:-1], "module.malformed")],
)
async def test_a_module_that_would_not_be_taken_is_told(
    gateway: Installation, content: bytes, code: str
) -> None:
    shown = (await gateway.http.put(DRY, json=along(content, concurrency=0))).json()
    codes = [one["code"] for one in shown["refusals"]]
    assert codes == [code, "function.concurrency_invalid"]


async def test_a_detached_signature_comes_along(gateway: Installation) -> None:
    envelope = split_envelope(GOOD)
    assert envelope.signature is not None
    signature = base64.b64encode(envelope.signature).decode()
    asked = along(envelope.body, signature_base64=signature)
    assert (await gateway.http.put(DRY, json=asked)).json()["refusals"] == []


async def test_a_module_comes_along_for_a_rehearsal_only_and_within_bounds(
    gateway: Installation,
) -> None:
    refused(await gateway.http.put(F, json=along(GOOD)), 400, "request.unknown_field")
    asked = {"wasm_base64": "?"}
    refused(await gateway.http.put(DRY, json=asked), 400, "request.invalid")
    large = {"wasm_base64": "A" * (23 * 1024 * 1024)}
    refused(await gateway.http.put(DRY, json=large), 413, "request.too_large")


async def test_who_may_not_upload_has_no_module_judged(gateway: Installation) -> None:
    key = (await gateway.http.post("/v1/keys", json={"name": "ro", "role": "viewer"})).json()["key"]
    async with gateway.client(key) as viewer:
        shown = (await viewer.put(DRY, json=along(GOOD))).json()
    assert [one["code"] for one in shown["refusals"]] == ["auth.denied"]
    assert gateway.compiler.compiled == []


async def test_a_rehearsal_of_a_deleted_function_says_so(gateway: Installation) -> None:
    module = (await gateway.deploy()).json()["module"]
    await gateway.http.delete(F)
    shown = (await gateway.http.put(DRY, json={"module": module})).json()
    assert [one["code"] for one in shown["refusals"]] == ["function.deleted"]


@pytest.mark.parametrize(
    "query", ["?dry_run=yes", "?dry_run=", "?against=1", "?dry_run=true&against="]
)
async def test_a_bad_query(gateway: Installation, query: str) -> None:
    answer = await gateway.http.put(f"{F}{query}", json={"module": "x"})
    refused(answer, 400, "request.query_invalid")


async def test_a_rehearsal_wants_the_right_to_deploy(gateway: Installation) -> None:
    module = (await gateway.upload()).json()["digest"]
    asked = {"name": "ro", "role": "viewer"}
    key = (await gateway.http.post("/v1/keys", json=asked)).json()["key"]
    async with gateway.client(key) as viewer:
        shown = (await viewer.put(DRY, json={"module": module})).json()
        assert [one["code"] for one in shown["refusals"]] == ["auth.denied"]
        assert (await viewer.put(F, json={"module": module})).status_code == 403


async def test_what_may_pass_later_is_no_refusal_to_gather() -> None:
    def away() -> None:
        raise StockadeError("catalog.unavailable", "Away.", retryable=True)

    with pytest.raises(StockadeError, match="catalog"):
        Refusals(gather=True).of(away, None)
