"""`stockade audit`: list, export, and verify against a gateway, a file and a database."""

import asyncio
import json
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text

from stockade.core.audit import PLATFORM
from stockade.core.audit_chain import extended, signed_head
from stockade.infra.audit_key import Ed25519HeadSigner
from stockade.infra.sql.sql_catalog import SqlCatalog
from tests.unit.sdk_python.fake_gateway import FakeGateway
from tests.unit.stockade.cli.conftest import CommandLine
from tests.unit.stockade.core.audit_chains import SIGNER, chain, export, facts

COUNT = 2001
ENTRIES, HEAD = chain(COUNT)
LINES = export(ENTRIES, HEAD)
KEY = SIGNER.public_key.hex()


def serve(gateway: FakeGateway, lines: list[str]) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        after = int(request.url.params.get("after", "0"))
        end = after + int(request.url.params["limit"])
        rest = lines[after:end] if end < len(lines) - 1 else lines[after:]
        return httpx.Response(200, text="".join(line + "\n" for line in rest))

    gateway.on("GET /v1/audit/export", answer)


@pytest.fixture(autouse=True)
def log(cli: CommandLine) -> None:
    serve(cli.gateway, LINES)


def test_entries_are_listed_safely(cli: CommandLine) -> None:
    entries = [json.loads(line) for line in (LINES[1], LINES[0])]
    entries[0] |= {"object": "\x1b[31m", "count": 5}
    cli.gateway.on("GET /v1/audit", httpx.Response(200, json={"entries": entries}))
    done = cli.run("audit", "list", "--action", "deploy", "--object", "f", "--limit", "2")
    assert done.exit_code == 0, done.output
    assert dict(cli.gateway.last.url.params) == {"action": "deploy", "object": "f", "limit": "2"}
    assert "\x1b" not in done.stdout
    assert "done x5" in done.stdout
    assert "auth.denied" in done.stdout
    told = json.loads(cli.run("audit", "list", "--json").stdout)
    assert [entry["sequence"] for entry in told] == [2, 1]


def test_an_export_is_the_very_lines(cli: CommandLine, tmp_path: Path) -> None:
    assert cli.run("audit", "export").stdout.splitlines() == LINES
    assert cli.run("audit", "export", "--out", "log.ndjson", "--after", "2000").exit_code == 0
    assert (tmp_path / "log.ndjson").read_text().splitlines() == LINES[2000:]


def test_the_gateways_log_is_verified_page_by_page(cli: CommandLine) -> None:
    done = cli.run("audit", "verify")
    assert done.exit_code == 0, done.output
    assert f"acme: sound, entries 1 to {COUNT}, {HEAD.hash}" in done.stdout
    assert "--checkpoint" in done.stderr
    assert "--checkpoint" not in cli.run("audit", "verify", "--public-key", KEY).stderr


def test_an_exact_page_ends_with_the_head(cli: CommandLine) -> None:
    entries, head = chain(999)
    serve(cli.gateway, export(entries, head))
    assert cli.run("audit", "verify").exit_code == 0
    serve(cli.gateway, [])
    done = cli.run("audit", "verify")
    assert (done.exit_code, done.stdout) == (0, "-: no entries\n")


