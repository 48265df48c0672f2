import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from stockade.core.errors import StockadeError
from stockade.infra.secrets_file import read_or_create_secret


def test_a_secret_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "mac"
    secret = read_or_create_secret(path, 32)
    assert len(secret) == 32
    assert secret == path.read_bytes() == read_or_create_secret(path, 32)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert list(path.parent.iterdir()) == [path]


def test_two_files_hold_two_secrets(tmp_path: Path) -> None:
    assert read_or_create_secret(tmp_path / "a", 32) != read_or_create_secret(tmp_path / "b", 32)


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o601, 0o640, 0o620, 0o610, 0o777])
def test_a_file_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "mac"
    secret = read_or_create_secret(path, 32)
    path.chmod(mode)
    with pytest.raises(StockadeError) as caught:
        read_or_create_secret(path, 32)
    assert (caught.value.code, caught.value.retryable) == ("config.secret_exposed", False)
    assert path.read_bytes() == secret


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_file_for_its_owner_is_read(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "mac"
    secret = read_or_create_secret(path, 16)
    path.chmod(mode)
    assert read_or_create_secret(path, 16) == secret


@pytest.mark.parametrize("size", [0, 31, 33, 10_000])
def test_a_file_of_another_size_is_refused_and_kept(tmp_path: Path, size: int) -> None:
    path = tmp_path / "mac"
    path.touch(mode=0o600)
    path.write_bytes(b"x" * size)
    with pytest.raises(StockadeError, match=r"^config\.secret_invalid"):
        read_or_create_secret(path, 32)
    assert path.stat().st_size == size


def test_what_is_no_file_is_unreadable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to(tmp_path / "absent")
    for path in (tmp_path, tmp_path / "file" / "mac", tmp_path / "dangling"):
        with pytest.raises(StockadeError, match=r"^config\.secret_unreadable"):
            read_or_create_secret(path, 32)


READ_OR_CREATE = """
import pathlib, sys
from stockade.infra.secrets_file import read_or_create_secret
sys.stdin.read()
print(read_or_create_secret(pathlib.Path(sys.argv[1]), 32).hex())
"""


def test_processes_that_start_at_once_share_one_secret(tmp_path: Path) -> None:
    path = tmp_path / "mac"
    gate, start = os.pipe()
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", READ_OR_CREATE, str(path)],
            stdin=gate,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(6)
    ]
    os.close(gate)
    os.close(start)
    answers = {process.communicate()[0].strip() for process in processes}
    assert answers == {path.read_bytes().hex()}
    assert list(tmp_path.iterdir()) == [path]
