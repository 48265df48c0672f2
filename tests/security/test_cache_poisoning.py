"""A compiled module that Stockade did not write for exactly this module and engine never runs."""

import os
from pathlib import Path

import pytest

from stockade.infra.directory_artifacts import DirectoryArtifactCache

DIGEST, OTHER = "sha256:" + "a" * 64, "sha256:" + "b" * 64
KEY = b"k" * 32


@pytest.fixture
async def cache(tmp_path: Path) -> DirectoryArtifactCache:
    made = DirectoryArtifactCache(tmp_path, KEY, "engine")
    await made.put(DIGEST, b"native code")
    return made


async def is_refused_and_rebuilt(cache: DirectoryArtifactCache, digest: str = DIGEST) -> None:
    assert await cache.get(digest) is None
    await cache.put(digest, b"built anew")
    assert await cache.get(digest) == b"built anew"


@pytest.mark.parametrize("at", range(43))
async def test_a_flipped_byte(cache: DirectoryArtifactCache, tmp_path: Path, at: int) -> None:
    file = tmp_path / "engine" / DIGEST[7:]
    content = bytearray(file.read_bytes())
    content[at] ^= 1
    file.write_bytes(content)
    await is_refused_and_rebuilt(cache)


async def test_a_swapped_file(cache: DirectoryArtifactCache, tmp_path: Path) -> None:
    (tmp_path / "engine" / DIGEST[7:]).rename(tmp_path / "engine" / OTHER[7:])
    await is_refused_and_rebuilt(cache, OTHER)


@pytest.mark.parametrize("size", [0, 1, 31, 32, 33, 42])
async def test_a_cut_file(cache: DirectoryArtifactCache, tmp_path: Path, size: int) -> None:
    file = tmp_path / "engine" / DIGEST[7:]
    os.truncate(file, size)
    await is_refused_and_rebuilt(cache)


async def test_an_artifact_of_another_engine(cache: DirectoryArtifactCache, tmp_path: Path) -> None:
    newer = DirectoryArtifactCache(tmp_path, KEY, "newer")
    (tmp_path / "engine" / DIGEST[7:]).rename(tmp_path / "newer" / DIGEST[7:])
    await is_refused_and_rebuilt(newer)
    assert await cache.get(DIGEST) is None


async def test_an_artifact_under_another_key(cache: DirectoryArtifactCache, tmp_path: Path) -> None:
    assert await cache.get(DIGEST) == b"native code"
    await is_refused_and_rebuilt(DirectoryArtifactCache(tmp_path, b"x" * 32, "engine"))


@pytest.mark.parametrize("content", [b"", b"\x7fELF" + bytes(100), bytes(32) + b"code"])
async def test_an_attackers_file(
    cache: DirectoryArtifactCache, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "engine" / OTHER[7:]).write_bytes(content)
    await is_refused_and_rebuilt(cache, OTHER)


async def test_a_link_to_another_file(cache: DirectoryArtifactCache, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes((tmp_path / "engine" / DIGEST[7:]).read_bytes())
    (tmp_path / "engine" / DIGEST[7:]).unlink()
    (tmp_path / "engine" / DIGEST[7:]).symlink_to(outside)
    await is_refused_and_rebuilt(cache)
    assert outside.read_bytes().endswith(b"native code")


async def test_what_is_no_file(cache: DirectoryArtifactCache, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "engine" / OTHER[7:])
    await is_refused_and_rebuilt(cache, OTHER)


async def test_a_file_beyond_all_bounds_is_not_read(
    cache: DirectoryArtifactCache, tmp_path: Path
) -> None:
    file = tmp_path / "engine" / OTHER[7:]
    file.touch()
    os.truncate(file, 1 << 40)
    await is_refused_and_rebuilt(cache, OTHER)
