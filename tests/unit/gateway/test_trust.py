"""Trust over HTTP: rotation, reasons, thresholds, denials, and policies about signers."""

import base64
import shutil
from pathlib import Path

import pytest

from registry.keys import generate_secret_key, public_bytes, public_key_pem
from registry.signature_format import (
    SignatureRecord,
    SignedHashes,
    encode_payload,
    module_hashes,
)
from registry.signing import sign
from stockade.core.api_keys import ApiKey, generate_key
from stockade.core.digests import digest_of
from stockade.core.modules import Signer
from stockade.core.principals import Role
from stockade.core.trust import MAX_SIGNERS, TrustPolicy
from stockade.infra.policies.cedar_policies import CedarPolicies
from stockade.infra.system_clock import SystemClock
from tests.unit.gateway.installation import Installation, installed, refused
from tests.unit.registry import points
from tests.unit.registry.signed_modules import BODY, KEY, OTHER_KEY, payload, signed

DIRECTORY = Path(__file__).parents[3] / "policies" / "authorization"
DIGEST = digest_of(BODY)
OTHER = {"name": "other", "public_key": public_key_pem(public_bytes(OTHER_KEY)).decode()}
ROTATION = {"public_key": OTHER["public_key"]}
BOTH = sign(signed(BODY), OTHER_KEY)
DAY_MS = 24 * 3600 * 1000


async def put_trust(gateway: Installation, threshold: int, *names: str) -> int:
    asked = {"threshold": threshold, "signers": list(names)}
    answer = await gateway.http.put("/v1/functions/f/trust", json=asked)
    assert answer.json() == {"function": "f", **asked}
    return answer.status_code


async def test_a_revocation_keeps_its_reason(gateway: Installation) -> None:
    sent = {"reason": "The laptop was stolen: é."}
    answer = await gateway.http.post("/v1/signers/ci/revoke", json=sent)
    assert answer.json() == {"name": "ci", "revoked": True}
    shown = (await gateway.http.get("/v1/signers/ci")).json()
    assert shown["revoked_reason"] == "The laptop was stolen: é."
    assert shown["revoked_ms"] > 0
    await gateway.http.post("/v1/signers/ci/revoke", json={"reason": "another"})
    assert (await gateway.http.get("/v1/signers/ci")).json() == shown


@pytest.mark.parametrize("reason", ["", "two\nlines", "\x1b[2J", "x" * 501, "\u202e"])
async def test_a_reason_is_one_readable_line(gateway: Installation, reason: str) -> None:
    answer = await gateway.http.post("/v1/signers/ci/revoke", json={"reason": reason})
    refused(answer, 400, "signer.reason_invalid")
    refused(await gateway.http.post("/v1/signers/ci/revoke", content=b"no"), 415, CONTENT_TYPE)


CONTENT_TYPE = "request.content_type"


async def test_an_unknown_signer(gateway: Installation) -> None:
    refused(await gateway.http.get("/v1/signers/none"), 404, "signer.not_found")
    refused(await gateway.http.get("/v1/signers/A"), 400, "signer.name_invalid")
    answer = await gateway.http.post("/v1/signers/none/rotate", json=ROTATION)
    refused(answer, 404, "signer.not_found")


async def test_old_and_new_key_overlap(gateway: Installation) -> None:
    answer = await gateway.http.post("/v1/signers/ci/rotate", json=ROTATION)
    made = answer.json()
    assert answer.status_code == 201
    assert (made["name"], made["replaces"]) == ("ci-2", "ci")
    now_ms = gateway.services.clock.now_ms()
    assert abs(made["replaced"]["not_after_ms"] - now_ms - 7 * DAY_MS) < DAY_MS
    assert (await gateway.upload(signed(BODY))).json()["signers"] == ["ci"]
    assert (await gateway.upload(BOTH)).json()["signers"] == ["ci", "ci-2"]
    again = await gateway.http.post("/v1/signers/ci/rotate", json=ROTATION)
    assert again.json() == made


async def test_without_an_overlap_the_old_key_has_expired(gateway: Installation) -> None:
    asked = ROTATION | {"overlap_seconds": 0, "name": "next"}
    made = (await gateway.http.post("/v1/signers/ci/rotate", json=asked)).json()
    assert made["name"] == "next"
    refused(await gateway.upload(signed(BODY)), 422, "module.signer_expired")
    assert (await gateway.upload(signed(BODY, OTHER_KEY))).status_code == 201


