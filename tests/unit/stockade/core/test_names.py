import pytest

from stockade.core.errors import StockadeError
from stockade.core.names import check_name


@pytest.mark.parametrize("name", ["a", "0", "a-b", "a--b", "a" * 63, "9-9", "prod"])
def test_a_good_name_comes_back(name: str) -> None:
    assert check_name("function", name) == name


@pytest.mark.parametrize(
    "name",
    [
        *("", "-", "-a", "a-", "A", "a" * 64, "a_b", "a.b", "a/b", "a b", "a\n", "\0"),
        *("é", "\u0661", "../x", "a{b}", "\ud800"),
    ],
    ids=ascii,
)
@pytest.mark.parametrize("kind", ["tenant", "alias"])
def test_a_bad_name_is_refused_under_its_kind(kind: str, name: str) -> None:
    with pytest.raises(StockadeError) as caught:
        check_name(kind, name)
    assert (caught.value.code, caught.value.retryable) == (f"{kind}.name_invalid", False)
