import pytest

from registry.reader import Malformed, Reader


def test_bytes_come_in_order_and_end() -> None:
    reader = Reader(b"\1\2")
    assert (reader.byte(), reader.remaining, reader.at_end) == (1, 1, False)
    assert (reader.byte(), reader.remaining, reader.at_end) == (2, 0, True)
    with pytest.raises(Malformed, match="ends early"):
        reader.byte()


@pytest.mark.parametrize(
    ("encoded", "value"),
    [
        (b"\0", 0),
        (b"\x7f", 127),
        (b"\x80\1", 128),
        (b"\x80\0", 0),
        (b"\x81\x80\x80\x80\0", 1),
        (b"\xff\xff\xff\xff\x0f", 2**32 - 1),
    ],
)
def test_integers_need_not_be_minimal(encoded: bytes, value: int) -> None:
    reader = Reader(encoded)
    assert reader.u32() == value
    assert reader.at_end


@pytest.mark.parametrize(
    "encoded", [b"", b"\x80", b"\x80\x80\x80\x80\x80\0", b"\x80\x80\x80\x80\x10", b"\xff" * 9]
)
def test_integers_that_are_cut_long_or_large_are_malformed(encoded: bytes) -> None:
    with pytest.raises(Malformed):
        Reader(encoded).u32()


def test_signed_integers_are_passed_over() -> None:
    reader = Reader(b"\xff" * 9 + b"\1" + b"\2")
    reader.skip_signed(64)
    assert reader.byte() == 2
    with pytest.raises(Malformed, match="too long"):
        Reader(b"\xff" * 11).skip_signed(64)


@pytest.mark.parametrize("size", [4, 2**32 - 1])
def test_a_length_beyond_the_end_allocates_nothing(size: int) -> None:
    reader = Reader(b"abc")
    with pytest.raises(Malformed, match="beyond its end"):
        reader.take(size)
    with pytest.raises(Malformed, match="beyond its end"):
        reader.within(size)
    assert reader.take(3) == b"abc"


def test_an_inner_reader_stops_at_its_end() -> None:
    outer = Reader(b"abcd")
    inner = outer.within(2)
    assert inner.take(2) == b"ab"
    with pytest.raises(Malformed):
        inner.byte()
    assert outer.take(2) == b"cd"


def test_names_are_bounded_utf8() -> None:
    assert Reader(b"\2\xc3\xa9").name(2) == "é"
    with pytest.raises(Malformed, match="longer than 1 bytes"):
        Reader(b"\2ab").name(1)
    with pytest.raises(Malformed, match="not UTF-8"):
        Reader(b"\2\xc3\x28").name(2)
    with pytest.raises(Malformed, match="not UTF-8"):
        Reader(b"\3\xed\xa0\x80").name(8)
