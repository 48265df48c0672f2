"""`stockade functions`: versions, differences, rehearsals, deletion, aliases."""

import json
from pathlib import Path

import httpx
import pytest

from tests.unit.sdk_python.fake_gateway import ALIAS, CHANGES, DELETED, DIGEST, REHEARSAL, problem
from tests.unit.stockade.cli.conftest import CommandLine

PROD = "/v1/functions/hello/aliases/prod"
VERSION = {
    "name": "hello",
    "version": 4,
    "module": DIGEST,
    "abi": "stockade:v1",
    "created_ms": 1_800_000_000_000,
    "created_by": "abcdefghij01",
    "message": "Why \x1b[2J",
    "labels": {"commit": "abc"},
}


def answer(body: object, status: int = 200) -> httpx.Response:
    return httpx.Response(status, json=body)


def test_a_deploy_says_why(cli: CommandLine) -> None:
    cli.gateway.on("PUT /v1/functions/hello", answer({"name": "hello", "version": 4}, 201))
    words = ("--module", DIGEST, "-m", "Why", "--label", "commit=abc", "--label", "by=me")
    assert cli.run("functions", "deploy", "hello", *words).exit_code == 0
    sent = cli.gateway.last_json
    assert isinstance(sent, dict)
    assert (sent["message"], sent["labels"]) == ("Why", {"commit": "abc", "by": "me"})


@pytest.mark.parametrize(
    ("words", "limits", "retry"),
    [
        (("--limits", "auto"), dict.fromkeys(("fuel", "memory_bytes", "wall_ms"), "auto"), None),
        (("--limit", "fuel=auto", "--limit", "wall_ms=7"), {"fuel": "auto", "wall_ms": 7}, None),
        (
            ("--limits", "auto", "--limit", "fuel=9", "--retry", "learned"),
            {"fuel": 9, "memory_bytes": "auto", "wall_ms": "auto"},
            {"policy": "learned"},
        ),
        (("--retry", "fixed", "--max-attempts", "5"), {}, {"policy": "fixed", "max_attempts": 5}),
    ],
)
def test_a_deploy_asks_for_automatic_limits_and_retries(
    cli: CommandLine, words: tuple[str, ...], limits: object, retry: object
) -> None:
    cli.gateway.on("PUT /v1/functions/hello", answer({"name": "hello", "version": 1}))
    result = cli.run("functions", "deploy", "hello", "--module", DIGEST, *words)
    assert result.exit_code == 0, result.stderr
    sent = cli.gateway.last_json
    assert isinstance(sent, dict)
    assert (sent["limits"], sent.get("retry")) == (limits, retry)


@pytest.mark.parametrize("words", [("--limits", "all"), ("--limit", "fuel=many")])
def test_limits_that_are_neither_numbers_nor_automatic(
    cli: CommandLine, words: tuple[str, ...]
) -> None:
    assert cli.run("functions", "deploy", "hello", "--module", DIGEST, *words).exit_code == 2
    assert cli.gateway.requests == []


def test_a_rehearsal_tells_changes_and_refusals_and_ends_as_refused(cli: CommandLine) -> None:
    cli.gateway.on("PUT /v1/functions/hello", answer(REHEARSAL))
    words = ("functions", "deploy", "hello", "--module", DIGEST, "--dry-run")
    result = cli.run(*words, "--against", "prod")
    assert result.exit_code == 2
    assert dict(cli.gateway.last.url.params) == {"dry_run": "true", "against": "prod"}
    lines = result.stdout.splitlines()
    assert "version  5 (new)" in lines
    assert "~ limits.fuel: 5 -> 7" in lines
    assert "~ concurrency: none -> 3" in lines
    assert "~ deterministic: true -> false" in lines
    assert "+ imports: stockade:v1.now_ms" in lines
    assert "- env: A" in lines
    assert "~ env: B" in lines
    assert "\x1b[2J" not in result.stdout
    assert "Would be refused: No. [auth.denied]" in result.stderr
    assert "stockade modules push" in result.stderr
    shown = json.loads(cli.run(*words, "--json").stdout)
    assert (shown["passes"], shown["changes"]) == (False, CHANGES)


def test_a_rehearsal_that_passes_ends_well(cli: CommandLine) -> None:
    body = REHEARSAL | {"refusals": [], "changes": {}, "creates": False, "against": None}
    cli.gateway.on("PUT /v1/functions/hello", answer(body))
    result = cli.run("functions", "deploy", "hello", "--module", DIGEST, "--dry-run")
    assert (result.exit_code, "5 (as it is)" in result.stdout) == (0, True)
    assert "would pass" in result.stderr


