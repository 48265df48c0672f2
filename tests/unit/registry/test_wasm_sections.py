import pytest

from registry.reader import Malformed
from registry.wasm_sections import check_header, read_sections
from stockade.core.errors import StockadeError
from tests.unit.registry.modules import HEADER, custom, guest, section


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "module.not_wasm"),
        (b"\0asm", "module.not_wasm"),
        (b"\0asm\x01\0\0", "module.not_wasm"),
        (b"(module)", "module.not_wasm"),
        (b"\x7fELF\x02\x01\x01\0", "module.not_wasm"),
        (b"\0asm\x0d\0\1\0", "module.is_component"),
        (b"\0asm\x01\0\1\0", "module.is_component"),
        (b"\0asm\x02\0\0\0", "module.version_unsupported"),
        (b"\0asm\x0d\0\2\0", "module.version_unsupported"),
    ],
)
def test_the_header_is_looked_at_first(content: bytes, code: str) -> None:
    with pytest.raises(StockadeError) as refused:
        check_header(content)
    assert refused.value.code == code


def test_sections_say_where_they_are() -> None:
    content = HEADER + custom("note", b"ab") + section(1, b"\0")
    note, types = read_sections(content)
    assert (note.id, note.name, note.start) == (0, "note", 8)
    assert content[note.payload : note.end] == b"ab"
    assert (types.id, types.name, types.start) == (1, "", note.end)
    assert content[types.payload : types.end] == b"\0"


def test_data_count_stands_before_code() -> None:
    assert [one.id for one in read_sections(HEADER + section(12, b"\0") + section(10, b"\0"))] == [
        12,
        10,
    ]


def test_a_module_may_be_empty() -> None:
    assert not list(read_sections(HEADER))


@pytest.mark.parametrize(
    ("rest", "reason"),
    [
        (section(3, b"\0") + section(1, b"\0"), "out of order"),
        (section(1, b"\0") * 2, "repeated"),
        (section(14, b""), "id 14"),
        (b"\1", "ends early"),
        (b"\1\5\0", "beyond its end"),
        (b"\1\xff\xff\xff\xff\x0f", "beyond its end"),
        (b"\1\x80\x80\x80\x80\x80\0", "too long"),
        (b"\0\0", "ends early"),
        (b"\0\2\5a", "beyond its end"),
        (custom(b"\xff"), "not UTF-8"),
        (custom("n" * 257), "longer than 256"),
        (custom("") * 1_001, "more than 1000 sections"),
    ],
)
def test_sections_that_cannot_be_read_are_malformed(rest: bytes, reason: str) -> None:
    with pytest.raises(Malformed, match=reason):
        list(read_sections(HEADER + rest))


def test_as_many_sections_as_allowed_are_read() -> None:
    assert len(list(read_sections(HEADER + custom("") * 1_000))) == 1_000


def test_custom_sections_stand_anywhere() -> None:
    assert list(read_sections(guest() + custom("name") + custom("name")))
