"""Tries something in a child process that is thrown away, and notes what became of it."""

import errno
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Callable

from sandbox_worker.guest.syscalls import prctl

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE = 1, 4
_PATIENCE_SECONDS = 5.0
_CHUNK_BYTES = 4096

Notes = dict[str, str]
"""What happened, by name: `ok`, the name of an error, or another word."""


class Trial:
    """What the child writes its notes to, one at a time: it may be killed after any of them."""

    def __init__(self, pipe: int) -> None:
        self.pipe = pipe

    def note(self, name: str, value: str) -> None:
        """Writes one note."""
        os.write(self.pipe, f"{name}={value}\n".encode())

    def step(self, name: str, action: Callable[[], object]) -> bool:
        """Does something and notes `ok`, or the error's name; returns whether it worked."""
        try:
            action()
        except OSError as error:
            self.note(name, error_name(error))
            return False
        self.note(name, "ok")
        return True


def error_name(error: OSError) -> str:
    """The kernel's name for the error."""
    return errno.errorcode.get(error.errno or 0, "unknown")


def tried(attempt: Callable[[Trial], object], patience_seconds: float = _PATIENCE_SECONDS) -> Notes:
    """Runs the attempt in a child.

    Returns:
        The child's notes and `end`: `0` or another exit code, the name of the signal that killed it
        (`+core` when it left its memory behind), or `timeout`.

    Raises:
        OSError: there can be no child.
    """
    reading, writing = os.pipe()
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        _attempt(attempt, writing, parent)
    os.close(writing)
    told, ended = _read(reading, patience_seconds)
    os.close(reading)
    if not ended:
        os.kill(child, signal.SIGKILL)
    _pid, status = os.waitpid(child, 0)
    lines = told.decode(errors="replace").splitlines()
    notes = {name: value for name, _, value in (line.partition("=") for line in lines)}
    return notes | {"end": _end(status) if ended else "timeout"}


def _attempt(attempt: Callable[[Trial], object], pipe: int, parent: int) -> None:
    try:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        prctl(_PR_SET_DUMPABLE, 0)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if os.getppid() == parent:
            attempt(Trial(pipe))
    finally:
        # Nothing of the parent's may run in the child, and no exception may leave it.
        os._exit(0 if sys.exc_info()[0] is None else 1)


def _read(pipe: int, patience_seconds: float) -> tuple[bytes, bool]:
    """All that comes until the child's end closes the pipe, and whether that was in time."""
    told, give_up = b"", time.monotonic() + patience_seconds
    while select.select([pipe], [], [], max(0.0, give_up - time.monotonic()))[0]:
        more = os.read(pipe, _CHUNK_BYTES)
        if not more:
            return told, True
        told += more
    return told, False


def _end(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return str(code)
    return signal.Signals(-code).name + ("+core" if os.WCOREDUMP(status) else "")
