"""A bounded cursor over a stranger's bytes: never reads past its end, nor allocates at its word."""


class Malformed(Exception):
    """The bytes are not what they should be; the reason is public and holds none of the bytes."""


class Reader:
    """Reads `data[start:end]` forward. Integers are LEB128 (WebAssembly specification, 5.2.2)."""

    def __init__(self, data: bytes, start: int = 0, end: int | None = None) -> None:
        self._data = data
        self.position = start
        self._end = len(data) if end is None else end

    @property
    def at_end(self) -> bool:
        """Whether nothing is left."""
        return self.position >= self._end

    @property
    def remaining(self) -> int:
        """How many bytes are left."""
        return self._end - self.position

    def byte(self) -> int:
        """The next byte.

        Raises:
            Malformed: there is none.
        """
        if self.at_end:
            raise Malformed("it ends early")
        value = self._data[self.position]
        self.position += 1
        return value

    def u32(self) -> int:
        """The next unsigned integer of at most 5 bytes and 32 bits; it need not be minimal.

        Raises:
            Malformed: it is longer, larger or cut off.
        """
        value = 0
        for shift in range(0, 35, 7):
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:  # noqa: PLR2004 (the continuation bit)
                if value >= 1 << 32:
                    break
                return value
        raise Malformed("an integer is too long")

    def skip_signed(self, bits: int) -> None:
        """Passes over a signed integer of at most so many bits.

        Raises:
            Malformed: it is longer or cut off.
        """
        for _ in range((bits + 6) // 7):
            if self.byte() < 0x80:  # noqa: PLR2004 (the continuation bit)
                return
        raise Malformed("an integer is too long")

    def take(self, size: int) -> bytes:
        """The next `size` bytes.

        Raises:
            Malformed: there are fewer.
        """
        start = self.skip(size)
        return self._data[start : self.position]

    def skip(self, size: int) -> int:
        """Passes over `size` bytes and returns where they began.

        Raises:
            Malformed: there are fewer.
        """
        if size > self.remaining:
            raise Malformed("a length goes beyond its end")
        start = self.position
        self.position += size
        return start

    def within(self, size: int) -> "Reader":
        """A reader of the next `size` bytes, which this one passes over.

        Raises:
            Malformed: there are fewer.
        """
        start = self.skip(size)
        return Reader(self._data, start, self.position)

    def name(self, max_bytes: int) -> str:
        """The next name: a length and so many bytes of UTF-8.

        Raises:
            Malformed: it is longer than `max_bytes`, cut off, or not UTF-8.
        """
        size = self.u32()
        if size > max_bytes:
            raise Malformed(f"a name is longer than {max_bytes} bytes")
        try:
            return self.take(size).decode("utf-8")
        except UnicodeDecodeError:
            raise Malformed("a name is not UTF-8") from None
