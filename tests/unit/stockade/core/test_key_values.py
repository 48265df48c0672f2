import pytest

from stockade.core.errors import StockadeError
from stockade.core.key_values import check_key


@pytest.mark.parametrize(
    ("text", "place"),
    [("a/b", ("a", "b")), ("a-1/b/c", ("a-1", "b/c")), ("a/é ", ("a", "é ")), ("a//", ("a", "/"))],
)
def test_a_key_is_split_at_its_first_slash(text: str, place: tuple[str, str]) -> None:
    assert check_key(text) == place


@pytest.mark.parametrize(
    "text", ["", "a", "/a", "a/", "A/b", "-/b", "a/b\0", "a/" + "é" * 257, "a" * 64 + "/b"]
)
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(StockadeError) as refused:
        check_key(text)
    assert refused.value.code == "kv.key_invalid"
