"""Keys, signatures, signers, modules, functions."""

import json
import stat
from pathlib import Path

import httpx
import pytest
from wasmtime import wat2wasm

from registry.keys import load_public_key, load_secret_key, public_bytes
from registry.signature_format import split_envelope
from tests.unit.sdk_python.fake_gateway import DIGEST, MODULE, problem
from tests.unit.stockade.cli.conftest import CommandLine

SIGNER = {"name": "me", "public_key": "abc", "revoked_ms": None}


def test_keys_are_for_their_owners_eyes(cli: CommandLine) -> None:
    assert cli.run("keys", "generate").exit_code == 0
    secret, public = Path("stockade-key.pem"), Path("stockade-key.pem.pub")
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    key = load_secret_key(secret.read_bytes())
    assert load_public_key(public.read_bytes()) == public_bytes(key)
    assert sorted(path.name for path in Path().iterdir()) == [secret.name, public.name]


@pytest.mark.parametrize("present", ["k.pem", "k.pem.pub"])
def test_keys_are_not_replaced_by_accident(cli: CommandLine, present: str) -> None:
    Path(present).write_text("precious")
    result = cli.run("keys", "generate", "--out", "k.pem")
    assert result.exit_code == 2
    assert "cli.key_exists" in result.stderr
    assert Path(present).read_text() == "precious"
    assert cli.run("keys", "generate", "--out", "k.pem", "--force").exit_code == 0
    assert Path(present).read_text() != "precious"


def test_signing_embeds_or_detaches(cli: CommandLine) -> None:
    cli.run("keys", "generate", "--out", "k.pem")
    Path("m.wasm").write_bytes(wat2wasm("(module)"))
    assert cli.run("sign", "m.wasm", "--key", "k.pem").exit_code == 0
    assert cli.run("sign", "m.wasm", "--key", "k.pem", "--detached").exit_code == 0
    envelope = split_envelope(Path("m.signed.wasm").read_bytes())
    assert envelope.signature == Path("m.sig").read_bytes()
    assert envelope.body == Path("m.wasm").read_bytes()


def test_signing_says_what_is_wrong(cli: CommandLine) -> None:
    cli.run("keys", "generate", "--out", "k.pem")
    Path("m.wasm").write_bytes(b"no module")
    broken = cli.run("sign", "m.wasm", "--key", "k.pem")
    assert (broken.exit_code, Path("m.signed.wasm").exists()) == (2, False)
    assert "[module.not_wasm]" in broken.stderr
    assert "[signer.key_invalid]" in cli.run("sign", "m.wasm", "--key", "m.wasm").stderr
    assert cli.run("sign", "nowhere.wasm", "--key", "k.pem").exit_code == 2


def test_signers_are_trusted_by_their_public_key(cli: CommandLine) -> None:
    cli.run("keys", "generate", "--out", "k.pem")
    cli.gateway.on("POST /v1/signers", httpx.Response(201, json=SIGNER))
    assert cli.run("signers", "add", "me", "k.pem.pub").exit_code == 0
    assert cli.gateway.last_json == {"name": "me", "public_key": Path("k.pem.pub").read_text()}


def test_a_secret_key_never_leaves(cli: CommandLine) -> None:
    cli.run("keys", "generate", "--out", "k.pem")
    result = cli.run("signers", "add", "me", "k.pem")
    assert result.exit_code == 2
    assert "secret key" in result.stderr
    assert cli.gateway.requests == []


def test_signers_are_listed_and_revoked(cli: CommandLine) -> None:
    revoked = SIGNER | {"name": "gone", "revoked_ms": 1}
    cli.gateway.on("GET /v1/signers", httpx.Response(200, json={"signers": [SIGNER, revoked]}))
    cli.gateway.on("POST /v1/signers/me/revoke", httpx.Response(200, json={"revoked": True}))
    assert cli.run("signers", "list").stdout.splitlines() == [
        "NAME  STATE    NOT AFTER  PUBLIC KEY",
        "me    trusted  -          abc",
        "gone  revoked  -          abc",
    ]
    assert json.loads(cli.run("signers", "list", "--json").stdout)[1]["name"] == "gone"
    assert cli.run("signers", "revoke", "me").exit_code == 0
    assert cli.gateway.last_json == {}
    assert cli.run("signers", "revoke", "me", "--reason", "stolen").exit_code == 0
    assert cli.gateway.last_json == {"reason": "stolen"}