async def test_successors_are_numbered_within_the_bounds_of_a_name(gateway: Installation) -> None:
    long = "x" * 63
    key = base64.b64encode(public_bytes(OTHER_KEY)).decode()
    await gateway.http.post("/v1/signers", json={"name": long, "public_key": key})

    names, name = [], long
    for _ in range(3):
        raw = base64.b64encode(public_bytes(generate_secret_key())).decode()
        answer = await gateway.http.post(f"/v1/signers/{name}/rotate", json={"public_key": raw})
        name = answer.json()["name"]
        names.append(name)
    assert names == ["x" * 61 + end for end in ("-2", "-3", "-4")]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"overlap_seconds": -1}, "signer.overlap_invalid"),
        ({"overlap_seconds": 2**40}, "signer.overlap_invalid"),
        ({"overlap_seconds": 2**70}, "signer.overlap_invalid"),
        ({"public_key": "no key"}, "signer.key_invalid"),
        ({"name": "Bad Name"}, "signer.name_invalid"),
        ({"not_after": "soon"}, "request.invalid"),
        ({"more": 1}, "request.unknown_field"),
    ],
)
async def test_a_bad_rotation(gateway: Installation, change: dict[str, object], code: str) -> None:
    answer = await gateway.http.post("/v1/signers/ci/rotate", json=ROTATION | change)
    refused(answer, 400, code)
    assert len(await gateway.catalog.signers("alice")) == 1


async def test_a_rotation_to_a_known_key_is_refused(gateway: Installation) -> None:
    own = public_key_pem(public_bytes(KEY)).decode()
    answer = await gateway.http.post("/v1/signers/ci/rotate", json={"public_key": own})
    refused(answer, 409, "signer.exists")


async def test_signers_have_a_bound(gateway: Installation) -> None:
    own = gateway.catalog._signers["alice"]
    for number in range(MAX_SIGNERS - 1):
        own[f"s{number}"] = Signer(f"s{number}", number.to_bytes(32, "big"))
    problem = refused(await gateway.http.post("/v1/signers", json=OTHER), 409, "signer.too_many")
    assert problem["facts"] == {"most": MAX_SIGNERS}
    answer = await gateway.http.post("/v1/signers/ci/rotate", json=ROTATION)
    refused(answer, 409, "signer.too_many")
    again = {"name": "ci", "public_key": base64.b64encode(public_bytes(KEY)).decode()}
    assert (await gateway.http.post("/v1/signers", json=again)).status_code == 200
    assert (await gateway.upload()).status_code == 201


async def test_a_function_that_asks_for_two_signers_is_deployed_with_two(
    gateway: Installation,
) -> None:
    await gateway.http.post("/v1/signers", json=OTHER)
    assert (await gateway.http.get("/v1/functions/f/trust")).json()["threshold"] == 1
    assert await put_trust(gateway, 2) == 201
    problem = refused(await gateway.deploy(), 422, "module.signers_missing")
    assert problem["facts"] == {"threshold": 2, "signers": [], "counting": ["ci"]}
    assert (await gateway.deploy("g")).status_code == 201
    detached = base64.b64encode(payload(BODY, OTHER_KEY)).decode()
    added = await gateway.upload(BODY, **{"stockade-signature": detached})
    assert (added.status_code, added.json()["signers"]) == (200, ["other"])
    assert (await gateway.deploy()).status_code == 201
    assert (await gateway.http.get("/v1/functions/f/trust")).json()["threshold"] == 2


async def test_an_alias_points_to_what_may_run(gateway: Installation) -> None:
    await gateway.http.post("/v1/signers", json=OTHER)
    await gateway.deploy()
    assert await put_trust(gateway, 1, "other") == 201
    answer = await gateway.http.put("/v1/functions/f/aliases/prod", json={"version": 1})
    refused(answer, 422, "module.signers_missing")
    assert await put_trust(gateway, 1, "ci") == 200
    answer = await gateway.http.put("/v1/functions/f/aliases/prod", json={"version": 1})
    assert answer.status_code == 201
    answer = await gateway.http.put("/v1/functions/f/aliases/prod", json={"version": 7})
    refused(answer, 404, "version.not_found")