def test_a_file_is_verified_offline_and_the_first_bad_entry_named(
    cli: CommandLine, tmp_path: Path
) -> None:
    first, second = tmp_path / "1.ndjson", tmp_path / "2.ndjson"
    first.write_text("".join(line + "\n" for line in LINES[:1500]))
    second.write_text("".join(line + "\n" for line in LINES[1500:]))
    done = cli.run("audit", "verify", str(first), str(second), "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)[0]
    assert (told["sound"], told["entries"], told["key_known"]) == (True, COUNT, False)
    assert not cli.gateway.requests
    second.write_text(
        second.read_text().replace('"object_kind":"function"', '"object_kind":"x"', 1)
    )
    done = cli.run("audit", "verify", str(first), str(second))
    assert done.exit_code == 5
    assert "line 1501, entry 1501: its content was changed" in done.stdout
    assert json.loads(cli.run("audit", "verify", str(first), str(second), "--json").stdout)[0][
        "fault"
    ] == {"line": 1501, "sequence": 1501, "what": "its content was changed"}


def test_an_export_that_was_cut_off_is_not_sound(cli: CommandLine, tmp_path: Path) -> None:
    path = tmp_path / "log.ndjson"
    path.write_text("".join(line + "\n" for line in LINES[:-1]))
    done = cli.run("audit", "verify", str(path))
    assert done.exit_code == 5
    assert "head is missing" in done.stdout
    path.write_bytes(b"\xff\n")
    assert "cannot be read" in cli.run("audit", "verify", str(path)).stdout


def test_another_operators_key_is_found(cli: CommandLine) -> None:
    _, forged = extended(
        "acme", None, [entry.facts for entry in ENTRIES], Ed25519HeadSigner((b"b" * 32,))
    )
    serve(cli.gateway, export(ENTRIES, forged))
    assert cli.run("audit", "verify").exit_code == 0
    done = cli.run("audit", "verify", "--public-key", KEY)
    assert done.exit_code == 5
    assert "not signed with the operator's key" in done.stdout
    refused = cli.run("audit", "verify", "--public-key", "xyz")
    assert refused.exit_code == 2
    assert "cli.audit_key_invalid" in refused.stderr


def test_a_checkpoint_remembers_and_holds_the_log_to_it(cli: CommandLine, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.json"
    words = ("audit", "verify", "--checkpoint", str(path))
    assert cli.run(*words).exit_code == 0
    told = json.loads(path.read_text())
    assert told == {"chain": "acme", "sequence": COUNT, "hash": HEAD.hash, "public_key": KEY}
    assert cli.run(*words).exit_code == 0
    old = signed_head("acme", (1, HEAD.first_previous), (7, ENTRIES[6].hash), 1, SIGNER)
    serve(cli.gateway, export(ENTRIES[:7], old))
    done = cli.run(*words)
    assert done.exit_code == 5
    assert f"entry {COUNT}: the chain ends with entry 7" in done.stdout
    assert json.loads(path.read_text()) == told
    rewritten, head = extended("acme", None, [facts(1)] * (COUNT + 1), SIGNER)
    serve(cli.gateway, export(list(rewritten), head))
    assert "the checkpoint was made of" in cli.run(*words).stdout


def test_a_pruned_checkpoint_is_told_of(cli: CommandLine, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.json"
    known = {"chain": "acme", "sequence": 5, "hash": ENTRIES[4].hash, "public_key": KEY}
    words = ("audit", "verify", "--checkpoint", str(path))
    for begin, said in ((5, False), (6, True)):
        path.write_text(json.dumps(known))
        first = (begin + 1, ENTRIES[begin - 1].hash)
        shorter = signed_head("acme", first, (20, ENTRIES[19].hash), 1, SIGNER)
        serve(cli.gateway, ["pruned"] * begin + export(ENTRIES[begin:20], shorter))
        cli.gateway.on(
            "GET /v1/audit/export",
            httpx.Response(200, text="\n".join(export(ENTRIES[begin:20], shorter))),
        )
        done = cli.run(*words)
        assert done.exit_code == 0, done.output
        assert ("was pruned" in done.stderr) is said
    path.write_text(json.dumps(known | {"hash": ENTRIES[5].hash}))
    first = (6, ENTRIES[4].hash)
    shorter = signed_head("acme", first, (20, ENTRIES[19].hash), 1, SIGNER)
    cli.gateway.on(
        "GET /v1/audit/export", httpx.Response(200, text="\n".join(export(ENTRIES[5:20], shorter)))
    )
    assert cli.run(*words).exit_code == 5


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"chain":1}', "null"])
def test_checkpoints_that_are_none_are_refused(
    cli: CommandLine, tmp_path: Path, content: str
) -> None:
    path = tmp_path / "checkpoint.json"
    path.write_text(content)
    done = cli.run("audit", "verify", "--checkpoint", str(path))
    assert done.exit_code == 2
    assert "cli.checkpoint_invalid" in done.stderr
    path.write_text(json.dumps({"chain": "a", "sequence": True, "hash": "", "public_key": KEY}))
    assert cli.run("audit", "verify", "--checkpoint", str(path)).exit_code == 2
    known = {"chain": "rival", "sequence": 0, "hash": "0" * 64, "public_key": KEY}
    path.write_text(json.dumps(known))
    assert "cli.checkpoint_invalid" in cli.run("audit", "verify", "--checkpoint", str(path)).stderr


def test_lines_that_are_no_entries_end_it(cli: CommandLine) -> None:
    cli.gateway.on("GET /v1/audit/export", httpx.Response(200, text="x\n" * 1000))
    assert cli.run("audit", "verify").exit_code == 5
    done = cli.run("audit", "export")
    assert done.exit_code == 2
    assert "cli.audit_line" in done.stderr


async def _database(url: str, statement: str | None = None) -> None:
    catalog = await SqlCatalog.open(url)
    log = catalog.audit_log(SIGNER)
    if statement is None:
        await log.append([("acme", facts(1)), ("acme", facts(2)), (PLATFORM, facts(3))])
    else:
        async with catalog._writer.writing() as connection:
            await connection.execute(text(statement))
    await catalog.aclose()


def test_operators_verify_all_chains_in_the_database(cli: CommandLine, tmp_path: Path) -> None:
    url, key = f"sqlite:///{tmp_path / 'catalog.db'}", tmp_path / "audit.key"
    asyncio.run(_database(url))
    key.write_bytes(b"a" * 32)
    key.chmod(0o600)
    where = ("--database-url", url, "--audit-key-file", str(key))
    done = cli.run("audit", "verify", *where)
    assert done.exit_code == 0, done.output
    assert done.stdout.count("sound") == 2
    one = cli.run("audit", "export", *where, "--chain", PLATFORM)
    assert len(one.stdout.splitlines()) == 2
    asyncio.run(_database(url, "UPDATE audit_heads SET signature = public_key"))
    done = cli.run("audit", "verify", *where, "--chain", "acme")
    assert done.exit_code == 5
    assert done.stdout.startswith("acme: BROKEN")
    assert cli.run("audit", "verify", "--database-url", url).exit_code == 2
    assert cli.run("audit", "export", *where).exit_code == 2
    absent = cli.run("audit", "verify", "--database-url", url, "--audit-key-file", "absent")
    assert "cli.audit_key_missing" in absent.stderr
    assert not cli.gateway.requests
