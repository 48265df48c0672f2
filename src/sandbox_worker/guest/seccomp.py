"""A seccomp filter that kills the process on every system call outside an allow-list.

The filter is a classic BPF program (`man 2 seccomp`, `linux/filter.h`): check the architecture,
then compare the call's number with each allowed one. It is installed for all threads of the
process.
"""

import ctypes
import struct
from collections.abc import Iterable

from sandbox_worker.guest.syscalls import Machine, syscall

_LOAD_WORD = 0x20  # BPF_LD | BPF_W | BPF_ABS
_JUMP_EQUAL = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_RETURN = 0x06  # BPF_RET | BPF_K
_KILL_PROCESS = 0x80000000
_ALLOW = 0x7FFF0000
_NUMBER_OFFSET, _ARCH_OFFSET = 0, 4
_SET_MODE_FILTER, _FLAG_TSYNC = 1, 1
MAX_CALLS = 200
"""A jump's reach is 255 instructions."""


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def build_filter(machine: Machine, allowed: Iterable[str]) -> bytes:
    """The BPF program that allows these calls; names that the machine does not have are left out.

    Raises:
        ValueError: more than `MAX_CALLS`.
    """
    numbers = sorted({machine.numbers[name] for name in allowed if name in machine.numbers})
    if len(numbers) > MAX_CALLS:
        raise ValueError(f"a filter has room for {MAX_CALLS} calls, not {len(numbers)}")
    program = [
        _instruction(_LOAD_WORD, 0, 0, _ARCH_OFFSET),
        _instruction(_JUMP_EQUAL, 1, 0, machine.audit_arch),
        _instruction(_RETURN, 0, 0, _KILL_PROCESS),
        _instruction(_LOAD_WORD, 0, 0, _NUMBER_OFFSET),
    ]
    for index, number in enumerate(numbers):
        program.append(_instruction(_JUMP_EQUAL, len(numbers) - index, 0, number))
    program.append(_instruction(_RETURN, 0, 0, _KILL_PROCESS))
    program.append(_instruction(_RETURN, 0, 0, _ALLOW))
    return b"".join(program)


def install_filter(machine: Machine, program: bytes) -> None:
    """Puts the filter on every thread of this process, for ever. `no_new_privs` must be set.

    Raises:
        OSError: the kernel refused.
    """
    code = ctypes.create_string_buffer(program, len(program))
    header = _Program(len(program) // 8, ctypes.cast(code, ctypes.c_void_p))
    syscall(
        machine.numbers["seccomp"],
        ctypes.c_uint(_SET_MODE_FILTER),
        ctypes.c_uint(_FLAG_TSYNC),
        ctypes.byref(header),
    )


def _instruction(code: int, if_true: int, if_false: int, operand: int) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, operand)
