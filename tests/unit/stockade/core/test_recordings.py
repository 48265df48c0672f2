"""What stands in for secrets in a recording, and how endings are compared."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockade.core.jail_control import engine_of
from stockade.core.outcomes import Attempt, Outcome, Usage
from stockade.core.recordings import (
    MAX_BLANKS,
    Blank,
    RecordedCall,
    arguments_digest,
    blank_out,
    fill_in,
    stand_in,
)
from stockade.core.replays import Difference, Ending, differences, ending_of

SECRET = b"s3cret-value"
KEY = {"KEY": SECRET}
VALUES = st.sampled_from([bytes(4), b"aaaa", b"aabaa", b"01"])


def blanked(content: bytes, secrets: dict[str, bytes]) -> tuple[bytes, tuple[Blank, ...]]:
    found = blank_out(content, secrets)
    assert found is not None
    return found


def test_a_stand_in_is_printable_of_the_same_length_and_always_the_same() -> None:
    for length in (0, 1, 7, 300):
        made = stand_in("KEY", length)
        assert len(made) == length
        assert made.isalnum() or not made
        assert made == stand_in("KEY", length)
    assert stand_in("KEY", 32) != stand_in("OTHER", 32)


def test_a_value_is_blanked_out_wherever_it_stands() -> None:
    content = b"a " + SECRET + b" b " + SECRET
    told, blanks = blanked(content, KEY)
    assert SECRET not in told
    assert len(told) == len(content)
    assert blanks == (Blank("KEY", 2, 12), Blank("KEY", 17, 12))
    assert fill_in(RecordedCall(1, "n", "a", answer=told, blanks=blanks), KEY) == content


def test_a_secret_within_another_is_blanked_once() -> None:
    secrets = {"OUTER": b"abcdefgh", "INNER": b"cdef"}
    told, blanks = blanked(b"abcdefgh cdef", secrets)
    assert [blank.secret for blank in blanks] == ["OUTER", "INNER"]
    call = RecordedCall(1, "n", "a", answer=told, blanks=blanks)
    assert fill_in(call, secrets) == b"abcdefgh cdef"


def test_a_flood_of_secrets_is_not_looked_through() -> None:
    assert len(blanked(b"abcd" * MAX_BLANKS, {"KEY": b"abcd"})[1]) == MAX_BLANKS
    assert blank_out(b"abcd" * (MAX_BLANKS + 1), {"KEY": b"abcd"}) is None


def test_short_secrets_are_left_as_they_are() -> None:
    assert blanked(b"abc", {"KEY": b"abc"}) == (b"abc", ())


@given(
    st.text("ab01\0", max_size=200).map(str.encode),
    st.dictionaries(st.text(max_size=3), VALUES),
)
def test_what_is_blanked_out_is_filled_in_again(content: bytes, secrets: dict[str, bytes]) -> None:
    told, blanks = blanked(content, secrets)
    assert len(told) == len(content)
    filled = fill_in(RecordedCall(1, "n", "a", answer=told, blanks=blanks), secrets)
    assert filled == content


def test_only_what_is_known_is_filled_in() -> None:
    told, blanks = blanked(SECRET, KEY)
    call = RecordedCall(1, "n", "a", answer=told, blanks=blanks)
    assert fill_in(call, {}) == told == stand_in("KEY", len(SECRET))
    with pytest.raises(ValueError, match="KEY"):
        fill_in(call, {"KEY": b"longer-than-it-was"})


def test_arguments_compare_whether_or_not_the_value_is_known() -> None:
    standing = stand_in("KEY", len(SECRET))
    real = arguments_digest("k", b"x " + SECRET, 1, KEY)
    assert real == arguments_digest("k", b"x " + standing, 1, {"KEY": standing})
    assert real == arguments_digest("k", b"x " + standing, 1, {})
    for other in (
        arguments_digest("k", b"y " + SECRET, 1, KEY),
        arguments_digest("l", b"x " + SECRET, 1, KEY),
        arguments_digest("k", b"x " + SECRET, 2, KEY),
        arguments_digest("kx", b" " + SECRET, 1, KEY),
    ):
        assert other != real


ENDING = Ending("completed", None, None, 7, 65536, 2, "sha256:a")


def test_endings_are_compared_the_outcome_first() -> None:
    assert differences(ENDING, ENDING) == ()
    other = replace(ENDING, fuel=8, outcome="trapped", detail="It trapped.")
    assert differences(ENDING, other) == (
        Difference("outcome", "completed", "trapped"),
        Difference("fuel", "7", "8"),
        Difference("detail", "None", "It trapped."),
    )


def test_an_output_that_is_not_known_is_not_compared() -> None:
    assert differences(replace(ENDING, output_digest=None), ENDING) == ()
    assert [one.what for one in differences(ENDING, replace(ENDING, output_digest=None))] == [
        "output"
    ]


def test_an_attempt_tells_how_it_ended() -> None:
    usage = Usage(fuel=7, peak_memory_bytes=65536, host_calls=2, wall_ms=3.5)
    attempt = Attempt(1, Outcome.COMPLETED, "It completed.", usage)
    assert ending_of(attempt, "sha256:a") == ENDING


def test_an_engine_is_named_without_the_processors_model() -> None:
    assert engine_of("wasmtime-46.0.1-abc-x86_64-0123") == "wasmtime-46.0.1-abc-x86_64"