@pytest.mark.parametrize(
    ("asked", "status", "code"),
    [
        ({"threshold": 0}, 400, "trust.threshold_invalid"),
        ({"threshold": 17}, 400, "trust.threshold_invalid"),
        ({"threshold": 2, "signers": ["ci"]}, 400, "trust.threshold_invalid"),
        ({"threshold": 2, "signers": ["ci", "ci-2"]}, 400, "trust.threshold_invalid"),
        ({"threshold": 1, "signers": ["ci", "ci"]}, 400, "trust.signers_invalid"),
        ({"threshold": 1, "signers": ["ci"] * 65}, 400, "trust.signers_invalid"),
        ({"threshold": 1, "signers": ["none"]}, 404, "signer.not_found"),
        ({"threshold": 1, "signers": ["\x00"]}, 404, "signer.not_found"),
        ({"threshold": True}, 400, "request.invalid"),
        ({"signers": []}, 400, "request.invalid"),
        ({"threshold": 1, "more": 1}, 400, "request.unknown_field"),
    ],
)
async def test_a_bad_threshold(
    gateway: Installation, asked: dict[str, object], status: int, code: str
) -> None:
    await gateway.http.post("/v1/signers/ci/rotate", json=ROTATION)
    refused(await gateway.http.put("/v1/functions/f/trust", json=asked), status, code)
    assert await gateway.catalog.function_trust("alice", "f") is None


@pytest.mark.parametrize(
    ("method", "path", "asked"),
    [
        ("POST", "/v1/signers", OTHER),
        ("POST", "/v1/signers/ci/rotate", ROTATION),
        ("POST", "/v1/signers/ci/revoke", {}),
        ("PUT", "/v1/functions/f/trust", {"threshold": 1}),
    ],
)
async def test_whoever_does_not_administer_changes_no_trust(
    gateway: Installation, method: str, path: str, asked: dict[str, object]
) -> None:
    text, made = generate_key("test")
    key = ApiKey(made.id, "alice", "k", made.secret_hash, 0, role=Role.DEVELOPER)
    await gateway.catalog.add_key(key)
    async with gateway.client(text) as http:
        refused(await http.request(method, path, json=asked), 403, "auth.denied")
        assert (await http.get("/v1/functions/f/trust")).status_code == 200
        assert (await http.get("/v1/signers/ci")).json()["revoked_ms"] is None


async def test_another_tenant_sets_and_sees_nothing(gateway: Installation) -> None:
    await put_trust(gateway, 1, "ci")
    async with gateway.client(await gateway.new_key("bob")) as http:
        shown = (await http.get("/v1/functions/f/trust")).json()
        assert shown == {"function": "f", "threshold": 1, "signers": []}
        refused(await http.get("/v1/signers/ci"), 404, "signer.not_found")
        answer = await http.post("/v1/signers/ci/rotate", json=ROTATION)
        refused(answer, 404, "signer.not_found")
        asked = {"threshold": 1, "signers": ["ci"]}
        refused(await http.put("/v1/functions/f/trust", json=asked), 404, "signer.not_found")


async def test_a_digest_that_another_tenant_uploaded_is_worth_nothing(
    gateway: Installation,
) -> None:
    await gateway.deploy()
    async with gateway.client(await gateway.new_key("bob")) as http:
        asked = {"module": DIGEST}
        refused(await http.put("/v1/functions/f", json=asked), 404, "module.not_found")
        sent = {"content-type": "application/wasm"}
        answer = await http.post("/v1/modules", content=signed(BODY), headers=sent)
        refused(answer, 422, "module.signer_unknown")
        refused(await http.put("/v1/functions/f", json=asked), 404, "module.not_found")


class FakeClock(SystemClock):
    """The `Clock` port: stands where it is put."""

    now = 0

    def now_ms(self) -> int:
        return self.now


async def test_an_upload_is_judged_by_the_clock_as_it_stands() -> None:
    clock = FakeClock()
    async with installed(clock=clock) as gateway:
        window = {"not_before": "2030-01-01T00:00:00Z", "not_after": "2031-01-01T00:00:00Z"}
        await gateway.http.post("/v1/signers", json=OTHER | window)
        content = signed(BODY, OTHER_KEY)
        begin_ms, end_ms = 1_893_456_000_000, 1_924_992_000_000
        steps = [(begin_ms - 1, "not_yet_valid"), (end_ms, "expired"), (0, "not_yet_valid")]
        for clock.now, why in steps:
            refused(await gateway.upload(content), 422, f"module.signer_{why}")
        clock.now = end_ms - 1
        digest = (await gateway.upload(content)).json()["digest"]
        clock.now = end_ms
        answer = await gateway.http.put("/v1/functions/f", json={"module": digest})
        refused(answer, 422, "module.signer_expired")


