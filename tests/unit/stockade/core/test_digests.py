import pytest

from stockade.core.digests import check_digest, digest_of
from stockade.core.errors import StockadeError

EMPTY = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_the_digest_is_sha_256_in_lower_case_hex() -> None:
    assert digest_of(b"") == EMPTY


def test_a_digest_is_well_formed() -> None:
    assert check_digest(digest_of(b"hello")) == digest_of(b"hello")


@pytest.mark.parametrize(
    "text",
    [
        *("", "sha256:", "\ud800", EMPTY.upper(), EMPTY.removeprefix("sha"), " " + EMPTY),
        *(EMPTY + "\n", EMPTY + "0", EMPTY[:-1], EMPTY[:-1] + "g", EMPTY[:-1] + "/"),
        "sha256:" + "\u0660" * 64,
    ],
    ids=ascii,
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(StockadeError, match=r"^module\.digest_invalid"):
        check_digest(text)
