"""A file in memory that supervisor and executor share: large inputs and outputs go through it.

What is written there is copied once on each side, past the socket and the frames. Each side writes
before it tells the other, and the other reads before it answers; a file that is shorter than was
told is noticed, and a size beyond the bounds never asked for.
"""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

SHARED_FROM_BYTES = 64 * 1024
"""What is larger goes through the shared file."""
SHARED_MAX_BYTES = 32 * 1024 * 1024
"""What is larger still goes in the frame: the jail bounds the size of files."""
_SHORT = "the shared file is shorter than was told"


class SharedFile:
    """One side's handle."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    @classmethod
    def create(cls) -> "SharedFile":
        """A new, empty file.

        Raises:
            OSError: the host has no descriptor left.
        """
        return cls(os.memfd_create("shared", os.MFD_CLOEXEC))

    def write(self, content: "ReadableBuffer") -> None:
        """Puts the content at the beginning.

        Raises:
            OSError: there is no room.
        """
        os.lseek(self.descriptor, 0, os.SEEK_SET)
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(self.descriptor, rest) :]

    def read(self, size: int) -> bytes:
        """The first so many bytes, as they are now.

        Raises:
            EOFError: there are fewer.
        """
        os.lseek(self.descriptor, 0, os.SEEK_SET)
        content = os.read(self.descriptor, size)
        if len(content) != size:
            raise EOFError(_SHORT)
        return content

    def read_into(self, room: "WriteableBuffer") -> None:
        """Fills the room from the beginning.

        Raises:
            EOFError: there are fewer bytes.
        """
        os.lseek(self.descriptor, 0, os.SEEK_SET)
        rest = memoryview(room)
        while rest:
            count = os.readv(self.descriptor, [rest])
            if not count:
                raise EOFError(_SHORT)
            rest = rest[count:]

    def clear(self) -> None:
        """Gives the memory back."""
        os.ftruncate(self.descriptor, 0)

    def close(self) -> None:
        """Gives the handle back."""
        os.close(self.descriptor)


def goes_shared(size: int) -> bool:
    """Whether so many bytes go through the shared file."""
    return SHARED_FROM_BYTES < size <= SHARED_MAX_BYTES
