"""The data directory of `stockade dev`, held by one instance, and the port it listens on."""

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stockade.core.errors import StockadeError

HOST = "127.0.0.1"
_MAX_PORT_TEXT = 32


@contextmanager
def locked(data_dir: Path) -> Iterator[Path]:
    """Makes the directory (mode 0700) and holds it; yields its full path.

    Raises:
        StockadeError: `dev.already_running` when another instance holds it.
    """
    path = data_dir.resolve()
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    flags = os.O_RDWR | os.O_CREAT
    with os.fdopen(os.open(path / "dev.lock", flags, 0o600), "r+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _already_running(path, lock.read(_MAX_PORT_TEXT).strip()) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield path


def choose_port(port: int) -> int:
    """The port itself when it is free; a free one for 0.

    Raises:
        StockadeError: `dev.port_busy`.
    """
    if port == 0:
        return free_port()
    try:
        return _bind(port)
    except PermissionError as error:
        raise _unusable(port, "needs more rights than you have") from error
    except OSError as error:
        raise _unusable(port, "is in use") from error


def free_port() -> int:
    """A port that nobody listens on just now."""
    return _bind(0)


def _bind(port: int) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((HOST, port))
        chosen: int = probe.getsockname()[1]
        return chosen


def _unusable(port: int, why: str) -> StockadeError:
    return StockadeError(
        "dev.port_busy",
        f"Port {port} on {HOST} {why}. Choose another with --port, or --port 0 for a free one.",
        retryable=True,
    )


def _already_running(path: Path, holder: str) -> StockadeError:
    return StockadeError(
        "dev.already_running",
        f"Another 'stockade dev' (process {holder or 'unknown'}) uses {str(path)!r}. Stop it, or "
        "choose another directory with --data-dir.",
        retryable=True,
    )
