"""The jail: what a forked child gives up, in order, before it sees a byte of a tenant's.

Descriptors, files and network, resources, identity, privileges, system calls. There is no way back
from any of them. A step that fails ends the child: it fails closed. Landlock alone, which older
kernels lack, may be absent where the operator said so.
"""

import errno
import os
import resource
import signal
import tomllib
from dataclasses import dataclass
from pathlib import Path

from sandbox_worker.guest.landlock import deny_all
from sandbox_worker.guest.seccomp import build_filter, install_filter
from sandbox_worker.guest.syscalls import name_thread, prctl, this_machine

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38
_NOBODY = 65534
JAILED_NAME = b"stockade-jailed"
"""What the main thread of every jailed process is called: who watches from outside knows it by."""
_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class JailBounds:
    """Resources of a jailed process; `cpu_seconds` None leaves time to the supervisor's watch."""

    data_bytes: int
    file_bytes: int = 64 * _MIB
    open_files: int = 16
    cpu_seconds: int | None = None


EXECUTOR_BOUNDS = JailBounds(data_bytes=2048 * _MIB)
COMPILER_BOUNDS = JailBounds(data_bytes=1024 * _MIB, cpu_seconds=10)


def load_allowed_calls(policy: Path) -> tuple[str, ...]:
    """The names in a seccomp policy file.

    Raises:
        ValueError: a call has no reason beside it, or the file is not of this form.
    """
    entries = tomllib.loads(policy.read_text(encoding="utf-8")).get("allow")
    if not isinstance(entries, dict) or not all(isinstance(why, str) for why in entries.values()):
        raise ValueError(f"{policy} needs a table [allow] of call = reason")
    return tuple(entries)


def drop_descriptors(keep: int) -> None:
    """Closes every descriptor but one, and ties 0, 1 and 2 to nothing."""
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    os.closerange(3, keep)
    os.closerange(keep + 1, 1 << 16)


def close_files(*, required: bool = True) -> int:
    """Takes files and the network away; returns the Landlock version in force (0: none).

    To be called before the first thread starts: Landlock binds the thread that asks and those that
    it starts later, no others.

    Args:
        required: Whether a kernel without Landlock is an error.

    Raises:
        OSError: the wall could not be put up.
    """
    prctl(_PR_SET_NO_NEW_PRIVS, 1)
    version = deny_all(this_machine())
    if version == 0 and required:
        raise OSError(errno.ENOSYS, "this kernel has no Landlock, which is required")
    return version


def enter_jail(bounds: JailBounds, allowed: tuple[str, ...], parent: int) -> None:
    """Locks this process up for good, all its threads; `close_files` comes before.

    Every thread that the process needs must be running already. `parent` is the process id whose
    end must be this one's end too.

    Raises:
        OSError: a wall could not be put up.
    """
    machine = this_machine()
    os.environ.clear()  # noqa: TID251 (emptied, never read)
    _bound_resources(bounds)
    _drop_identity()
    prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    prctl(_PR_SET_DUMPABLE, 0)
    program = build_filter(machine, allowed)
    name_thread(JAILED_NAME)
    install_filter(machine, program)


def _bound_resources(bounds: JailBounds) -> None:
    _bound(resource.RLIMIT_CORE, 0)
    _bound(resource.RLIMIT_NOFILE, bounds.open_files)
    _bound(resource.RLIMIT_FSIZE, bounds.file_bytes)
    _bound(resource.RLIMIT_DATA, bounds.data_bytes)
    if bounds.cpu_seconds is not None:
        _bound(resource.RLIMIT_CPU, bounds.cpu_seconds)


def _bound(what: int, value: int) -> None:
    hard = resource.getrlimit(what)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(what, (value, value))


def _drop_identity() -> None:
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)
    # After the change of user: root is not bound by this one.
    _bound(resource.RLIMIT_NPROC, 0)
