"""Attestations over HTTP, and what they mean to a deploy."""

import json
from pathlib import Path

import httpx
import pytest

from registry.keys import public_bytes
from stockade.core.attestations import MAX_ATTESTATIONS, MAX_ENVELOPE_BYTES
from stockade.core.digests import digest_of
from stockade.core.modules import Signer
from stockade.infra.policies.cedar_policies import CedarPolicies
from tests.unit.gateway.installation import Installation, installed, refused
from tests.unit.registry.attestations import (
    BUILDER,
    COMMIT,
    REPOSITORY,
    attestation,
    loose,
    statement,
)
from tests.unit.registry.signed_modules import BODY, KEY, OTHER_KEY, SIGNER, signed

DIGEST = digest_of(BODY)
PLACE = f"/v1/modules/{DIGEST}/attestations"
TYPE = {"content-type": "application/vnd.dsse.envelope.v1+json"}
SHIPPED = Path(__file__).parents[3] / "policies" / "authorization"
FROM_HERE = f"""
@id("built-by-us")
forbid (principal, action == Action::"deploy", resource)
unless {{
  context.module.builders.contains("{BUILDER}") &&
  context.module.sources.contains("{REPOSITORY}")
}};
"""
NO_CI = """
@id("ci-signs-nothing")
forbid (principal is Signer, action == Action::"vouch", resource)
when { principal.name == "ci" };
"""


async def attest(gateway: Installation, content: bytes | None = None) -> httpx.Response:
    sent = attestation(DIGEST) if content is None else content
    return await gateway.http.post(PLACE, content=sent, headers=TYPE)


@pytest.fixture
def strict(tmp_path: Path) -> CedarPolicies:
    return policies(tmp_path, FROM_HERE)


def policies(directory: Path, more: str) -> CedarPolicies:
    for path in SHIPPED.iterdir():
        if path.is_file():
            (directory / path.name).write_bytes(path.read_bytes())
    (directory / "more.cedar").write_text(more)
    return CedarPolicies.load(directory)


async def test_an_attestation_is_taken_once_and_shown(gateway: Installation) -> None:
    await gateway.upload()
    made = await attest(gateway)
    assert made.status_code == 201, made.text
    shown = made.json()
    assert shown["builders"] == [BUILDER]
    assert shown["sources"] == [REPOSITORY, f"{REPOSITORY}@{COMMIT}"]
    assert (shown["signers"], shown["refusal"]) == (["ci"], None)
    again = await attest(gateway)
    assert (again.status_code, again.json()["id"]) == (200, shown["id"])
    other_form = await attest(gateway, loose(json.dumps(statement(DIGEST)).encode(), KEY))
    assert (other_form.status_code, other_form.json()["id"]) == (200, shown["id"])
    assert (await gateway.http.get(PLACE)).json()["attestations"] == [shown]
    envelope = await gateway.http.get(f"{PLACE}/{shown['id']}")
    assert digest_of(envelope.content) == shown["id"]
    assert envelope.headers["content-type"] == TYPE["content-type"]
    refused(await gateway.http.get(f"{PLACE}/absent"), 404, "attestation.not_found")


async def test_the_audit_log_names_the_module(gateway: Installation) -> None:
    await gateway.upload()
    await attest(gateway)
    await gateway.app.state.context.audit.flush()
    done = (await gateway.services.audit.walk("alice", 0, 100))[-1].facts
    assert (done.kind, done.object) == ("done", DIGEST)
    assert done.call == "POST /v1/modules/{digest}/attestations"


async def test_another_tenants_module_is_absent(gateway: Installation) -> None:
    await gateway.upload()
    await attest(gateway)
    async with gateway.client(await gateway.new_key("bob")) as bob:
        await gateway.catalog.add_signer("bob", SIGNER)
        sent = {"content": attestation(DIGEST), "headers": TYPE}
        refused(await bob.post(PLACE, **sent), 404, "module.not_found")
        refused(await bob.get(PLACE), 404, "module.not_found")
        refused(await bob.get(f"{PLACE}/x"), 404, "module.not_found")
    refused(
        await gateway.http.post(PLACE.replace("sha256", "sha512"), headers=TYPE),
        400,
        "module.digest_invalid",
    )


