"""The artifact cache gives back only what it wrote itself, and keeps to its bounds."""

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from stockade.infra.directory_artifacts import DirectoryArtifactCache

DIGEST, OTHER = "sha256:" + "a" * 64, "sha256:" + "b" * 64
KEY = b"k" * 32


def opened(
    tmp_path: Path, max_bytes: int = 1 << 20, engine: str = "engine"
) -> DirectoryArtifactCache:
    return DirectoryArtifactCache(tmp_path / "cache", KEY, engine, max_bytes)


@pytest.fixture
def cache(tmp_path: Path) -> DirectoryArtifactCache:
    return opened(tmp_path)


def place(tmp_path: Path, digest: str = DIGEST) -> Path:
    return tmp_path / "cache" / "engine" / digest[7:]


async def test_an_artifact_comes_back(cache: DirectoryArtifactCache, tmp_path: Path) -> None:
    assert await cache.get(DIGEST) is None
    await cache.put(DIGEST, b"native code")
    assert await cache.get(DIGEST) == b"native code"
    assert (tmp_path / "cache" / "engine").stat().st_mode & 0o077 == 0


async def test_what_was_used_longest_ago_makes_room(tmp_path: Path) -> None:
    cache = opened(tmp_path, max_bytes=1000)
    digests = [f"sha256:{number:064x}" for number in range(4)]
    for number, digest in enumerate(digests[:3]):
        await cache.put(digest, b"x" * 250)
        os.utime(place(tmp_path, digest), (number + 1, number + 1))
    assert await cache.get(digests[0]) is not None
    await cache.put(digests[3], b"x" * 250)
    assert [await cache.get(digest) is not None for digest in digests] == [True, False, True, True]


async def test_more_than_the_bound_is_kept_alone(tmp_path: Path) -> None:
    cache = opened(tmp_path, max_bytes=100)
    await cache.put(DIGEST, b"x" * 50)
    await cache.put(OTHER, b"x" * 500)
    assert await cache.get(DIGEST) is None
    assert await cache.get(OTHER) == b"x" * 500


async def test_what_killed_writers_left_is_removed(tmp_path: Path) -> None:
    cache = opened(tmp_path)
    old, young = (tmp_path / "cache" / "engine" / f".aside-{name}" for name in ("old", "young"))
    for path in (old, young):
        path.write_bytes(b"half")
    os.utime(old, (1, 1))
    await cache.put(DIGEST, b"x")
    assert (old.exists(), young.exists()) == (False, True)


def test_what_engines_left_long_ago_is_removed(tmp_path: Path) -> None:
    root = tmp_path / "cache"
    for name in ("old", "young"):
        (root / name).mkdir(parents=True)
        (root / name / "file").write_bytes(b"x")
    os.utime(root / "old", (1, 1))
    opened(tmp_path)
    assert sorted(path.name for path in root.iterdir()) == ["engine", "young"]


async def test_one_makes_while_others_wait(tmp_path: Path) -> None:
    first, second = opened(tmp_path), opened(tmp_path)
    made: list[str] = []

    async def make(cache: DirectoryArtifactCache, name: str) -> None:
        async with cache.making(DIGEST):
            if await cache.get(DIGEST) is None:
                made.append(name)
                others = [task for task in makers if task is not asyncio.current_task()]
                assert await asyncio.wait(others, timeout=0.05) == (set(), set(others))
                await cache.put(DIGEST, b"made")

    makers = [
        asyncio.ensure_future(make(cache, name))
        for cache, name in ((first, "first"), (second, "second"), (second, "third"))
    ]
    await asyncio.gather(*makers)
    assert len(made) == 1


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_waiting_for_who_makes_it_has_an_end(tmp_path: Path) -> None:
    impatient = DirectoryArtifactCache(tmp_path / "cache", KEY, "engine", lock_seconds=0.05)
    async with opened(tmp_path).making(DIGEST), impatient.making(DIGEST):
        await impatient.put(DIGEST, b"made twice")
    assert await impatient.get(DIGEST) == b"made twice"


async def test_who_stops_waiting_leaves_nothing_open(tmp_path: Path) -> None:
    cache = opened(tmp_path)
    async with cache.making(DIGEST):
        before = open_descriptors()
        waiting = asyncio.ensure_future(_made(cache))
        await asyncio.wait([waiting], timeout=0.05)
        waiting.cancel()
        await asyncio.wait([waiting])
        assert waiting.cancelled()
        assert open_descriptors() == before


