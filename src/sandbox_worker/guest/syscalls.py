"""Calls the kernel that Python's standard library does not offer, and their numbers per machine.

Numbers: `arch/x86/entry/syscalls/syscall_64.tbl` and `include/uapi/asm-generic/unistd.h` of Linux.
"""

import ctypes
import os
import platform
from dataclasses import dataclass

_libc = ctypes.CDLL(None, use_errno=True)
_PR_SET_NAME = 15


@dataclass(frozen=True, slots=True)
class Machine:
    """A processor architecture as seccomp names it (`AUDIT_ARCH_…`), with its syscall numbers."""

    audit_arch: int
    numbers: dict[str, int]


_X86_64 = Machine(
    0xC000003E,
    {
        "read": 0, "write": 1, "close": 3, "fstat": 5, "poll": 7, "lseek": 8, "mmap": 9,
        "mprotect": 10, "munmap": 11, "brk": 12, "rt_sigaction": 13, "rt_sigprocmask": 14,
        "rt_sigreturn": 15, "ioctl": 16, "readv": 19, "writev": 20, "sched_yield": 24, "mremap": 25,
        "madvise": 28, "nanosleep": 35, "setitimer": 38, "getpid": 39, "sendto": 44,
        "recvfrom": 45, "sendmsg": 46, "recvmsg": 47, "exit": 60, "fcntl": 72, "ftruncate": 77,
        "gettimeofday": 96, "sigaltstack": 131, "gettid": 186, "futex": 202,
        "restart_syscall": 219, "clock_gettime": 228, "clock_getres": 229,
        "clock_nanosleep": 230, "exit_group": 231, "tgkill": 234, "getrandom": 318,
        "memfd_create": 319, "seccomp": 317, "membarrier": 324, "rseq": 334,
        "landlock_create_ruleset": 444, "landlock_add_rule": 445, "landlock_restrict_self": 446,
    },
)  # fmt: skip
_AARCH64 = Machine(
    0xC00000B7,
    {
        "fcntl": 25, "ioctl": 29, "ftruncate": 46, "close": 57, "lseek": 62, "read": 63,
        "write": 64, "readv": 65, "writev": 66, "ppoll": 73, "fstat": 80, "exit": 93,
        "exit_group": 94, "futex": 98, "nanosleep": 101, "setitimer": 103, "clock_gettime": 113,
        "clock_getres": 114, "clock_nanosleep": 115, "sched_yield": 124,
        "restart_syscall": 128, "tgkill": 131, "sigaltstack": 132, "rt_sigaction": 134,
        "rt_sigprocmask": 135, "rt_sigreturn": 139, "gettimeofday": 169, "getpid": 172,
        "gettid": 178, "sendto": 206, "recvfrom": 207, "sendmsg": 211, "recvmsg": 212,
        "brk": 214, "munmap": 215, "mremap": 216, "mmap": 222, "mprotect": 226, "madvise": 233,
        "seccomp": 277, "getrandom": 278, "memfd_create": 279, "membarrier": 283, "rseq": 293,
        "landlock_create_ruleset": 444, "landlock_add_rule": 445, "landlock_restrict_self": 446,
    },
)  # fmt: skip
MACHINES = {"x86_64": _X86_64, "aarch64": _AARCH64}


def this_machine() -> Machine:
    """The machine that runs this.

    Raises:
        RuntimeError: it is one that Stockade has no jail for.
    """
    machine = MACHINES.get(platform.machine())
    if machine is None:
        raise RuntimeError(f"there is no jail for {platform.machine()} processors")
    return machine


def syscall(number: int, *arguments: object) -> int:
    """Makes a system call.

    Raises:
        OSError: with the kernel's errno.
    """
    result = int(_libc.syscall(ctypes.c_long(number), *arguments))
    if result < 0:
        raise _last_error()
    return result


def prctl(option: int, value: int) -> None:
    """Sets an attribute of this process (`man 2 prctl`).

    Raises:
        OSError: with the kernel's errno.
    """
    zero = ctypes.c_ulong(0)
    if _libc.prctl(option, ctypes.c_ulong(value), zero, zero, zero) != 0:
        raise _last_error()


def name_thread(name: bytes) -> None:
    """Names the calling thread; at most 15 bytes.

    Raises:
        OSError: with the kernel's errno.
    """
    text = ctypes.create_string_buffer(name)
    prctl(_PR_SET_NAME, ctypes.addressof(text))


def _last_error() -> OSError:
    code = ctypes.get_errno()
    return OSError(code, os.strerror(code))
