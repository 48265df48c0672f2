"""What came since the last look."""

from stockade.core.growth import Growth


def test_totals_become_what_is_new_even_when_they_begin_anew() -> None:
    growth = Growth()
    assert [growth.of("a", total) for total in (3, 3, 7, 2)] == [3, 0, 4, 2]
    assert growth.of("b", 1) == 1
