"""Runs a command as on a host that lacks something: `host_without.py WHAT COMMAND…`.

What is lacking is taken away by the kernel itself, by a seccomp filter that answers with an error
(as a container's does), a change of personality or a dropped capability, and stays away from every
descendant.
"""

import ctypes
import errno
import os
import struct
import sys

from sandbox_worker.guest.seccomp import install_filter
from sandbox_worker.guest.syscalls import prctl, this_machine

_NO_NEW_PRIVS, _SET_SECCOMP = 38, 22
_DROP_FROM_BOUNDING_SET, _CAP_KILL = 24, 5
_ADDR_NO_RANDOMIZE = 0x0040000
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _ERROR = 0x7FFF0000, 0x00050000
_NUMBER_OFFSET, _FIRST_ARGUMENT_OFFSET = 0, 16
_X86 = this_machine().numbers["seccomp"] == 317
_PRCTL, _SETRESUID, _PIDFD_OPEN = (157, 117, 434) if _X86 else (167, 147, 434)
_UNSHARE = 272 if _X86 else 97

Refusal = tuple[int, int, int | None]
"""A call's number, the error it gives, and its first argument where only that one is refused."""


def refusals(what: str) -> list[Refusal]:
    """The system calls that such a host refuses."""
    numbers = this_machine().numbers
    return {
        "nothing": [],
        "landlock": [(numbers["landlock_create_ruleset"], errno.ENOSYS, None)],
        "landlock-hidden": [(numbers["landlock_create_ruleset"], errno.EPERM, None)],
        "seccomp": [(numbers["seccomp"], errno.EPERM, None), (_PRCTL, errno.EPERM, _SET_SECCOMP)],
        "no_new_privs": [(_PRCTL, errno.EINVAL, _NO_NEW_PRIVS)],
        "nobody": [(_SETRESUID, errno.EPERM, None)],
        "pidfd": [(_PIDFD_OPEN, errno.ENOSYS, None)],
        "user_namespaces": [(_UNSHARE, errno.EPERM, None)],
    }[what]


def program(refused: list[Refusal]) -> bytes:
    """The filter: each refused call gives its error, all others pass."""
    lines = []
    for number, error, argument in refused:
        body = [(_RETURN, 0, 0, _ERROR | error)]
        if argument is not None:
            body[:0] = [(_LOAD, 0, 0, _FIRST_ARGUMENT_OFFSET), (_EQUAL, 0, 1, argument)]
        lines += [(_LOAD, 0, 0, _NUMBER_OFFSET), (_EQUAL, 0, len(body), number), *body]
    lines.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(struct.pack("=HBBI", *line) for line in lines)


def main() -> None:
    what, *command = sys.argv[1:]
    if what == "aslr":
        ctypes.CDLL(None).personality(_ADDR_NO_RANDOMIZE)
    elif what == "kill":
        prctl(_DROP_FROM_BOUNDING_SET, _CAP_KILL)
    else:
        prctl(_NO_NEW_PRIVS, 1)
        install_filter(this_machine(), program(refusals(what)))
    os.execv(command[0], command)  # noqa: S606 - what the tests name


if __name__ == "__main__":
    main()