@pytest.mark.parametrize(
    ("facts", "state"),
    [
        ({"not_after_ms": 2**45}, "trusted"),
        ({"not_after_ms": 1}, "expired"),
        ({"not_before_ms": 2**45}, "not yet valid"),
        ({"revoked_ms": 1, "revoked_reason": "stolen\x1b[2J", "not_after_ms": 1}, "revoked"),
    ],
)
def test_a_signer_is_shown(cli: CommandLine, facts: dict[str, object], state: str) -> None:
    cli.gateway.on("GET /v1/signers/me", httpx.Response(200, json=SIGNER | facts))
    shown = cli.run("signers", "show", "me").stdout
    assert f"state       {state}" in shown
    assert "\x1b[" not in shown
    found = json.loads(cli.run("signers", "show", "me", "--json").stdout)
    assert facts.items() <= found.items()


def test_a_signer_is_rotated(cli: CommandLine) -> None:
    cli.run("keys", "generate", "--out", "k.pem")
    made = SIGNER | {"name": "me-2", "replaces": "me"}
    cli.gateway.on("POST /v1/signers/me/rotate", httpx.Response(201, json=made))
    result = cli.run("signers", "rotate", "me", "k.pem.pub", "--overlap", "12h")
    assert "me-2 takes the place of me" in result.stderr
    assert cli.gateway.last_json == {
        "public_key": Path("k.pem.pub").read_text(),
        "overlap_seconds": 12 * 3600,
    }
    words = ("--name", "next", "--not-after", "2031-01-31T12:00:00Z", "--json")
    result = cli.run("signers", "rotate", "me", "k.pem.pub", *words)
    assert json.loads(result.stdout)["name"] == "me-2"
    assert cli.gateway.last_json["name"] == "next"
    refused = cli.run("signers", "rotate", "me", "k.pem.pub", "--overlap", "long")
    assert (refused.exit_code, "--overlap" in refused.stderr) == (2, True)


def test_a_functions_trust_is_set_and_shown(cli: CommandLine) -> None:
    trust = {"function": "pay", "threshold": 2, "signers": ["a", "b"]}
    cli.gateway.on("PUT /v1/functions/pay/trust", httpx.Response(201, json=trust))
    cli.gateway.on("GET /v1/functions/pay/trust", httpx.Response(200, json=trust | {"signers": []}))
    words = ("--threshold", "2", "--signer", "a", "--signer", "b")
    result = cli.run("functions", "trust", "pay", *words)
    assert cli.gateway.last_json == {"threshold": 2, "signers": ["a", "b"]}
    assert "signers    a, b" in result.stdout
    assert "signers    any" in cli.run("functions", "trust", "pay").stdout
    assert json.loads(cli.run("functions", "trust", "pay", "--json").stdout)["threshold"] == 2
    assert cli.run("functions", "trust", "pay", "--signer", "a").exit_code == 2


def test_modules_are_pushed_and_shown(cli: CommandLine) -> None:
    Path("m.wasm").write_bytes(b"\0asm")
    Path("m.sig").write_bytes(b"\1")
    cli.gateway.on("POST /v1/modules", httpx.Response(201, json=MODULE))
    cli.gateway.on(f"GET /v1/modules/{DIGEST}", httpx.Response(200, json=MODULE | {"imports": []}))
    none = httpx.Response(200, json={"attestations": []})
    cli.gateway.on(f"GET /v1/modules/{DIGEST}/attestations", none)
    pushed = cli.run("modules", "push", "m.wasm", "--signature", "m.sig")
    assert f"digest         {DIGEST}" in pushed.stdout
    assert cli.gateway.last.headers["Stockade-Signature"] == "AQ=="
    assert "imports        none" in cli.run("modules", "show", DIGEST).stdout
    assert json.loads(cli.run("modules", "push", "m.wasm", "--json").stdout)["digest"] == DIGEST


