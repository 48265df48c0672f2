import io
import json
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from rich.console import Console
from wasmtime import wat2wasm

from stockade.cli.demo.examples import Example, load_examples
from stockade.cli.demo.table import refusals_table, runs_table
from stockade.cli.demo.tour import Finding, Refusal, Tour
from stockade.core.errors import StockadeError
from stockade_client import Client
from tests.unit.sdk_python.fake_gateway import ID, MODULE, RECORD, FakeGateway, completed, problem

MANIFEST = """
name = "shout"
description = "Says it louder"
language = "rust"
abi = "stockade:v1"
module = "shout.wasm"
input = "input.txt"
expected = "expected.txt"
expected_outcome = "completed"
grants = ["config_get", "kv:shouts"]
[limits]
fuel = 1_000
[env]
GREETING = "hello"
"""
INVALID = "demo.example_invalid"
EXAMPLE = Example(
    name="shout",
    description="Says it louder",
    language="rust",
    module=bytes(wat2wasm("(module)")),
    content=b"hi",
    expected=b"HI",
    expected_outcome="completed",
    expected_limit=None,
    limits={"fuel": 1000},
    grants=("config_get", "kv:shouts"),
    env={"GREETING": "hello"},
)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    place = tmp_path / "shout"
    place.mkdir()
    (place / "stockade.toml").write_text(MANIFEST)
    (place / "shout.wasm").write_bytes(EXAMPLE.module)
    (place / "input.txt").write_bytes(b"hi")
    (place / "expected.txt").write_bytes(b"HI")
    return tmp_path


@pytest.fixture
def gateway() -> FakeGateway:
    signer = {"name": "demo", "public_key": "abc"}
    gateway = FakeGateway().on("POST /v1/signers", httpx.Response(201, json=signer))
    gateway.on("POST /v1/modules", httpx.Response(201, json=MODULE))
    made = {"name": "shout", "version": 1}
    gateway.on("PUT /v1/functions/shout", httpx.Response(201, json=made))
    gateway.on("POST /v1/functions/shout/invoke", completed(b"HI"))
    return gateway.on(f"GET /v1/invocations/{ID}", httpx.Response(200, json=RECORD))


def change_manifest(place: Path, old: str, new: str) -> None:
    text = MANIFEST.replace(old, new)
    assert text != MANIFEST
    (place / "stockade.toml").write_text(text)


def tour(gateway: FakeGateway) -> Tour:
    return Tour(Client("http://gateway", "stk_key", transport=gateway.transport))


def test_an_example_is_read_from_its_manifest(directory: Path) -> None:
    assert load_examples(directory) == [EXAMPLE]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda place: (place / "stockade.toml").unlink(), "demo.no_examples"),
        (lambda place: (place / "shout.wasm").unlink(), "demo.example_not_built"),
        (lambda place: (place / "stockade.toml").write_text("name ="), "demo.example_invalid"),
        (lambda place: (place / "stockade.toml").write_text("name = 'x'"), "demo.example_invalid"),
        (lambda place: change_manifest(place, '["config_get", "kv:shouts"]', "'log'"), INVALID),
        (lambda place: change_manifest(place, '"kv:shouts"', "7"), INVALID),
        (lambda place: change_manifest(place, '"hello"', "7"), INVALID),
        (lambda place: change_manifest(place, "[env]", "[env.more]"), INVALID),
        (lambda place: change_manifest(place, "[env]", "[[env]]"), INVALID),
    ],
)
def test_examples_that_cannot_be_shown(directory: Path, change, code: str) -> None:  # noqa: ANN001
    change(directory / "shout")
    with pytest.raises(StockadeError) as caught:
        load_examples(directory)
    assert caught.value.code == code


def test_what_is_as_expected_has_no_problem(gateway: FakeGateway) -> None:
    finding = tour(gateway).show(EXAMPLE)
    assert finding.problem is None
    assert (finding.outcome, finding.usage.fuel, finding.output_bytes) == ("completed", 1000, 2)


@pytest.mark.parametrize(
    ("example", "told"),
    [
        (replace(EXAMPLE, expected=b"other"), "output is not"),
        (replace(EXAMPLE, expected_outcome="rejected"), "outcome should be rejected"),
        (replace(EXAMPLE, expected_limit="fuel|wall"), "limit should be fuel|wall"),
    ],
)
def test_what_is_not_is_told(gateway: FakeGateway, example: Example, told: str) -> None:
    assert told in (tour(gateway).show(example).problem or "")


def test_a_function_gets_its_grants_and_settings(gateway: FakeGateway) -> None:
    tour(gateway).show(EXAMPLE)
    deployed = next(call for call in gateway.requests if call.method == "PUT")
    body = json.loads(deployed.content)
    assert (body["grants"], body["env"]) == (list(EXAMPLE.grants), EXAMPLE.env)


def test_a_guest_that_must_be_stopped(gateway: FakeGateway) -> None:
    stopped = {"outcome": "limit_exceeded", "limit": "fuel"}
    answer = problem(422, "invocation.limit_exceeded", invocation_id=ID, **stopped)
    gateway.on("POST /v1/functions/shout/invoke", answer)
    gateway.on(f"GET /v1/invocations/{ID}", httpx.Response(200, json=RECORD | stopped))
    expected = {"expected_outcome": "limit_exceeded", "expected_limit": "fuel|wall"}
    finding = tour(gateway).show(replace(EXAMPLE, expected=None, **expected))
    assert (finding.problem, finding.limit, finding.output_bytes) == (None, "fuel", 0)


def test_bad_uploads_must_be_refused_for_the_right_reason(gateway: FakeGateway) -> None:
    guide = tour(gateway)
    refused = problem(422, "module.unsigned"), problem(422, "module.signature_mismatch")
    gateway.on("POST /v1/modules", *refused, problem(422, "module.signer_revoked"))
    gateway.on("POST /v1/signers/demo/revoke", httpx.Response(204))
    assert [refusal.right for refusal in guide.offer_bad_uploads(EXAMPLE)] == [True, True, True]
    gateway.on("POST /v1/modules", httpx.Response(201, json=MODULE))
    assert [refusal.code for refusal in guide.offer_bad_uploads(EXAMPLE)] == [None, None, None]


def test_the_audit_log_is_verified(gateway: FakeGateway) -> None:
    entry = '{"v":1}\n'
    gateway.on("GET /v1/audit/export", httpx.Response(200, text=entry))
    assert "line 1" in (tour(gateway).check_audit_log().fault or "")


@pytest.mark.parametrize("width", [80, 120])
def test_the_verdict_is_seen_on_any_screen(gateway: FakeGateway, width: int) -> None:
    good = tour(gateway).show(EXAMPLE)
    bad = replace(good, problem="the output\x1b is wrong")
    shown = show(width, [good, bad], [Refusal("unsigned", None, ("module.unsigned",))])
    assert "✓" in shown
    assert shown.count("✗") == 2
    assert "1,000" in shown
    assert "not refused" in shown
    assert "\x1b" not in shown


def show(width: int, findings: list[Finding], refusals: list[Refusal]) -> str:
    screen = Console(file=io.StringIO(), width=width)
    screen.print(runs_table(findings))
    screen.print(refusals_table(refusals))
    assert isinstance(screen.file, io.StringIO)
    return screen.file.getvalue()
