"""`ArtifactCache` in a directory. Compiled modules are native code: only used with a right MAC.

A file is the HMAC-SHA-256 tag, then the artifact. The tag covers module digest, engine fingerprint
and artifact, so that a flipped byte, a swapped file or an artifact of another engine is never
loaded. Several processes of a host share the directory: files appear whole, by renaming; who
compiles holds a lock that ends with its process; what was used longest ago goes first.
"""

import asyncio
import contextlib
import fcntl
import hashlib
import hmac
import os
import shutil
import stat
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import structlog

_TAG_BYTES = 32
_MAX_ARTIFACT_BYTES = 128 * 1024 * 1024
_GIB = 1024 * 1024 * 1024
_ASIDE = ".aside-"
_LOCKS = "locks"
_ABANDONED_SECONDS = 3600.0
_OTHER_ENGINES_SECONDS = 7 * 24 * 3600.0
_USE_NOTED_SECONDS = 60.0
_LOCK_PAUSE_SECONDS = 0.02
_log = structlog.get_logger()


class DirectoryArtifactCache:
    """Keeps artifacts under `root`, for one engine fingerprint, authenticated with `key`.

    Args:
        root: The directory; others of the host may use it too.
        key: Authenticates; no executor ever sees it.
        fingerprint: Of the engine that makes and loads the artifacts.
        max_bytes: All files of this engine together; what was used longest ago makes room.
        lock_seconds: How long to wait for another process that makes an artifact.
    """

    def __init__(
        self,
        root: Path,
        key: bytes,
        fingerprint: str,
        max_bytes: int = 2 * _GIB,
        lock_seconds: float = 60.0,
    ) -> None:
        self._root = root / fingerprint
        self._key = key
        self._fingerprint = fingerprint
        self._max_bytes = max_bytes
        self._lock_seconds = lock_seconds
        with _logged("artifact_cache_unusable"):
            root.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._make_folders()
            _remove_other_engines(root, fingerprint)
            _remove_old_locks(self._root / _LOCKS)

    async def get(self, digest: str) -> bytes | None:
        """The artifact for this module; None when absent or not authentic."""
        return await asyncio.to_thread(self._read, digest)

    async def put(self, digest: str, artifact: bytes) -> None:
        """Keeps an artifact; a failure to write is logged."""
        await asyncio.to_thread(self._write, digest, artifact)

    @asynccontextmanager
    async def making(self, digest: str) -> AsyncIterator[None]:
        """Held by the one process of this host that makes the artifact; others wait for it.

        Waiting is bounded: an artifact that is made twice costs time, none at all costs the run.
        """
        path = self._root / _LOCKS / self._path(digest).name
        with contextlib.ExitStack() as held:
            with contextlib.suppress(OSError):
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
                held.callback(os.close, descriptor)
                await _lock(descriptor, self._lock_seconds)
            yield

    def _make_folders(self) -> None:
        for folder in (self._root, self._root / _LOCKS):
            folder.mkdir(exist_ok=True, mode=0o700)

    def _read(self, digest: str) -> bytes | None:
        content = _read_file(self._path(digest))
        if content is None:
            return None
        tag, artifact = content[:_TAG_BYTES], content[_TAG_BYTES:]
        if hmac.compare_digest(tag, self._tag(digest, artifact)):
            return artifact
        _log.error("artifact_cache_not_authentic", digest=digest)
        with contextlib.suppress(OSError):
            self._path(digest).unlink()
        return None

    def _write(self, digest: str, artifact: bytes) -> None:
        with _logged("artifact_cache_write_failed"):
            # A newer engine's worker may have removed what was not written to for long.
            self._make_folders()
            self._make_room(len(artifact) + _TAG_BYTES)
            descriptor, aside = tempfile.mkstemp(dir=self._root, prefix=_ASIDE)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(self._tag(digest, artifact))
                    file.write(artifact)
                Path(aside).replace(self._path(digest))
            except OSError:
                Path(aside).unlink(missing_ok=True)
                raise

    def _make_room(self, size: int) -> None:
        files = sorted(_files(self._root), key=lambda one: one[1].st_mtime)
        total = sum(found.st_size for _, found in files) + size
        abandoned = time.time() - _ABANDONED_SECONDS  # noqa: TID251 (files tell the wall's time)
        for path, found in files:
            left_over = path.name.startswith(_ASIDE)
            if left_over and found.st_mtime > abandoned:
                continue
            if left_over or total > self._max_bytes:
                path.unlink(missing_ok=True)
                (self._root / _LOCKS / path.name).unlink(missing_ok=True)
                total -= found.st_size

    def _path(self, digest: str) -> Path:
        return self._root / digest.removeprefix("sha256:")

    def _tag(self, digest: str, artifact: bytes) -> bytes:
        facts = f"{digest}\n{self._fingerprint}\n".encode()
        mac = hmac.new(self._key, facts, hashlib.sha256)
        mac.update(artifact)
        return mac.digest()


async def _lock(descriptor: int, seconds: float) -> None:
    give_up = time.monotonic() + seconds
    while time.monotonic() < give_up:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        await asyncio.sleep(_LOCK_PAUSE_SECONDS)


def _read_file(path: Path) -> bytes | None:
    """A regular file of a sound size, noted as used; no link is followed."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        most = _MAX_ARTIFACT_BYTES + _TAG_BYTES
        if not stat.S_ISREG(found.st_mode) or not _TAG_BYTES < found.st_size <= most:
            return None
        now = time.time()  # noqa: TID251 (files tell the wall's time)
        if now - found.st_mtime > _USE_NOTED_SECONDS:
            with contextlib.suppress(OSError):
                os.utime(descriptor, (now, now))
        return file.read(found.st_size)


def _files(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                if entry.is_file(follow_symlinks=False):
                    yield Path(entry.path), entry.stat(follow_symlinks=False)


def _remove_other_engines(root: Path, fingerprint: str) -> None:
    """Removes what engines left that nobody used for a week: an upgrade leaves all behind."""
    oldest = time.time() - _OTHER_ENGINES_SECONDS  # noqa: TID251 (files tell the wall's time)
    with os.scandir(root) as entries:
        for entry in entries:
            # Another worker may be doing the same.
            with contextlib.suppress(OSError):
                found = entry.stat(follow_symlinks=False)
                old = entry.name != fingerprint and found.st_mtime < oldest
                if old and stat.S_ISDIR(found.st_mode):
                    shutil.rmtree(entry.path, ignore_errors=True)


def _remove_old_locks(folder: Path) -> None:
    """Removes locks of modules that came to nothing; one that is held costs a second artifact."""
    oldest = time.time() - _ABANDONED_SECONDS  # noqa: TID251 (files tell the wall's time)
    for path, found in _files(folder):
        if found.st_mtime < oldest:
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def _logged(event: str) -> Iterator[None]:
    """A cache that cannot be used is slow, not wrong."""
    try:
        yield
    except OSError as error:
        _log.warning(event, errno=error.errno)
