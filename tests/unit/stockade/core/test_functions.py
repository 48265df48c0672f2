"""What deployers may say of a version."""

import pytest

from stockade.core.errors import StockadeError
from stockade.core.functions import check_note
from stockade.core.modules import VersionNote


def test_a_note_is_kept_in_order() -> None:
    note = check_note("me", "Fix é", {"git.commit": "abc", "build/url": ""})
    assert note == VersionNote("me", "Fix é", (("build/url", ""), ("git.commit", "abc")))
    assert check_note("me", "x" * 500, {}).message == "x" * 500


@pytest.mark.parametrize("message", ["x" * 501, "a\nb", "\0", "\u202e", "\x1b[31m", "\ud800"])
def test_a_message_is_one_printable_line(message: str) -> None:
    with pytest.raises(StockadeError, match=r"^function\.message_invalid"):
        check_note("me", message, {})


@pytest.mark.parametrize(
    "labels",
    [
        {str(number): "" for number in range(17)},
        {"": ""},
        {"A": ""},
        {"-a": ""},
        {"a" * 64: ""},
        {"\u0430": ""},
        {"a": "x" * 201},
        {"a": "\n"},
    ],
)
def test_labels_are_few_and_plain(labels: dict[str, str]) -> None:
    with pytest.raises(StockadeError, match=r"^function\.labels_invalid"):
        check_note("me", "", labels)