def test_a_rehearsal_of_a_file_uploads_nothing(cli: CommandLine) -> None:
    Path("m.wasm").write_bytes(b"\0asm")
    Path("m.sig").write_bytes(b"\1")
    cli.gateway.on("PUT /v1/functions/hello", answer(REHEARSAL | {"refusals": []}))
    words = ("--module", "m.wasm", "--dry-run", "--signature", "m.sig")
    result = cli.run("functions", "deploy", "hello", *words)
    assert result.exit_code == 0, result.stderr
    assert [one.method for one in cli.gateway.requests] == ["PUT"]
    expected = {"wasm_base64": "AGFzbQ==", "signature_base64": "AQ==", "grants": []}
    assert cli.gateway.last_json == expected | {"limits": {}, "env": {}}


@pytest.mark.parametrize(
    "words",
    [
        ("--module", DIGEST, "--against", "prod"),
        ("--module", "absent.wasm", "--dry-run"),
        ("--module", "oci:hello:1", "--dry-run"),
    ],
)
def test_rehearsals_that_make_no_sense(cli: CommandLine, words: tuple[str, ...]) -> None:
    assert cli.run("functions", "deploy", "hello", *words).exit_code == 2
    assert cli.gateway.requests == []


def test_versions_are_listed(cli: CommandLine) -> None:
    cli.gateway.on("GET /v1/functions/hello/versions", answer({"versions": [VERSION], "next": 4}))
    result = cli.run("functions", "versions", "hello", "--limit", "1", "--before", "9")
    assert dict(cli.gateway.last.url.params) == {"before": "9", "limit": "1"}
    assert "4        2027-01-15 08:00:00 UTC  abcdefghij01  Why \\x1b[2J" in result.stdout
    assert "--before 4" in result.stderr
    shown = json.loads(cli.run("functions", "versions", "hello", "--json").stdout)
    assert shown["next"] == 4
    last = answer({"versions": [VERSION], "next": None})
    cli.gateway.on("GET /v1/functions/hello/versions", last)
    assert cli.run("functions", "versions", "hello").stderr == ""


def test_a_version_is_shown_with_who_deployed_it(cli: CommandLine) -> None:
    cli.gateway.on("GET /v1/functions/hello", answer(VERSION))
    shown = cli.run("functions", "show", "hello", "--alias", "prod").stdout
    assert dict(cli.gateway.last.url.params) == {"alias": "prod"}
    assert "by             abcdefghij01" in shown
    assert "label commit   abc" in shown
    assert "\x1b" not in shown


def test_automatic_limits_and_retries_are_shown(cli: CommandLine) -> None:
    settings = {"limits": {"fuel": 9, "wall_ms": 7}, "auto_limits": ["fuel"]}
    settings |= {"retry": {"policy": "learned", "max_attempts": 5}}
    cli.gateway.on("GET /v1/functions/hello", answer(VERSION | settings))
    shown = cli.run("functions", "show", "hello").stdout
    lines = [line.split(maxsplit=2) for line in shown.splitlines()]
    assert ["limit", "fuel", "auto (9 at first)"] in lines
    assert ["limit", "wall_ms", "7"] in lines
    assert ["retry", "policy", "learned"] in lines


def test_differences(cli: CommandLine) -> None:
    body = {"name": "hello", "from": 3, "to": 4, "changes": CHANGES}
    cli.gateway.on("GET /v1/functions/hello/diff", answer(body), answer(body | {"changes": {}}))
    result = cli.run("functions", "diff", "hello", "prod")
    assert dict(cli.gateway.last.url.params) == {"from": "prod", "to": "latest"}
    assert "~ limits.fuel: 5 -> 7" in result.stdout
    result = cli.run("functions", "diff", "hello", "3", "4")
    assert "the same" in result.stderr
    assert (
        json.loads(cli.run("functions", "diff", "hello", "3", "4", "--json").stdout)["after"] == 4
    )


def test_a_function_is_deleted_and_restored(cli: CommandLine) -> None:
    cli.gateway.on("DELETE /v1/functions/hello", answer(DELETED))
    cli.gateway.on("POST /v1/functions/hello/restore", answer(VERSION))
    cli.gateway.on("GET /v1/functions", answer({"deleted": [DELETED]}))
    assert "until 2027-01-22 08:00:00 UTC" in cli.run("functions", "delete", "hello").stderr
    assert json.loads(cli.run("functions", "delete", "hello", "--json").stdout)["version"] == 4
    assert "2027-01-22" in cli.run("functions", "list", "--deleted").stdout
    shown = json.loads(cli.run("functions", "list", "--deleted", "--json").stdout)
    assert shown[0]["name"] == "hello"
    assert "is there again" in cli.run("functions", "restore", "hello").stderr
    assert json.loads(cli.run("functions", "restore", "hello", "--json").stdout)["version"] == 4


def test_one_version_is_deleted(cli: CommandLine) -> None:
    cli.gateway.on("DELETE /v1/functions/hello/versions/3", httpx.Response(204))
    assert cli.run("functions", "delete", "hello", "--version", "3").exit_code == 0


