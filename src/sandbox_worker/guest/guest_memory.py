"""Checked access to a guest's linear memory. Every pointer and length may lie."""

import ctypes
from collections.abc import Callable

from sandbox_worker.guest.faults import GuestFault

_MASK = 0xFFFFFFFF

Window = ctypes.Array[ctypes.c_char]
"""Bytes of a guest's memory themselves, not a copy."""


class GuestMemory:
    """The memory of the one instance that runs.

    Args:
        locate: Tells its address and size in bytes; asked anew each time, because a growth moves
            the one or changes the other.
    """

    __slots__ = ("_locate",)

    def __init__(self, locate: Callable[[], tuple[int, int]]) -> None:
        self._locate = locate

    @property
    def size_bytes(self) -> int:
        """How large it is now."""
        return self._locate()[1]

    def read(self, pointer: int, length: int) -> bytes:
        """The bytes at an unsigned 32-bit pointer.

        Raises:
            GuestFault: when any of them lies outside the memory.
        """
        size = length & _MASK
        return ctypes.string_at(self._address(pointer, size), size)

    def write(self, pointer: int, data: bytes) -> None:
        """Writes the bytes at an unsigned 32-bit pointer.

        Raises:
            GuestFault: when any of them would lie outside the memory.
        """
        ctypes.memmove(self._address(pointer, len(data)), data, len(data))

    def window(self, pointer: int, length: int) -> Window:
        """The bytes themselves, to be read or written before the guest runs on.

        Raises:
            GuestFault: when any of them lies outside the memory.
        """
        size = length & _MASK
        return (ctypes.c_char * size).from_address(self._address(pointer, size))

    def check(self, pointer: int, length: int) -> None:
        """Checks that so many bytes from an unsigned 32-bit pointer lie in the memory.

        Raises:
            GuestFault: they do not.
        """
        self._address(pointer, length & _MASK)

    def _address(self, pointer: int, size: int) -> int:
        start = pointer & _MASK
        base, end = self._locate()
        if start + size > end:
            raise GuestFault(f"{size} bytes at {start} lie outside the guest's memory")
        return base + start