def test_locks_of_what_came_to_nothing_are_removed(tmp_path: Path) -> None:
    locks = tmp_path / "cache" / "engine" / "locks"
    locks.mkdir(parents=True)
    for name in ("old", "young"):
        (locks / name).touch()
    os.utime(locks / "old", (1, 1))
    opened(tmp_path)
    assert [path.name for path in locks.iterdir()] == ["young"]


async def test_a_folder_that_was_removed_is_made_again(tmp_path: Path) -> None:
    cache = opened(tmp_path)
    shutil.rmtree(tmp_path / "cache" / "engine")
    async with cache.making(DIGEST):
        assert await cache.get(DIGEST) is None
        await cache.put(DIGEST, b"made")
    assert await cache.get(DIGEST) == b"made"


_WORKER = """
import asyncio, random, sys
from pathlib import Path
from stockade.infra.directory_artifacts import DirectoryArtifactCache
async def work(seed):
    cache = DirectoryArtifactCache(Path(sys.argv[1]), b"k" * 32, "engine", 20_000)
    chosen, hits = random.Random(seed), 0
    for _ in range(300):
        number = chosen.randrange(12)
        digest, artifact = f"sha256:{number:064x}", bytes([number]) * 3_000
        async with cache.making(digest):
            found = await cache.get(digest)
            if found is None:
                await cache.put(digest, artifact)
        assert found in (None, artifact)
        hits += found is not None
    print(hits)
asyncio.run(work(int(sys.argv[2])))
"""


def test_workers_of_a_host_share_it(tmp_path: Path) -> None:
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", _WORKER, str(tmp_path / "cache"), str(seed)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in range(3)
    ]
    for worker in workers:
        told, _ = worker.communicate(timeout=60)
        assert worker.returncode == 0
        *trouble, hits = told.splitlines()
        assert trouble == []
        assert 0 < int(hits) < 300
    files = [path for path in (tmp_path / "cache" / "engine").iterdir() if path.is_file()]
    assert all(path.stat().st_size == 3_032 and len(path.name) == 64 for path in files)
    # Three that write at once may each count without the others.
    assert 0 < sum(path.stat().st_size for path in files) <= 20_000 + 2 * 3_032


async def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    cache = opened(tmp_path)
    lock = tmp_path / "cache" / "engine" / "locks" / DIGEST[7:]
    program = (
        "import fcntl, sys, time\nlock = open(sys.argv[1], 'w')\n"
        "fcntl.flock(lock, fcntl.LOCK_EX)\nprint('held', flush=True)\ntime.sleep(60)"
    )
    holder = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, str(lock), stdout=asyncio.subprocess.PIPE
    )
    assert holder.stdout is not None
    await holder.stdout.readline()
    waiting = asyncio.ensure_future(_made(cache))
    assert await asyncio.wait([waiting], timeout=0.1) == (set(), {waiting})
    holder.kill()
    async with asyncio.timeout(10):
        await waiting
    await holder.wait()


async def _made(cache: DirectoryArtifactCache) -> None:
    async with cache.making(DIGEST):
        return


async def test_a_cache_that_cannot_be_used_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the directory should be")
    with capture_logs() as told:
        cache = opened(tmp_path)
        await cache.put(DIGEST, b"native code")
        assert await cache.get(DIGEST) is None
        await _made(cache)
    assert [(one["event"], one["log_level"]) for one in told] == [
        ("artifact_cache_unusable", "warning"),
        ("artifact_cache_write_failed", "warning"),
    ]


def test_a_full_disk_is_no_error(tmp_path: Path) -> None:
    program = f"""
import asyncio, resource, signal
from pathlib import Path
from stockade.infra.directory_artifacts import DirectoryArtifactCache
cache = DirectoryArtifactCache(Path({str(tmp_path / "cache")!r}), b"k" * 32, "engine")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
asyncio.run(cache.put("sha256:{"a" * 64}", b"x" * 5000))
print(asyncio.run(cache.get("sha256:{"a" * 64}")))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "None"
    assert list((tmp_path / "cache" / "engine").glob(".aside-*")) == []


async def test_use_is_noted_not_more_than_once_a_minute(
    cache: DirectoryArtifactCache, tmp_path: Path
) -> None:
    await cache.put(DIGEST, b"x")
    recent = place(tmp_path).stat().st_mtime - 10
    os.utime(place(tmp_path), (recent, recent))
    await cache.get(DIGEST)
    assert place(tmp_path).stat().st_mtime == pytest.approx(recent)
    os.utime(place(tmp_path), (1, 1))
    await cache.get(DIGEST)
    assert place(tmp_path).stat().st_mtime > recent
