"""Tries this host's walls, each in a process of its own, and prints what became of it as JSON.

python -m sandbox_worker.guest.wall_probe SECCOMP_POLICY WALL…

It judges nothing: the notes of every attempt go to whoever asked.
"""

import ctypes
import errno
import json
import mmap
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from sandbox_worker.guest.jail import (
    EXECUTOR_BOUNDS,
    close_files,
    drop_descriptors,
    enter_jail,
    load_allowed_calls,
)
from sandbox_worker.guest.landlock import deny_all
from sandbox_worker.guest.seccomp import build_filter, install_filter
from sandbox_worker.guest.syscalls import prctl, this_machine
from sandbox_worker.guest.trial import Notes, Trial, error_name, tried

_PR_SET_NO_NEW_PRIVS, _PR_GET_NO_NEW_PRIVS = 38, 39
_CLONE_NEWUSER = 0x10000000
_NOBODY = 65534
_MIB = 1024 * 1024
_LAYOUT = "import ctypes;print(ctypes.cast(ctypes.CDLL(None).getpid,ctypes.c_void_p).value)"
_libc = ctypes.CDLL(None, use_errno=True)


def probe_seccomp(policy: Path) -> Notes:
    """Installs the policy's filter, then makes a call that it forbids."""
    try:
        allowed = load_allowed_calls(policy)
    except (OSError, ValueError) as error:
        return {"policy": error_name(error) if isinstance(error, OSError) else "malformed"}

    def attempt(trial: Trial) -> None:
        machine = this_machine()
        if not trial.step("no_new_privs", _set_no_new_privs):
            return
        if trial.step("install", lambda: install_filter(machine, build_filter(machine, allowed))):
            trial.step("forbidden_call", os.getppid)

    return {"policy": "ok"} | tried(attempt)


def probe_no_new_privs(_policy: Path) -> Notes:
    """Sets it, and asks whether it is set."""

    def attempt(trial: Trial) -> None:
        trial.step("set", _set_no_new_privs)
        trial.note("reads", str(_libc.prctl(_PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)))

    return tried(attempt)


def probe_landlock(_policy: Path) -> Notes:
    """Denies all, then opens a directory, binds a port and signals another process."""

    def attempt(trial: Trial) -> None:
        if not trial.step("no_new_privs", _set_no_new_privs):
            return
        # Before the denial: what fails anyway proves nothing.
        trial.step("network_before", _bind)
        try:
            trial.note("version", str(deny_all(this_machine())))
        except OSError as error:
            trial.note("version", error_name(error))
            return
        trial.step("files", lambda: os.open("/", os.O_RDONLY))
        trial.step("network", _bind)
        trial.step("signals", lambda: os.kill(os.getppid(), 0))

    return tried(attempt)


def probe_nobody(_policy: Path) -> Notes:
    """Becomes nobody, and tries to become root again."""

    def attempt(trial: Trial) -> None:
        trial.note("user", str(os.geteuid()))
        if os.geteuid() == 0 and trial.step("drop", _become_nobody):
            trial.step("return", lambda: os.setresuid(0, 0, 0))

    return tried(attempt)


def probe_rlimits(_policy: Path) -> Notes:
    """Goes beyond each bound that the jail sets, and crashes where a core would be left."""

    def attempt(trial: Trial) -> None:
        _bound(resource.RLIMIT_FSIZE, 4096)
        trial.step("file", lambda: os.ftruncate(os.memfd_create("probe"), 8192))
        _bound(resource.RLIMIT_DATA, 64 * _MIB)
        trial.step("data", lambda: mmap.mmap(-1, 256 * _MIB, flags=mmap.MAP_PRIVATE))
        _bound(resource.RLIMIT_NOFILE, 16)
        trial.step("descriptors", lambda: [os.dup(0) for _ in range(17)])
        if os.geteuid() == 0:
            trial.step("drop", _become_nobody)
        _bound(resource.RLIMIT_NPROC, 0)
        trial.step("processes", _fork)

    return tried(attempt) | {"core": tried(_crash)["end"]}


