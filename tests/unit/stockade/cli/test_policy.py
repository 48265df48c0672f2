"""`stockade policy`: the gateway's own engine, offline; a script can rely on its exit codes."""

import json
import shutil
from pathlib import Path

import httpx
import pytest

from stockade.core.actions import Action
from tests.unit.sdk_python.test_keys import KEY
from tests.unit.stockade.cli.conftest import CommandLine
from tests.unit.stockade.infra.policies.policy_files import PERMIT_ALL, SHIPPED, policies_in

CASE = """
[[case]]
name = "nobody invokes at night"
principal = { role = "invoker" }
action = "invoke"
expect = "deny"
by = ["night"]
"""
NO_DIR = {"STOCKADE_POLICY_DIR": ""}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return policies_in(tmp_path / "p")


def test_check_says_what_is_sound(cli: CommandLine, directory: Path) -> None:
    result = cli.run("policy", "check", str(directory), **NO_DIR)
    assert (result.exit_code, result.stdout) == (0, "")
    assert "7 policies are sound." in result.stderr
    told = json.loads(cli.run("policy", "check", str(directory), "--json", **NO_DIR).stdout)
    assert told["policies"][2] == "viewers-read"
    assert told["version"] in result.stderr


def test_check_refuses_with_file_line_and_policy(cli: CommandLine, directory: Path) -> None:
    (directory / "more.cedar").write_text(
        '\n@id("m") permit (principal, action, resource) when { principal.nope };'
    )
    result = cli.run("policy", "check", str(directory), **NO_DIR)
    assert result.exit_code == 2
    assert "more.cedar:2: policy 'm': attribute `nope`" in result.stderr
    assert "[config.policies_invalid]" in result.stderr


def test_the_shipped_policies_are_the_default(cli: CommandLine, tmp_path: Path) -> None:
    result = cli.run("policy", "test", **NO_DIR)
    assert result.exit_code == 0, result.output
    assert "cases hold." in result.stderr
    shutil.copytree(SHIPPED.parent, tmp_path / "mine")
    policies_in(tmp_path / "mine" / "authorization", mine=PERMIT_ALL)
    mine = {"STOCKADE_POLICY_DIR": str(tmp_path / "mine")}
    result = cli.run("policy", "check", **mine)
    assert "8 policies are sound" in result.stderr
    assert (
        "The plans are sound. The default is 'default'; 0 tenants have their own." in result.stderr
    )
    (tmp_path / "mine" / "plans.toml").write_text('default = "none"\n[tenants]\n')
    result = cli.run("policy", "check", **mine)
    assert result.exit_code == 2
    assert "there is no limits/none.toml" in result.stderr


def test_what_differs_is_a_table_and_exits_with_1(cli: CommandLine, directory: Path) -> None:
    (directory / "night.cases.toml").write_text(CASE)
    result = cli.run("policy", "test", str(directory), **NO_DIR)
    assert result.exit_code == 1
    head, row = result.stdout.splitlines()
    assert head.split() == ["case", "asked", "wanted", "by", "said", "by"]
    assert "night.cases.toml:1 nobody invokes at night" in row
    assert row.split("  ")[-1] == "invokers-invoke"
    assert "0 of 1 cases hold." in result.stderr
    assert "No case is decided by: admins-administer, developers-deploy" in result.stderr
    told = json.loads(cli.run("policy", "test", str(directory), "--json", **NO_DIR).stdout)
    assert told["cases"] == 1
    assert told["differing"] == [
        {
            "place": "night.cases.toml:1",
            "name": "nobody invokes at night",
            "asked": "key invoker: invoke tenant",
            "wanted": "deny",
            "wanted_by": ["night"],
            "said": "allow",
            "said_by": ["invokers-invoke"],
            "failed": False,
            "reason": "",
        }
    ]


def test_a_case_that_leaves_the_policy_open_or_is_of_a_signer(
    cli: CommandLine, directory: Path
) -> None:
    any_policy = CASE.replace('by = ["night"]\n', "")
    vouch = '[[case]]\nname = "s"\nsigner = {}\naction = "vouch"\nexpect = "deny"\n'
    failing = '\n@id("f") forbid (principal, action == Action::"deploy", resource)'
    failing += " when { context.fuel * 9223372036854775807 > 0 };"
    (directory / "a.cases.toml").write_text(
        any_policy + vouch + CASE.replace("invoke", "deploy").replace("deployr", "invoker")
    )
    (directory / "f.cedar").write_text(failing)
    result = cli.run("policy", "test", str(directory), **NO_DIR)
    rows = result.stdout.splitlines()
    assert "(any)" in rows[1]
    assert "signer ci of acme: vouch for a module of acme" in rows[2]
    assert [word for word in rows[3].split("  ") if word][-2:] == ["failed", "f"]


def test_no_cases_are_no_success(cli: CommandLine, directory: Path) -> None:
    result = cli.run("policy", "test", str(directory), **NO_DIR)
    assert result.exit_code == 1
    assert "There are no cases." in result.stderr


def test_a_case_that_cannot_be_read_is_refused(cli: CommandLine, directory: Path) -> None:
    (directory / "night.cases.toml").write_text(CASE.replace("expect", "expects"))
    result = cli.run("policy", "test", str(directory), **NO_DIR)
    assert result.exit_code == 2
    assert "[config.cases_invalid]" in result.stderr


