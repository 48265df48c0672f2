"""A random secret in a file of its own: made once, read ever after, for its owner's eyes only."""

import os
import secrets
import stat
import tempfile
from pathlib import Path

from stockade.core.errors import StockadeError

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def read_or_create_secret(path: Path, size: int) -> bytes:
    """Returns the `size` random bytes in the file, making it (mode 0600) when there is none.

    Of several processes that start at once one makes the secret, and all return that one.

    Raises:
        StockadeError: `config.secret_exposed` when group or others may touch the file,
            `config.secret_invalid` when it holds another number of bytes, and
            `config.secret_unreadable` when it can be neither read nor made.
    """
    try:
        return _read_or_create(path, size)
    except OSError as error:
        raise StockadeError(
            "config.secret_unreadable", f"The secret file {path} can be neither read nor made."
        ) from error


def _read_or_create(path: Path, size: int) -> bytes:
    try:
        return _read(path, size)
    except FileNotFoundError:
        _create(path, secrets.token_bytes(size))
        return _read(path, size)


def read_private(path: Path, most: int) -> bytes | None:
    """Up to so many bytes of a file that is its owner's alone; None when there is no such file.

    Raises:
        StockadeError: `config.secret_exposed` or `config.secret_unreadable`.
    """
    try:
        return _read_private(path, most)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StockadeError(
            "config.secret_unreadable", f"The secret file {path} can be neither read nor made."
        ) from error


def _read_private(path: Path, most: int) -> bytes:
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_mode & _OTHERS:
            raise StockadeError(
                "config.secret_exposed",
                f"The secret file {path} is open to others. Replace the secret, or chmod 600 it.",
            )
        return file.read(most)


def _read(path: Path, size: int) -> bytes:
    secret = _read_private(path, size + 1)
    if len(secret) != size:
        raise StockadeError(
            "config.secret_invalid", f"The secret file {path} must hold exactly {size} bytes."
        )
    return secret


def _create(path: Path, secret: bytes) -> None:
    """Writes aside and links; when another process was first, its secret counts."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent)  # O_EXCL, mode 0600
    aside = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secret)
            file.flush()
            os.fsync(descriptor)
        _link(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def _link(aside: Path, path: Path) -> None:
    try:
        path.hardlink_to(aside)
    except FileExistsError:
        return
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