def probe_jail(policy: Path) -> Notes:
    """Enters the whole jail as an executor does, makes a forbidden call inside, and kills one."""

    def attempt(trial: Trial) -> None:
        allowed = load_allowed_calls(policy)
        drop_descriptors(trial.pipe)
        if not trial.step("close_files", lambda: close_files(required=False)):
            return
        if trial.step("enter", lambda: enter_jail(EXECUTOR_BOUNDS, allowed, os.getppid())):
            trial.step("forbidden_call", os.getppid)

    return tried(attempt) | {"kill": tried(_kill_nobody).get("kill", "none")}


def probe_pidfd(_policy: Path) -> Notes:
    """Opens a descriptor of a process, and signals it through that."""

    def attempt(trial: Trial) -> None:
        try:
            process = os.pidfd_open(os.getpid())
        except OSError as error:
            trial.note("open", error_name(error))
            return
        trial.note("open", "ok")
        trial.step("signal", lambda: signal.pidfd_send_signal(process, 0))

    return tried(attempt)


def probe_user_namespaces(_policy: Path) -> Notes:
    """Makes one, as nobody: root always may."""

    def attempt(trial: Trial) -> None:
        if os.geteuid() == 0:
            trial.step("drop", _become_nobody)
        trial.step("make", _unshare_user)

    return tried(attempt)


def probe_proc(_policy: Path) -> Notes:
    """Looks at the first process, as nobody."""

    def attempt(trial: Trial) -> None:
        trial.step("mounted", Path("/proc/self").stat)
        if os.geteuid() == 0:
            trial.step("drop", _become_nobody)
        trial.step("first_process", lambda: os.close(os.open("/proc/1/stat", os.O_RDONLY)))

    return tried(attempt)


def probe_aslr(_policy: Path) -> Notes:
    """Starts a program three times, and compares where its C library lies."""
    command = [sys.executable, "-I", "-S", "-c", _LAYOUT]
    places = {
        subprocess.run(command, capture_output=True, check=False, env={}).stdout  # noqa: S603 (our own program)
        for _ in range(3)
    }
    return {"places": str(len(places - {b""}))}


PROBES: dict[str, Callable[[Path], Notes]] = {
    "seccomp": probe_seccomp,
    "no_new_privs": probe_no_new_privs,
    "rlimits": probe_rlimits,
    "pidfd": probe_pidfd,
    "jail": probe_jail,
    "landlock": probe_landlock,
    "nobody": probe_nobody,
    "user_namespaces": probe_user_namespaces,
    "aslr": probe_aslr,
    "proc": probe_proc,
}


def _set_no_new_privs() -> None:
    prctl(_PR_SET_NO_NEW_PRIVS, 1)


def _become_nobody() -> None:
    os.setgroups([])
    os.setresgid(_NOBODY, _NOBODY, _NOBODY)
    os.setresuid(_NOBODY, _NOBODY, _NOBODY)


def _kill_nobody(trial: Trial) -> None:
    """Kills a process that became nobody, as the supervisor kills executors."""
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        ours.close()
        _wait_as_nobody(theirs)
    theirs.close()
    if ours.recv(1):
        trial.step("kill", lambda: os.kill(child, signal.SIGKILL))
    ours.close()
    os.waitpid(child, 0)


def _wait_as_nobody(parent: socket.socket) -> None:
    try:
        if os.geteuid() == 0:
            _become_nobody()
        parent.send(b"!")
        parent.recv(1)
    finally:
        os._exit(0)


def _bind() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))


def _crash(_trial: Trial) -> None:
    signal.signal(signal.SIGSYS, signal.SIG_DFL)
    signal.raise_signal(signal.SIGSYS)


def _fork() -> None:
    if os.fork() == 0:
        os._exit(0)


def _unshare_user() -> None:
    if _libc.unshare(_CLONE_NEWUSER) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def _bound(what: int, value: int) -> None:
    hard = resource.getrlimit(what)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(what, (value, value))


def _notes(wall: str, policy: Path) -> Notes:
    try:
        return PROBES[wall](policy)
    except OSError as error:
        return {"probe": error_name(error)}
    except RuntimeError:
        return {"probe": errno.errorcode[errno.ENOSYS]}


def main() -> None:
    """Prints the notes on the walls that are named."""
    policy = Path(sys.argv[1])
    json.dump({wall: _notes(wall, policy) for wall in sys.argv[2:]}, sys.stdout)


if __name__ == "__main__":
    main()
