"""Checked access to a guest's linear memory. Every pointer and length may lie."""

import ctypes

from wasmtime import Caller, Memory, Store

from sandbox_worker.guest.faults import GuestFault

_MASK = 0xFFFFFFFF


def read_bytes(memory: Memory, store: Store | Caller, pointer: int, length: int) -> bytes:
    """The bytes at an unsigned 32-bit pointer.

    Raises:
        GuestFault: when any of them lies outside the memory.
    """
    start = pointer & _MASK
    size = length & _MASK
    check_range(memory, store, start, size)
    return ctypes.string_at(_address(memory, store) + start, size)


def write_bytes(memory: Memory, store: Store | Caller, pointer: int, data: bytes) -> None:
    """Writes the bytes at an unsigned 32-bit pointer.

    Raises:
        GuestFault: when any of them would lie outside the memory.
    """
    start = pointer & _MASK
    check_range(memory, store, start, len(data))
    ctypes.memmove(_address(memory, store) + start, data, len(data))


def caller_memory(caller: Caller) -> Memory:
    """The exported memory of the guest that calls.

    Raises:
        GuestFault: when it exports none.
    """
    memory = caller.get("memory")
    if not isinstance(memory, Memory):
        raise GuestFault("the guest exports no memory")
    return memory


def check_range(memory: Memory, store: Store | Caller, start: int, size: int) -> None:
    """Checks that so many bytes from an unsigned address lie in the memory.

    Raises:
        GuestFault: they do not.
    """
    if start + size > memory.data_len(store):
        raise GuestFault(f"{size} bytes at {start} lie outside the guest's memory")


def _address(memory: Memory, store: Store | Caller) -> int:
    return ctypes.cast(memory.data_ptr(store), ctypes.c_void_p).value or 0