def test_modules_of_oci_artifacts(cli: CommandLine) -> None:
    cli.gateway.on("POST /v1/modules:from-oci", httpx.Response(201, json=MODULE))
    cli.gateway.on("PUT /v1/functions/f", httpx.Response(201, json={"name": "f", "version": 1}))
    shown = cli.run("modules", "from-oci", "tools/hello:1")
    assert f"digest         {DIGEST}" in shown.stdout
    assert cli.gateway.last_json == {"reference": "tools/hello:1"}
    assert json.loads(cli.run("modules", "from-oci", "hello", "--json").stdout)["digest"] == DIGEST
    made = {"manifest": "me/hello@sha256:a", "tag": "1"}
    cli.gateway.on("POST /v1/modules:to-oci", httpx.Response(201, json=made))
    words = ("modules", "to-oci", DIGEST, "hello:1")
    assert "manifest  me/hello@sha256:a" in cli.run(*words).stdout
    assert json.loads(cli.run(*words, "--json").stdout) == {"manifest": "me/hello@sha256:a"}
    deployed = cli.run("functions", "deploy", "f", "--module", "oci:tools/hello:1", "--json")
    assert json.loads(deployed.stdout)["module"] == DIGEST
    assert cli.gateway.last_json["module"] == DIGEST  # type: ignore[index]


def test_a_refused_upload_says_why(cli: CommandLine) -> None:
    Path("m.wasm").write_bytes(b"\0asm")
    cli.gateway.on("POST /v1/modules", problem(422, "module.signer_unknown"))
    result = cli.run("modules", "push", "m.wasm")
    assert result.exit_code == 2
    assert "It is wrong. [module.signer_unknown]" in result.stderr
    assert "stockade signers add" in result.stderr


def test_deploy_by_digest(cli: CommandLine) -> None:
    cli.gateway.on("PUT /v1/functions/f", httpx.Response(201, json={"name": "f", "version": 4}))
    words = ("--limit", "fuel=1_000", "--limit", "wall_ms=5", "--grant", "log", "--env", "A=b=c")
    result = cli.run("functions", "deploy", "f", "--module", DIGEST, *words)
    assert result.stdout.splitlines()[1] == "version  4"
    assert cli.gateway.last_json == {
        "module": DIGEST,
        "limits": {"fuel": 1000, "wall_ms": 5},
        "grants": ["log"],
        "env": {"A": "b=c"},
    }


def test_deploy_of_a_file_uploads_it_first(cli: CommandLine) -> None:
    Path("m.wasm").write_bytes(b"\0asm")
    cli.gateway.on("POST /v1/modules", httpx.Response(201, json=MODULE))
    cli.gateway.on("PUT /v1/functions/f", httpx.Response(201, json={"name": "f", "version": 1}))
    result = cli.run("functions", "deploy", "f", "--module", "m.wasm", "--json")
    assert json.loads(result.stdout) == {"name": "f", "version": 1, "module": DIGEST}


@pytest.mark.parametrize(
    "words",
    [
        ("--module", "nowhere.wasm"),
        ("--module", DIGEST, "--limit", "fuel"),
        ("--module", DIGEST, "--limit", "fuel=much"),
        ("--module", DIGEST, "--env", "=x"),
    ],
)
def test_deploy_options_that_make_no_sense(cli: CommandLine, words: tuple[str, ...]) -> None:
    assert cli.run("functions", "deploy", "f", *words).exit_code == 2
    assert cli.gateway.requests == []


def test_functions_are_listed_and_shown(cli: CommandLine) -> None:
    function = {"name": "f", "version": 1, "module": DIGEST}
    more = {"abi": "wasi:preview1", "limits": {"fuel": 7}, "grants": ["log"], "env": {"A": "b"}}
    cli.gateway.on("GET /v1/functions", httpx.Response(200, json={"functions": [function]}))
    cli.gateway.on("GET /v1/functions/f", httpx.Response(200, json=function | more))
    assert f"f     1        {DIGEST}" in cli.run("functions", "list").stdout
    assert json.loads(cli.run("functions", "list", "--json").stdout) == [function]
    shown = cli.run("functions", "show", "f").stdout
    assert "limit fuel     7" in shown
    assert "env A          b" in shown
    assert json.loads(cli.run("functions", "show", "f", "--json").stdout)["limits"] == {"fuel": 7}
