"""`stockade attest`, and attestations of uploaded modules."""

import base64
import json
from pathlib import Path

import httpx
import pytest

from registry.keys import load_public_key
from registry.provenance import verify_attestation
from stockade.core.attestations import Provenance
from stockade.core.digests import digest_of
from stockade.core.modules import Signer
from tests.unit.registry.signed_modules import BODY
from tests.unit.sdk_python.fake_gateway import DIGEST, MODULE
from tests.unit.sdk_python.test_attestations import PLACE, REFUSED, SHOWN
from tests.unit.stockade.cli.conftest import CommandLine

COMMIT = "0123456789abcdef0123456789abcdef01234567"
GITHUB = {
    "GITHUB_ACTIONS": "true",
    "GITHUB_SERVER_URL": "https://github.example.org",
    "GITHUB_REPOSITORY": "team/app",
    "GITHUB_SHA": COMMIT,
    "GITHUB_WORKFLOW_REF": "team/app/.github/workflows/build.yml@refs/heads/main",
    "GITHUB_RUN_ID": "7",
    "GITHUB_RUN_ATTEMPT": "2",
}
GITLAB = {
    "GITLAB_CI": "true",
    "CI_PROJECT_URL": "https://gitlab.example.org/team/app",
    "CI_COMMIT_SHA": COMMIT,
    "CI_RUNNER_ID": "12",
    "CI_JOB_URL": "https://gitlab.example.org/team/app/-/jobs/3",
}
ELSEWHERE = dict.fromkeys([*GITHUB, *GITLAB], "")
GIVEN = ("--builder", "https://b.example.org", "--repository", "https://s.example.org/a")


@pytest.fixture(autouse=True)
def files(cli: CommandLine) -> None:
    cli.run("keys", "generate", "--out", "k.pem")
    Path("m.wasm").write_bytes(BODY)


def read() -> tuple[Provenance, str]:
    content = Path("m.attestation.json").read_bytes()
    signer = Signer("ci", load_public_key(Path("k.pem.pub").read_bytes()))
    found = verify_attestation(content, digest_of(BODY), (signer,), 1)
    return found.provenance, base64.b64decode(json.loads(content)["payload"]).decode()


def test_github_actions_are_known(cli: CommandLine) -> None:
    done = cli.run("attest", "m.wasm", "--key", "k.pem", **ELSEWHERE | GITHUB)
    assert done.exit_code == 0, done.output
    found, text = read()
    assert found.builders == (
        "https://github.example.org/team/app/.github/workflows/build.yml@refs/heads/main",
    )
    repository = "https://github.example.org/team/app"
    assert found.sources == (repository, f"{repository}@{COMMIT}")
    assert f"{repository}/actions/runs/7/attempts/2" in text


def test_what_a_service_does_not_say_is_asked_for(cli: CommandLine) -> None:
    silent = ELSEWHERE | GITHUB | {"GITHUB_WORKFLOW_REF": ""}
    done = cli.run("attest", "m.wasm", "--key", "k.pem", **silent)
    assert "Give --builder. [cli.build_unknown]" in done.stderr


def test_gitlab_ci_is_known_and_what_is_given_counts(cli: CommandLine) -> None:
    words = ("attest", "m.wasm", "--key", "k.pem", "--builder", "https://b.example.org")
    assert cli.run(*words, **ELSEWHERE | GITLAB).exit_code == 0
    found, text = read()
    assert found.builders == ("https://b.example.org",)
    assert found.sources[0] == "https://gitlab.example.org/team/app"
    assert "/-/jobs/3" in text


def test_elsewhere_the_build_is_given(cli: CommandLine) -> None:
    words = ("attest", "m.wasm", "--key", "k.pem")
    done = cli.run(*words, "--commit", COMMIT, **ELSEWHERE)
    assert done.exit_code == 2
    assert "Give --builder, --repository. [cli.build_unknown]" in done.stderr
    done = cli.run(*words, *GIVEN, "--commit", "main", **ELSEWHERE)
    assert "[cli.build_invalid]" in done.stderr
    assert not Path("m.attestation.json").exists()
    done = cli.run(*words, *GIVEN, "--commit", COMMIT, "--out", "a.json", **ELSEWHERE)
    assert done.exit_code == 0, done.output
    assert Path("a.json").exists()


def test_attestations_are_uploaded_and_shown(cli: CommandLine) -> None:
    Path("a.json").write_bytes(b"envelope")
    cli.gateway.on(f"POST {PLACE}", httpx.Response(201, json=SHOWN))
    cli.gateway.on(f"GET {PLACE}", httpx.Response(200, json={"attestations": [SHOWN, REFUSED]}))
    cli.gateway.on(f"GET /v1/modules/{DIGEST}", httpx.Response(200, json=MODULE))
    done = cli.run("modules", "attest", DIGEST, "a.json")
    assert done.exit_code == 0, done.output
    assert "https://example.org/builder" in done.stdout
    assert cli.gateway.last.content == b"envelope"
    made = json.loads(cli.run("modules", "attest", DIGEST, "a.json", "--json").stdout)
    assert made["signers"] == ["ci"]
    done = cli.run("modules", "attestations", DIGEST)
    assert "https://example.org/app@0123" in done.stdout
    assert "does not count: Gone. [attestation.signer_revoked]" in done.stderr
    assert len(json.loads(cli.run("modules", "attestations", DIGEST, "--json").stdout)) == 2
    shown = cli.run("modules", "show", DIGEST)
    assert "https://example.org/builder" in shown.stdout
    told = json.loads(cli.run("modules", "show", DIGEST, "--json").stdout)
    assert told["attestations"][0]["sources"] == list(SHOWN["sources"])  # type: ignore[call-overload]
