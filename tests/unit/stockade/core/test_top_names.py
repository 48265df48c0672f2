"""Which names get a label of their own, among endlessly many."""

from hypothesis import given
from hypothesis import strategies as st

from stockade.core.top_names import TopNames


def test_the_first_are_named_and_the_busier_take_their_places() -> None:
    top: TopNames[str] = TopNames(2)
    assert [top.note(name) for name in ("a", "b", "c")] == [True, True, False]
    for _ in range(10):
        assert not top.note("c")
        assert top.note("a")
    assert top.review() == ["b"]
    assert [top.note(name) for name in ("a", "b", "c")] == [True, False, True]


def test_a_name_that_is_hardly_busier_takes_no_place() -> None:
    top: TopNames[str] = TopNames(1)
    for _ in range(10):
        top.note("a")
        top.note("b")
    assert not top.review()
    assert top.note("a")


def test_who_was_busy_long_ago_gives_way() -> None:
    top: TopNames[str] = TopNames(1)
    for _ in range(1000):
        top.note("a")
    for _ in range(12):
        top.review()
    top.note("b")
    assert top.review() == ["a"]
    assert top.note("b")


def test_nobody_is_named_where_nothing_is_to_be() -> None:
    top: TopNames[str] = TopNames(0)
    assert not any(top.note("a") for _ in range(100))
    assert not top.review()


def test_a_flood_of_names_does_not_hide_the_busy_one() -> None:
    top: TopNames[str] = TopNames(4)
    for name in "wxyz":
        top.note(name)
    for n in range(20_000):
        top.note(f"flood-{n}")
        if n % 4 == 0:
            top.note("busy")
    assert "busy" not in top.review()
    assert top.note("busy")


@given(st.lists(st.integers(0, 500) | st.none(), max_size=600), st.integers(0, 5))
def test_never_more_are_named_or_counted_than_the_bounds(
    notes: list[int | None], most: int
) -> None:
    top: TopNames[int] = TopNames(most)
    named: set[int] = set()
    for note in notes:
        if note is None:
            named -= set(top.review())
        elif top.note(note):
            named.add(note)
        assert len(top._named) <= most
        assert len(top._counts) <= 8 * most
        assert named <= top._named