async def test_what_is_refused_is_not_stored(gateway: Installation) -> None:
    await gateway.upload()
    for content, status, code in (
        (attestation(DIGEST, OTHER_KEY), 422, "attestation.signer_unknown"),
        (attestation(digest_of(b"x")), 422, "attestation.subject_mismatch"),
        (attestation(DIGEST, predicateType="x"), 422, "attestation.predicate_unsupported"),
        (b"{}", 400, "attestation.malformed"),
        (b"[" * 50_000, 400, "attestation.malformed"),
        (b"x" * (MAX_ENVELOPE_BYTES + 1), 413, "request.too_large"),
    ):
        refused(await attest(gateway, content), status, code)
    refused(await gateway.http.post(PLACE, content=b"x"), 415, "request.content_type")
    assert (await gateway.http.get(PLACE)).json() == {"attestations": []}


async def test_a_module_has_a_bounded_number(gateway: Installation) -> None:
    await gateway.upload()
    for number in range(MAX_ATTESTATIONS):
        made = await attest(gateway, attestation(DIGEST, number=number))
        assert made.status_code == 201, made.text
    refused(await attest(gateway, attestation(DIGEST, number=-1)), 409, "attestation.too_many")
    assert (await attest(gateway, attestation(DIGEST, number=0))).status_code == 200


async def test_policies_ask_for_builders_and_sources_at_a_deploy(strict: CedarPolicies) -> None:
    async with installed(policies=strict) as gateway:
        problem = refused(await gateway.deploy(), 403, "auth.denied")
        assert "built-by-us" in str(problem["detail"])
        await attest(gateway)
        assert (await gateway.deploy()).status_code == 201


@pytest.mark.parametrize(
    "change",
    [
        {"predicateType": "https://slsa.dev/provenance/v0.2"},
        {"predicate": {"buildDefinition": {}, "runDetails": {"builder": {"id": BUILDER}}}},
        {"predicate": {"buildDefinition": {}, "runDetails": {"builder": {"id": f"{BUILDER}/x"}}}},
    ],
)
async def test_attestations_of_something_else_do_not_pass(
    strict: CedarPolicies, change: dict[str, object]
) -> None:
    async with installed(policies=strict) as gateway:
        await gateway.upload()
        await attest(gateway, attestation(DIGEST, **change))
        refused(await gateway.deploy(), 403, "auth.denied")


async def test_an_attestation_counts_for_as_long_as_its_signer_does(strict: CedarPolicies) -> None:
    """The module keeps its own signer; the attester is another, and is revoked."""
    async with installed(policies=strict) as gateway:
        await gateway.upload()
        await gateway.catalog.add_signer("alice", Signer("builder", public_bytes(OTHER_KEY)))
        made = await attest(gateway, attestation(DIGEST, OTHER_KEY))
        assert made.json()["signers"] == ["builder"]
        assert (await gateway.deploy()).status_code == 201
        await gateway.catalog.revoke_signer("alice", "builder", 1)
        (shown,) = (await gateway.http.get(PLACE)).json()["attestations"]
        assert shown["refusal"]["code"] == "attestation.signer_revoked"
        assert (shown["builders"], shown["sources"], shown["signers"]) == ([], [], [])
        refused(await gateway.deploy("g"), 403, "auth.denied")


async def test_an_attestation_counts_only_if_policies_vouch_for_its_signer(tmp_path: Path) -> None:
    async with installed(policies=policies(tmp_path, NO_CI)) as gateway:
        await gateway.catalog.add_signer("alice", Signer("builder", public_bytes(OTHER_KEY)))
        await gateway.upload(content=signed(BODY, OTHER_KEY))
        refused(await attest(gateway), 422, "module.signer_denied")
        assert (await attest(gateway, attestation(DIGEST, OTHER_KEY))).status_code == 201