def test_what_a_deleted_function_is_asked_for_says_how_to_get_it_back(cli: CommandLine) -> None:
    cli.gateway.on("GET /v1/functions/hello", problem(410, "function.deleted"))
    result = cli.run("functions", "show", "hello")
    assert (result.exit_code, "functions restore" in result.stderr) == (2, True)


@pytest.mark.parametrize(
    ("targets", "sent"),
    [
        (("3",), {"version": 3}),
        (("3=9", "4=1"), {"weights": {"3": 9, "4": 1}}),
        (("3=99.5%", "4=0.5%"), {"percent": {"3": 99.5, "4": 0.5}}),
    ],
)
def test_an_alias_takes_a_version_or_shares(
    cli: CommandLine, targets: tuple[str, ...], sent: object
) -> None:
    cli.gateway.on(f"PUT {PROD}", answer(ALIAS))
    result = cli.run("functions", "alias", "hello", "prod", *targets, "--expect", "7")
    assert result.exit_code == 0
    assert cli.gateway.last_json == sent
    assert cli.gateway.last.headers["If-Match"] == '"7"'
    assert "Alias prod points to 3=90%, 4=10% (revision 7)." in result.stderr


@pytest.mark.parametrize("targets", [("x=1",), ("3", "4"), ("3=x%",), ("3=95%", "4=5"), ("x=5%",)])
def test_shares_that_make_no_sense(cli: CommandLine, targets: tuple[str, ...]) -> None:
    assert cli.run("functions", "alias", "hello", "prod", *targets).exit_code == 2
    assert cli.gateway.requests == []


def test_aliases_and_their_history_are_listed(cli: CommandLine) -> None:
    change = {
        "revision": 7,
        "verb": "set",
        "from": None,
        "to": {"3": 9, "4": 1},
        "at_ms": 5,
        "by": "x",
    }
    first = change | {"revision": 6, "from": {"3": 1}, "to": None, "verb": "delete"}
    cli.gateway.on("GET /v1/functions/hello/aliases", answer({"aliases": [ALIAS]}))
    cli.gateway.on(f"GET {PROD}/history", answer({"changes": [change, first]}))
    assert "prod   3=90%, 4=10%  7" in cli.run("functions", "aliases", "hello").stdout
    listed = cli.run("functions", "history", "hello", "prod").stdout.splitlines()
    assert listed[1].split() == [
        "7",
        "set",
        "-",
        "3=90%,",
        "4=10%",
        "1970-01-01",
        "00:00:00",
        "UTC",
        "x",
    ]
    assert listed[2].split()[:4] == ["6", "delete", "3", "-"]
    assert json.loads(cli.run("functions", "aliases", "hello", "--json").stdout)[0]["revision"] == 7
    shown = json.loads(cli.run("functions", "history", "hello", "prod", "--json").stdout)
    assert [one["revision"] for one in shown] == [7, 6]


def test_a_promotion(cli: CommandLine) -> None:
    cli.gateway.on(f"POST {PROD}/promote", answer(ALIAS), answer(ALIAS | {"changed": False}))
    words = ("functions", "promote", "hello", "prod")
    assert cli.run(*words, "canary", "--percent", "5").exit_code == 0
    assert cli.gateway.last_json == {"from": "canary", "percent": 5}
    result = cli.run(*words, "4", "--expect", "0")
    assert cli.gateway.last_json == {"version": 4}
    assert cli.gateway.last.headers["If-None-Match"] == "*"
    assert "points already to" in result.stderr
    assert json.loads(cli.run(*words, "4", "--json").stdout)["revision"] == 7


def test_a_rollback_changes_what_it_saw_only(cli: CommandLine) -> None:
    cli.gateway.on(f"GET {PROD}", answer(ALIAS))
    one = ALIAS | {"weights": {"3": 1}, "percent": {"3": 100}, "revision": 8}
    cli.gateway.on(f"POST {PROD}/rollback", answer(one))
    result = cli.run("functions", "rollback", "hello", "prod")
    assert cli.gateway.last.headers["If-Match"] == '"7"'
    assert "Alias prod points to 3 (revision 8)." in result.stderr
    cli.run("functions", "rollback", "hello", "prod", "--to", "2", "--expect", "5")
    assert cli.gateway.last.headers["If-Match"] == '"5"'
    assert cli.gateway.last.url.params["revision"] == "2"


def test_a_change_in_between_is_told(cli: CommandLine) -> None:
    cli.gateway.on(f"DELETE {PROD}", problem(412, "alias.changed"), httpx.Response(204))
    result = cli.run("functions", "unalias", "hello", "prod", "--expect", "1")
    assert (result.exit_code, "functions aliases" in result.stderr) == (2, True)
    assert cli.run("functions", "unalias", "hello", "prod").exit_code == 0
