"""The parts of `stockade dev` that need no process; the whole is tested in `tests/e2e`."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from stockade.cli.dev.child import process_ended
from stockade.cli.dev.data_dir import choose_port, free_port, locked
from stockade.cli.dev.tenant import ensure_dev_key
from stockade.cli.parent import die_with
from stockade.cli.paths import examples_dir, policy_dir
from stockade.core.api_keys import generate_key, parse_key
from stockade.core.errors import StockadeError
from stockade.infra.memory.memory_catalog import MemoryCatalog
from stockade.infra.system_clock import SystemClock

CLOCK = SystemClock()


async def test_the_key_is_made_once_and_opens_the_tenant(tmp_path: Path) -> None:
    catalog, file = MemoryCatalog(), tmp_path / "key"
    await ensure_dev_key(catalog, CLOCK, file)
    text = file.read_text()
    await ensure_dev_key(catalog, CLOCK, file)
    assert file.read_text() == text
    assert file.stat().st_mode & 0o777 == 0o600
    key = parse_key(text)
    stored = await catalog.find_key(key.id)
    assert stored is not None
    assert (stored.tenant, key.opens(stored, CLOCK.now_ms())) == ("dev", True)


async def test_the_key_survives_the_loss_of_the_catalog(tmp_path: Path) -> None:
    file = tmp_path / "key"
    await ensure_dev_key(MemoryCatalog(), CLOCK, file)
    fresh = MemoryCatalog()
    await ensure_dev_key(fresh, CLOCK, file)
    assert await fresh.find_key(parse_key(file.read_text()).id) is not None


@pytest.mark.parametrize("content", [b"", b"stk_nonsense", b"\xff"])
async def test_a_damaged_key_file_is_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "dev-api-key"
    file.write_bytes(content)
    with pytest.raises(StockadeError, match="Delete that file") as caught:
        await ensure_dev_key(MemoryCatalog(), CLOCK, file)
    assert caught.value.code == "dev.key_unusable"


async def test_a_key_with_another_secret_is_refused(tmp_path: Path) -> None:
    catalog, file = MemoryCatalog(), tmp_path / "key"
    await ensure_dev_key(catalog, CLOCK, file)
    parts, other = file.read_text().split("_"), generate_key("dev")[0].split("_")
    body = "_".join((*parts[:3], other[3][:32]))
    file.write_text(body + _checksum(body))
    with pytest.raises(StockadeError, match="not valid"):
        await ensure_dev_key(catalog, CLOCK, file)


def _checksum(body: str) -> str:
    from zlib import crc32  # noqa: PLC0415

    return f"{crc32(body.encode()):08x}"


def test_a_directory_has_one_holder(tmp_path: Path) -> None:
    place = tmp_path / "a" / "data"
    with locked(place) as held:
        assert held == place
        with pytest.raises(StockadeError, match=str(os.getpid())) as caught, locked(place):
            pass
    assert caught.value.code == "dev.already_running"
    with locked(place):
        assert place.stat().st_mode & 0o777 == 0o700


def test_ports() -> None:
    port = free_port()
    assert choose_port(port) == port
    assert choose_port(0) > 0


def start_reader() -> subprocess.Popen[bytes]:
    return subprocess.Popen((sys.executable, "-c", "input()"), stdin=subprocess.PIPE)


async def test_the_end_of_a_process_is_seen_before_and_after() -> None:
    process = start_reader()
    ended = asyncio.ensure_future(process_ended(process.pid))
    await asyncio.sleep(0)
    assert not ended.done()
    process.communicate(b"\n")
    await ended


def test_nobody_stays_whose_starter_is_gone() -> None:
    with pytest.raises(SystemExit):
        die_with(os.getpid(), signal.SIGCONT)


def test_policies_and_examples_are_found_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert (policy_dir() / "seccomp").is_dir()
    assert examples_dir().name == "wasm"
    (tmp_path / "examples" / "wasm").mkdir(parents=True)
    assert examples_dir() == tmp_path / "examples" / "wasm"