async def test_a_denied_digest_is_refused_everywhere(gateway: Installation) -> None:
    await gateway.deploy()
    gateway.rules.current = TrustPolicy(denied={DIGEST: "It mines coins."})
    problem = refused(await gateway.upload(), 403, "module.denied")
    assert problem["facts"] == {"digest": DIGEST, "reason": "It mines coins."}
    asked = {"module": DIGEST}
    refused(await gateway.http.put("/v1/functions/g", json=asked), 403, "module.denied")
    point = await gateway.http.put("/v1/functions/f/aliases/prod", json={"version": 1})
    refused(point, 403, "module.denied")
    refused(await gateway.invoke(), 403, "module.denied")
    batch = await gateway.http.post(
        "/v1/functions/f/invocations:batch",
        content=b"1\n",
        headers={"content-type": "application/x-ndjson"},
    )
    assert '"module.denied"' in batch.text
    gateway.rules.current = TrustPolicy()
    assert (await gateway.upload()).status_code == 200


async def test_a_module_whose_bytes_are_gone_is_deployed_no_more(gateway: Installation) -> None:
    await gateway.upload()
    await gateway.blobs.delete(DIGEST)
    answer = await gateway.http.put("/v1/functions/f", json={"module": DIGEST})
    refused(answer, 404, "module.not_found")


async def test_a_revoked_signers_module_is_deployed_no_more(gateway: Installation) -> None:
    await gateway.upload()
    await gateway.http.post("/v1/signers/ci/revoke")
    answer = await gateway.http.put("/v1/functions/f", json={"module": DIGEST})
    refused(answer, 422, "module.signer_revoked")


async def test_a_key_that_signs_without_end_fills_no_store(gateway: Installation) -> None:
    """Ed25519 lets its owner make any number of valid signatures over one message."""
    assert (await gateway.upload()).status_code == 201
    message = SignedHashes(module_hashes(BODY), ()).message
    for number in range(1, 4):
        record = SignatureRecord(b"", points.with_commitment(KEY, number, message))
        other = encode_payload((SignedHashes(module_hashes(BODY), (record,)),))
        detached = {"stockade-signature": base64.b64encode(other).decode()}
        assert (await gateway.upload(BODY, **detached)).json()["signers"] == ["ci"]
    module = await gateway.catalog.module("alice", DIGEST)
    assert module is not None
    assert len(module.signatures) == 1


def with_own(folder: Path, condition: str) -> CedarPolicies:
    """The shipped policies and one of the operator's own, about signers."""
    shutil.copytree(DIRECTORY, folder)
    head = '@id("ci-no-more")\nforbid (principal is Signer, action == Action::"vouch", resource)'
    (folder / "own.cedar").write_text(f"{head}\nwhen {{ {condition} }};\n", encoding="utf-8")
    return CedarPolicies.load(folder)


async def test_policies_say_whose_signatures_count(tmp_path: Path) -> None:
    policies = with_own(tmp_path / "own", 'principal.name == "ci"')
    async with installed(policies=policies) as gateway:
        problem = refused(await gateway.upload(), 422, "module.signer_denied")
        assert problem["facts"] == {"signers": ["ci"], "policies": ["ci-no-more"]}
        await gateway.http.post("/v1/signers", json=OTHER)
        assert (await gateway.upload(BOTH)).json()["signers"] == ["other"]
        await put_trust(gateway, 2)
        answer = await gateway.http.put("/v1/functions/f", json={"module": DIGEST})
        refused(answer, 422, "module.signers_missing")


async def test_a_policy_about_signers_that_fails_lets_nobody_count(tmp_path: Path) -> None:
    policies = with_own(tmp_path / "own", "resource.size_bytes + 9223372036854775807 > 0")
    async with installed(policies=policies) as gateway:
        problem = refused(await gateway.upload(), 422, "module.signer_denied")
        assert "could not be evaluated" in str(problem["detail"])