def simulated(cli: CommandLine, *words: str) -> list[dict[str, object]]:
    result = cli.run("policy", "simulate", str(SHIPPED), "--json", *words, **NO_DIR)
    assert result.exit_code == 0, result.output
    answers: list[dict[str, object]] = json.loads(result.stdout)["answers"]
    return answers


def test_who_could(cli: CommandLine) -> None:
    answers = simulated(cli, "--action", "deploy", "--function", "prod-api")
    assert {(one["kind"], one["role"]) for one in answers if one["allowed"]} == {
        (kind, role) for kind in ("key", "workload") for role in ("developer", "admin")
    }
    assert {one["name"] for one in answers} == {"prod-api"}
    result = cli.run("policy", "simulate", str(SHIPPED), "--action", "read", "--of", "x", **NO_DIR)
    assert len(result.stdout.splitlines()) == 9
    assert "key       viewer     read    tenant of x  deny    own-tenant-only" in result.stdout


def test_policies_are_told_which_alias(cli: CommandLine, directory: Path) -> None:
    shutil.copy(SHIPPED.parent / "examples" / "prod-alias-by-admins.cedar", directory)
    asked = ["policy", "simulate", str(directory), "--action", "point_alias", "--kind", "key"]
    asked += ["--role", "developer"]
    assert "prod-alias-by-admins" in cli.run(*asked, **NO_DIR).stdout
    assert "developers-deploy" in cli.run(*asked, "--alias", "canary", **NO_DIR).stdout


def test_what_could_this_principal_do(cli: CommandLine) -> None:
    answers = simulated(cli, "--role", "invoker", "--kind", "key")
    assert {one["action"] for one in answers if one["allowed"]} == {
        "read",
        "invoke",
        "cancel",
        "redrive",
    }
    assert len(answers) == len(Action)
    scoped = simulated(cli, "--role", "admin", "--scope", "read", "--kind", "key")
    assert [one["action"] for one in scoped if one["allowed"]] == ["read"]
    assert {"(scopes)"} == {name for one in scoped[1:] for name in one["policies"]}  # type: ignore[attr-defined]


def test_a_simulation_tells_module_grants_limits_and_claims(
    cli: CommandLine, directory: Path
) -> None:
    (directory / "x.cedar").write_text(
        '@id("x") forbid (principal is Workload, action == Action::"deploy", resource) when {'
        ' principal.hasTag("ref") && principal.getTag("ref") == "main" && context.fuel == 7'
        ' && context.grant_kinds.contains("kv") && context.module.signers == ["a", "b"]'
        ' && context.module.abi == "wasi:preview1" && !context.module.deterministic'
        " && context.module.size_bytes == 9 };"
    )
    asked = ["--action", "deploy", "--role", "admin", "--claim", "ref=main", "--limit", "fuel=7"]
    asked += ["--grant", "kv:orders", "--module", "signers=a,b", "--module", "abi=wasi:preview1"]
    asked += ["--module", "deterministic=false", "--module", "size_bytes=9"]
    shown = cli.run("policy", "simulate", str(directory), *asked, **NO_DIR).stdout.splitlines()
    assert shown[1].split()[-2:] == ["allow", "developers-deploy"]
    assert shown[2].split()[-2:] == ["deny", "x"]


@pytest.mark.parametrize(
    "words",
    [
        ("--module", "colour=red"),
        ("--module", "size_bytes=much"),
        ("--limit", "fuel=much"),
        ("--limit", "fule=1"),
        ("--grant", "fly"),
        ("--scope", "fly"),
        ("--claim", "x"),
        ("--action", "fly"),
    ],
)
def test_a_simulation_of_what_there_is_not_is_refused(
    cli: CommandLine, words: tuple[str, str]
) -> None:
    result = cli.run("policy", "simulate", str(SHIPPED), *words, **NO_DIR)
    assert result.exit_code == 2
    assert words[1].partition("=")[0] in result.stderr or words[0] in result.stderr


def test_which_real_keys_could(cli: CommandLine, directory: Path) -> None:
    (directory / "till.cedar").write_text(
        '@id("till") forbid (principal == Key::"abcdefghij02", action, resource)'
        ' unless { action == Action::"invoke" };'
    )
    ids = [f"abcdefghij{number:02}" for number in range(1, 7)]
    keys = [KEY | {"id": key_id, "expires_ms": None, "scopes": []} for key_id in ids]
    keys[2]["scopes"] = ["invoke:f"]
    keys[3]["revoked_ms"] = 5
    keys[4]["expires_ms"] = 5
    keys[5]["kind"] = "workload"
    cli.gateway.on("GET /v1/keys", httpx.Response(200, json={"keys": keys}))
    asked = ["policy", "who", str(directory), "--tenant", "acme", "--function", "f"]
    shown = cli.run(*asked, "--action", "deploy", **NO_DIR).stdout.splitlines()
    assert [line.split()[-2:] for line in shown[1:]] == [
        ["allow", "developers-deploy"],
        ["deny", "till"],
        ["deny", "(scopes)"],
    ]
    told = json.loads(cli.run(*asked, "--json", **NO_DIR).stdout)["answers"]
    assert len(told) == 3 * len(Action)
    assert {one["id"] for one in told} == set(ids[:3])
    assert told[0]["key"] == KEY["name"]


def test_help_names_the_commands_and_what_they_ask(cli: CommandLine) -> None:
    assert all(
        word in cli.run("policy", "--help").stdout for word in ("check", "test", "simulate", "who")
    )
    shown = cli.run("policy", "simulate", "--help").stdout
    assert "--action deploy --function prod-api" in shown
