"""Landlock: takes every right to files and the network away (`man 7 landlock`)."""

import ctypes
import errno
import os

from sandbox_worker.guest.syscalls import Machine, syscall

_CREATE_RULESET_VERSION = 1
_FILE_RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1}
_FILE_RIGHTS_NEWEST = (1 << 16) - 1
_NETWORK_RIGHTS = 0b11  # bind and connect TCP, from version 4
_SCOPES = 0b11  # abstract sockets and signals, from version 6
_NETWORK_VERSION, _SCOPE_VERSION = 4, 6


class _Ruleset(ctypes.Structure):
    _fields_ = (
        ("files", ctypes.c_uint64),
        ("network", ctypes.c_uint64),
        ("scopes", ctypes.c_uint64),
    )


def landlock_version(machine: Machine) -> int:
    """The kernel's Landlock version; 0 where it has none, or a container's filter hides it."""
    try:
        return syscall(
            machine.numbers["landlock_create_ruleset"],
            None,
            ctypes.c_size_t(0),
            ctypes.c_uint(_CREATE_RULESET_VERSION),
        )
    except OSError as error:
        if error.errno in {errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM}:
            return 0
        raise


def deny_all(machine: Machine) -> int:
    """Denies all that the kernel's Landlock knows; returns its version (0: nothing was done)."""
    version = landlock_version(machine)
    if version == 0:
        return 0
    ruleset = _Ruleset(
        _FILE_RIGHTS.get(version, _FILE_RIGHTS_NEWEST),
        _NETWORK_RIGHTS if version >= _NETWORK_VERSION else 0,
        _SCOPES if version >= _SCOPE_VERSION else 0,
    )
    descriptor = syscall(
        machine.numbers["landlock_create_ruleset"],
        ctypes.byref(ruleset),
        ctypes.c_size_t(_ruleset_bytes(version)),
        ctypes.c_uint(0),
    )
    try:
        syscall(
            machine.numbers["landlock_restrict_self"], ctypes.c_int(descriptor), ctypes.c_uint(0)
        )
    finally:
        os.close(descriptor)
    return version


def _ruleset_bytes(version: int) -> int:
    if version >= _SCOPE_VERSION:
        return 24
    return 16 if version >= _NETWORK_VERSION else 8
