"""The operator's commands, on a real database and a real directory."""

import asyncio
import json
import os
from pathlib import Path

import pytest

from stockade.core.digests import digest_of
from stockade.core.modules import Abi, ModuleFacts, StoredModule
from stockade.infra.blobs.directory_blobs import DirectoryBlobStore
from stockade.infra.sql.sql_catalog import SqlCatalog
from tests.unit.stockade.cli.conftest import CommandLine

FACTS = ModuleFacts(Abi.STOCKADE_V1, (), (), deterministic=True, size_bytes=4)
KEPT, ORPHAN = digest_of(b"kept"), digest_of(b"orphan")


async def _fill(folder: Path) -> None:
    catalog = await SqlCatalog.open(f"sqlite:///{folder / 'catalog.db'}")
    blobs = DirectoryBlobStore(folder / "blobs")
    await catalog.ensure_tenant("acme")
    await catalog.add_module(StoredModule("acme", await blobs.put(b"kept"), FACTS, (b"s",), 1))
    await blobs.put(b"orphan")
    await catalog.aclose()


def _path(folder: Path, digest: str) -> Path:
    return folder / "blobs" / "sha256" / digest[7:9] / digest[9:]


@pytest.fixture
def where(cli: CommandLine, tmp_path: Path) -> list[str]:
    assert cli.run("storage", "--help").exit_code == 0
    asyncio.run(_fill(tmp_path))
    return [f"--database-url=sqlite:///{tmp_path / 'catalog.db'}", f"--blob-dir={tmp_path}/blobs"]


def test_what_nobody_needs_is_told_and_then_deleted(
    cli: CommandLine, where: list[str], tmp_path: Path
) -> None:
    young = cli.run("storage", "collect", *where)
    assert (young.exit_code, young.stdout) == (0, "")
    for digest in (KEPT, ORPHAN):
        os.utime(_path(tmp_path, digest), (1, 1))
    trial = cli.run("storage", "collect", "--dry-run", *where)
    assert (trial.stdout.split(), _path(tmp_path, ORPHAN).exists()) == ([ORPHAN], True)
    assert "would go" in trial.stderr
    done = cli.run("storage", "collect", "--json", *where)
    assert json.loads(done.stdout) == {"modules": 0, "blobs": [ORPHAN], "abandoned": 0}
    assert not _path(tmp_path, ORPHAN).exists()
    assert _path(tmp_path, KEPT).exists()
    assert "0 blobs are deleted" in cli.run("storage", "collect", *where).stderr


def test_a_check_reads_everything_and_exits_by_what_it_finds(
    cli: CommandLine, where: list[str], tmp_path: Path
) -> None:
    sound = cli.run("storage", "check", *where)
    assert (sound.exit_code, sound.stdout.split()[:4]) == (0, ["modules", "1", "blobs", "2"])
    for digest in (KEPT, ORPHAN):
        _path(tmp_path, digest).write_bytes(b"spoilt")
    spoilt = cli.run("storage", "check", *where)
    assert spoilt.exit_code == 1
    assert spoilt.stdout.splitlines()[:2] == [f"damaged  acme  {KEPT}", f"damaged  -  {ORPHAN}"]
    _path(tmp_path, KEPT).unlink()
    told = cli.run("storage", "check", "--json", *where)
    found = json.loads(told.stdout)
    assert (found["sound"], found["missing"]) == (False, [["acme", KEPT]])
    assert found["corrupt_blobs"] == [ORPHAN]
    assert f"missing  acme  {KEPT}" in cli.run("storage", "check", *where).stdout


@pytest.mark.parametrize(
    "odd",
    [
        ["--blobs-url=s3://key:hidden@bucket"],
        ["--blobs-url=ftp://hidden"],
        ["--blob-grace-seconds=1"],
    ],
)
def test_settings_that_cannot_be_are_told_without_their_values(
    cli: CommandLine, where: list[str], odd: list[str]
) -> None:
    done = cli.run("storage", "collect", *where, *odd)
    assert (done.exit_code, "config.invalid" in done.stderr) == (2, True)
    assert "hidden" not in done.output


def test_blobs_need_a_place(cli: CommandLine, where: list[str]) -> None:
    done = cli.run("storage", "check", where[0])
    assert (done.exit_code, "blob_dir is missing" in done.stderr) == (2, True)
