"""The artifact cache gives back only what it wrote itself, for the same module and engine."""

from pathlib import Path

import pytest

from stockade.infra.directory_artifacts import DirectoryArtifactCache

DIGEST, OTHER = "sha256:" + "a" * 64, "sha256:" + "b" * 64


@pytest.fixture
def cache(tmp_path: Path) -> DirectoryArtifactCache:
    return DirectoryArtifactCache(tmp_path / "cache", b"k" * 32, "engine")


async def test_an_artifact_comes_back(cache: DirectoryArtifactCache) -> None:
    assert await cache.get(DIGEST) is None
    await cache.put(DIGEST, b"native code")
    assert await cache.get(DIGEST) == b"native code"


@pytest.mark.parametrize("at", [0, 31, 32, 40])
async def test_a_flipped_byte_is_not_authentic(
    cache: DirectoryArtifactCache, tmp_path: Path, at: int
) -> None:
    await cache.put(DIGEST, b"native code")
    (file,) = (tmp_path / "cache" / "engine").iterdir()
    content = bytearray(file.read_bytes())
    content[at] ^= 1
    file.write_bytes(content)
    assert await cache.get(DIGEST) is None


async def test_a_swapped_file_is_not_authentic(
    cache: DirectoryArtifactCache, tmp_path: Path
) -> None:
    await cache.put(DIGEST, b"one")
    directory = tmp_path / "cache" / "engine"
    (directory / DIGEST[7:]).rename(directory / OTHER[7:])
    assert await cache.get(OTHER) is None


@pytest.mark.parametrize(("key", "engine"), [(b"x" * 32, "engine"), (b"k" * 32, "newer")])
async def test_another_key_or_engine_is_not_authentic(
    cache: DirectoryArtifactCache, tmp_path: Path, key: bytes, engine: str
) -> None:
    await cache.put(DIGEST, b"native code")
    written = tmp_path / "cache" / "engine"
    other = DirectoryArtifactCache(tmp_path / "cache", key, engine)
    if engine != "engine":
        written.rename(tmp_path / "cache" / engine)
    assert await other.get(DIGEST) is None


async def test_an_empty_file_is_not_authentic(
    cache: DirectoryArtifactCache, tmp_path: Path
) -> None:
    await cache.put(DIGEST, b"")
    (tmp_path / "cache" / "engine" / DIGEST[7:]).write_bytes(b"")
    assert await cache.get(DIGEST) is None


async def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    cache = DirectoryArtifactCache(tmp_path / "cache", b"k" * 32, "engine")
    (tmp_path / "cache" / "engine").write_text("a file where the directory should be")
    await cache.put(DIGEST, b"native code")
    assert await cache.get(DIGEST) is None
