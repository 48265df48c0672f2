"""Files that are complete and on disk once they have their name."""

import os
import tempfile
from pathlib import Path

from stockade.core.digests import digest_of
from stockade.infra.blob_failures import blob_corrupt

_ABANDONED_SECONDS = 3600
_DIRECTORY_MODE = 0o700


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
    descriptor, name = tempfile.mkstemp(dir=directory)
    aside = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def remove_abandoned(directory: Path) -> None:
    """Removes what dead processes left behind: files much older than one just made."""
    now = file_system_now(directory)
    for path in directory.iterdir():
        try:
            if now - path.stat().st_mtime > _ABANDONED_SECONDS:
                path.unlink()
        except FileNotFoundError:
            continue  # another process renamed or removed it


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
