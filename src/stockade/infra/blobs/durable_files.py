"""Files that are complete and on disk once they have their name."""

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from stockade.core.digests import digest_of
from stockade.infra.blobs.blob_failures import blob_corrupt

_ABANDONED_SECONDS = 3600
_DIRECTORY_MODE = 0o700


class FileAside:
    """A new file in `directory` that becomes `name`d or is removed.

    Its methods may be called from one thread after another.
    """

    def __init__(self, directory: Path) -> None:
        descriptor, name = tempfile.mkstemp(dir=directory)
        self._path: Path | None = Path(name)
        # Buffered, because such a file locks itself: a write left behind by a cancelled task
        # cannot go on into a descriptor that is closed and used again.
        self._file = os.fdopen(descriptor, "wb")

    def write(self, content: bytes) -> None:
        """Adds to the file."""
        self._file.write(content)

    def name(self, path: Path) -> None:
        """Fsyncs the file and gives it its name, in place of any other; the name is not synced."""
        if self._path is None:
            raise RuntimeError("the file has its name already")
        self._file.flush()
        os.fsync(self._file.fileno())
        self._path.replace(path)
        self._path = None

    def close(self) -> None:
        """Closes the file; removes it when it has no name.

        A disk that refuses is no news here: what has a name is synced, the rest is cleared later.
        """
        if self._path is not None:
            with suppress(OSError):
                self._path.unlink(missing_ok=True)
        with suppress(OSError):
            self._file.close()


def read_checked(path: Path, digest: str) -> bytes | None:
    """The file's bytes, or None when it is not there.

    Raises:
        StockadeError: `blobs.corrupt` when they do not have this digest.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    if digest_of(content) != digest:
        raise blob_corrupt(digest)
    return content


def write_aside(directory: Path, path: Path, content: bytes) -> None:
    """Writes a file in `directory`, fsyncs it, and gives it its name; the name is not synced."""
    aside = FileAside(directory)
    try:
        aside.write(content)
        aside.name(path)
    finally:
        aside.close()


def remove_abandoned(directory: Path) -> int:
    """Removes what dead processes left behind: files much older than one just made; how many."""
    now, removed = file_system_now(directory), 0
    for path in directory.iterdir():
        try:
            if now - path.stat().st_mtime > _ABANDONED_SECONDS:
                path.unlink()
                removed += 1
        except FileNotFoundError:
            continue  # another process renamed or removed it
    return removed


def file_system_now(directory: Path) -> float:
    """The time that a file made now has, so that the file system's own clock decides of ages."""
    with tempfile.NamedTemporaryFile(dir=directory) as fresh:
        return os.fstat(fresh.fileno()).st_mtime


def make_directory(directory: Path) -> None:
    """Makes a directory and those above it, durably, where they are missing."""
    if not directory.is_dir():
        make_directory(directory.parent)
        directory.mkdir(mode=_DIRECTORY_MODE, exist_ok=True)
        sync_directory(directory.parent)


def sync_directory(directory: Path) -> None:
    """Puts the directory's entries on disk."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
