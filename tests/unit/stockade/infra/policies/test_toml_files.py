import msgspec
import pytest

from stockade.infra.policies.toml_files import parse_toml


class Shape(msgspec.Struct, forbid_unknown_fields=True):
    a: int


def test_the_text_has_the_shape() -> None:
    assert parse_toml(b"a = 1\r\n", Shape) == Shape(1)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "missing required field"),
        (b"a = 1\nb = 2", "unknown field"),
        (b"a = '1'", "Expected `int`"),
        (b"a = ", "Invalid value"),
        (b"a = '\xff'", "can't decode"),
        (b"a = " + b"[" * 100_000, "nested too deep"),
    ],
)
def test_anything_else_is_told(content: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_toml(content, Shape)
