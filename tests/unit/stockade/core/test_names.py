import pytest

from stockade.core.errors import StockadeError
from stockade.core.names import check_name, check_new_name


@pytest.mark.parametrize("name", ["a", "0", "a-b", "a--b", "a" * 63, "9-9", "prod"])
def test_a_good_name_comes_back(name: str) -> None:
    assert check_name("function", name) == name


@pytest.mark.parametrize(
    "name",
    [
        *("", "-", "-a", "a-", "A", "a" * 64, "a_b", "a.b", "a/b", "a b", "a\n", "\0"),
        *("é", "\u0661", "../x", "a{b}", "\ud800", "..", ".", "a%2fb", "%2e%2e", "a\\b", "a:b"),
        *(
            "a\u200bb",
            "\u0430bc",
            "\uff41",
            "a\u0301",
            "\u2160",
            "a\u2010b",
            "\u202eabc",
            "\u0130",
            "\u017f",
            "\u212a",
        ),
    ],
    ids=ascii,
)
@pytest.mark.parametrize("kind", ["tenant", "alias"])
def test_a_bad_name_is_refused_under_its_kind(kind: str, name: str) -> None:
    with pytest.raises(StockadeError) as caught:
        check_name(kind, name)
    assert (caught.value.code, caught.value.retryable) == (f"{kind}.name_invalid", False)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("alias", "latest"),
        ("alias", "7"),
        ("alias", "00"),
        ("alias", "xn--80ak6aa92e"),
        ("function", "xn--a"),
        ("function", "stockade"),
        ("function", "platform"),
        ("tenant", "system"),
        ("tenant", "xn--a"),
    ],
)
def test_a_reserved_name_is_for_nothing_new(kind: str, name: str) -> None:
    with pytest.raises(StockadeError) as caught:
        check_new_name(kind, name)
    assert caught.value.code == f"{kind}.name_reserved"
    assert check_name(kind, name) == name


@pytest.mark.parametrize(
    ("kind", "name"),
    [("alias", "v7"), ("alias", "stockade"), ("function", "7"), ("signer", "latest")],
)
def test_a_free_name_comes_back(kind: str, name: str) -> None:
    assert check_new_name(kind, name) == name


def test_new_names_keep_the_rule() -> None:
    with pytest.raises(StockadeError, match=r"^alias\.name_invalid"):
        check_new_name("alias", "A")
