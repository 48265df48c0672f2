"""What came since the last look."""

from dataclasses import dataclass

from stockade.core.growth import Growth, drops_of


@dataclass
class Counts:
    taken: int = 5
    dropped_full: int = 2
    dropped_store: int = 0


class Sink:
    counts = Counts()


def test_totals_become_what_is_new_even_when_they_begin_anew() -> None:
    growth = Growth()
    assert [growth.of("a", total) for total in (3, 3, 7, 2)] == [3, 0, 4, 2]
    assert growth.of("b", 1) == 1


def test_a_sinks_drops_are_told_by_reason_and_a_mute_one_has_none() -> None:
    assert drops_of(Sink()) == {"full": 2, "store": 0}
    assert drops_of(object()) == drops_of(None) == {}
