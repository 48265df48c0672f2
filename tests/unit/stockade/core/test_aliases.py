"""The rules of aliases: shares, draws, promotions, rollbacks, and what nobody may overwrite."""

import math
from collections import Counter
from dataclasses import dataclass, field

import pytest

from stockade.core.alias_weights import (
    Weights,
    check_percent,
    check_share,
    check_weights,
    percentages,
    pick,
)
from stockade.core.aliases import (
    MAX_ALIASES,
    AliasChange,
    AliasRule,
    AliasView,
    Promotion,
    Stamp,
    Verb,
    decide,
    pointed,
    promoted,
    removed,
    rolled_back,
)
from stockade.core.errors import StockadeError
from stockade.core.modules import Alias

A, B, C = ((1, 1),), ((2, 1),), ((3, 1),)
DRAWS = [f"0190-{number}" for number in range(20_000)]
SIGMAS = 5
"""A fair draw is beyond so many standard deviations once in 1.7 million times."""


@dataclass
class Life:
    """One alias, changed by rules, as a catalog does it."""

    others: dict[str, Weights] = field(default_factory=dict)
    current: Alias | None = None
    changes: list[AliasChange] = field(default_factory=list)

    def apply(self, *rules: AliasRule) -> AliasChange | None:
        change = None
        for rule in rules:
            view = AliasView("prod", self.current, self.others, self.changes)
            change = decide(view, rule, Stamp("me", 7))
            if change is not None:
                self.changes.insert(0, change)
                after = change.after
                self.current = None if after is None else Alias("prod", after, change.revision)
        return change

    @property
    def weights(self) -> Weights | None:
        return None if self.current is None else self.current.weights


def refused(code: str, life: Life, rule: AliasRule) -> StockadeError:
    before = (life.current, list(life.changes))
    with pytest.raises(StockadeError) as caught:
        life.apply(rule)
    assert caught.value.code == code
    assert (life.current, life.changes) == before
    return caught.value


@pytest.mark.parametrize(
    ("percent", "weights"),
    [
        ({1: 100}, ((1, 1),)),
        ({2: 5, 1: 95}, ((1, 19), (2, 1))),
        ({1: 99.99, 2: 0.01}, ((1, 9999), (2, 1))),
        ({1: 33.33, 2: 33.33, 3: 33.34}, ((1, 3333), (2, 3333), (3, 3334))),
        ({1: 50.0, 2: 50}, ((1, 1), (2, 1))),
    ],
)
def test_percentages_are_shares(percent: dict[int, float], weights: Weights) -> None:
    assert check_percent(percent) == weights
    assert percentages(weights) == percent


@pytest.mark.parametrize(
    "percent",
    [
        {},
        {1: 99},
        {1: 95, 2: 6},
        {1: 50, 2: 49.99},
        {1: 100, 2: 0},
        {1: 101, 2: -1},
        {1: 99.995, 2: 0.005},
        {1: math.inf},
        {1: math.nan, 2: 100},
        {1: 1e308},
    ],
)
def test_percentages_that_do_not_sum_to_100_are_refused(percent: dict[int, float]) -> None:
    with pytest.raises(StockadeError, match=r"^alias\.percent_invalid"):
        check_percent(percent)


@pytest.mark.parametrize(
    "weights", [{}, {1: 0}, {1: -1}, {1: 10_001}, {0: 1}, {-1: 1}, {2**31: 1},
                dict.fromkeys(range(1, 18), 1)],
)  # fmt: skip
def test_weights_are_positive_and_bounded(weights: dict[int, int]) -> None:
    with pytest.raises(StockadeError, match=r"^alias\.weights_invalid"):
        check_weights(weights)


def test_too_many_percentages_are_too_many_weights() -> None:
    percent = dict.fromkeys(range(1, 21), 5.0)
    with pytest.raises(StockadeError, match=r"^alias\.weights_invalid"):
        check_percent(percent)


@pytest.mark.parametrize(
    "weights", [((1, 95), (2, 5)), ((1, 1), (2, 1), (3, 2)), ((4, 10_000), (9, 1))]
)
def test_draws_are_shared_out_by_weight(weights: Weights) -> None:
    total = sum(weight for _, weight in weights)
    drawn = Counter(pick(weights, draw) for draw in DRAWS)
    for version, weight in weights:
        part = weight / total
        deviation = math.sqrt(len(DRAWS) * part * (1 - part))
        assert abs(drawn[version] - len(DRAWS) * part) <= SIGMAS * deviation


def test_a_draw_sticks() -> None:
    weights = ((1, 60), (2, 40))
    assert [pick(weights, draw) for draw in DRAWS[:500]] == [
        pick(weights, draw) for draw in DRAWS[:500]
    ]


@pytest.mark.parametrize(
    ("before", "after", "grown", "shrunk"),
    [
        (((1, 95), (2, 5)), ((1, 75), (2, 25)), {2}, {1}),
        (((1, 19), (2, 1)), ((1, 50), (2, 30), (3, 20)), {2, 3}, {1}),
        (((1, 1), (2, 1), (3, 1)), ((1, 1), (3, 1)), {1, 3}, {2}),
        (((1, 2), (2, 2), (3, 6)), ((1, 4), (2, 2), (3, 4)), {1}, {3}),
    ],
)
def test_a_change_of_shares_moves_only_what_it_must(
    before: Weights, after: Weights, grown: set[int], shrunk: set[int]
) -> None:
    moves = {(pick(before, draw), pick(after, draw)) for draw in DRAWS}
    moved = {(old, new) for old, new in moves if old != new}
    assert moved
    for old, new in moved:
        assert old in shrunk or new in grown


def test_the_same_shares_in_other_numbers_move_nothing() -> None:
    small, large = ((1, 9), (2, 1)), ((1, 9_000), (2, 1_000))
    assert all(pick(small, draw) == pick(large, draw) for draw in DRAWS[:2_000])


def test_set_moves_and_what_is_there_already_is_no_change() -> None:
    life = Life()
    assert life.apply(pointed(A)) == AliasChange(1, Verb.SET, None, A, 7, "me")
    assert life.apply(pointed(A)) is None
    assert life.apply(pointed(A, expected=99)) is None
    assert life.apply(pointed(B, expected=1)) == AliasChange(2, Verb.SET, A, B, 7, "me")


def test_what_was_changed_in_between_is_not_overwritten() -> None:
    life = Life()
    life.apply(pointed(A), pointed(B))
    for rule in (
        pointed(C, expected=1),
        pointed(C, expected=0),
        promoted(Promotion(version=3), expected=1),
        removed(expected=1),
        rolled_back(expected=3),
    ):
        error = refused("alias.changed", life, rule)
        assert error.detail["revision"] == 2


def test_no_alias_is_revision_zero() -> None:
    life = Life()
    refused("alias.changed", life, pointed(A, expected=1))
    assert life.apply(pointed(A, expected=0)) is not None


def test_an_alias_kept_from_before_there_were_changes_counts_on() -> None:
    life = Life(current=Alias("prod", A))
    assert life.apply(pointed(B, expected=1)) == AliasChange(2, Verb.SET, A, B, 7, "me")
    assert life.apply(rolled_back()) is not None
    refused("alias.no_earlier", life, rolled_back())
    refused("alias.no_earlier", Life(current=Alias("prod", A)), rolled_back())


def test_a_promotion_of_a_version_and_of_another_alias() -> None:
    life = Life(others={"canary": ((2, 1), (3, 1))})
    made = life.apply(promoted(Promotion(version=1)))
    assert made == AliasChange(1, Verb.PROMOTE, None, A, 7, "me")
    life.apply(promoted(Promotion(source="canary")))
    assert life.weights == ((2, 1), (3, 1))
    assert life.apply(promoted(Promotion(source="canary"))) is None


@pytest.mark.parametrize(
    ("source", "code"), [("other", "alias.not_found"), ("prod", "alias.source_invalid")]
)
def test_a_promotion_from_nothing_or_from_itself_is_refused(source: str, code: str) -> None:
    life = Life(others={"canary": A})
    life.apply(pointed(B))
    refused(code, life, promoted(Promotion(source=source)))


def test_a_gradual_promotion_gives_a_part_and_keeps_the_rest_as_it_was() -> None:
    life = Life()
    life.apply(pointed(A), promoted(Promotion(version=2, share=500)))
    assert life.weights == ((1, 19), (2, 1))
    assert life.apply(promoted(Promotion(version=2, share=500))) is None
    life.apply(promoted(Promotion(version=2, share=2_500)))
    assert life.weights == ((1, 3), (2, 1))
    life.apply(promoted(Promotion(version=3, share=1_000)))
    assert life.weights == ((1, 27), (2, 9), (3, 4))
    life.apply(promoted(Promotion(version=3)))
    assert life.weights == C
    assert life.apply(promoted(Promotion(version=3, share=1))) is None


def test_a_gradual_promotion_needs_something_to_share_with() -> None:
    refused("alias.not_found", Life(), promoted(Promotion(version=2, share=500)))


def test_the_smallest_parts_are_not_lost() -> None:
    life = Life(others={"canary": ((4, 1), (5, 9_999))})
    life.apply(pointed(((1, 1), (2, 9_999))), promoted(Promotion(source="canary", share=1)))
    assert life.weights is not None
    assert {version for version, _ in life.weights} == {1, 2, 4, 5}
    assert all(weight >= 1 for _, weight in life.weights)


def test_shares_that_do_not_divide_evenly_sum_to_the_whole() -> None:
    life = Life()
    life.apply(pointed(((1, 1), (2, 1), (3, 1))), promoted(Promotion(version=4, share=1)))
    assert life.weights == ((1, 3333), (2, 3333), (3, 3333), (4, 1))
    life.apply(promoted(Promotion(version=4, share=2)))
    assert life.weights is not None
    assert sum(weight for _, weight in life.weights) == 10_000


@pytest.mark.parametrize("percent", [0, -1, 0.001, 100.01, 1e9, math.nan])
def test_a_part_is_a_percentage(percent: float) -> None:
    with pytest.raises(StockadeError, match=r"^alias\.percent_invalid"):
        check_share(percent)


def test_a_part_in_hundredths() -> None:
    assert [check_share(percent) for percent in (0.01, 5, 12.5, 100)] == [1, 500, 1_250, 10_000]


def test_rollbacks_walk_back_to_the_first_and_end_there() -> None:
    life = Life()
    life.apply(pointed(A), pointed(B), pointed(C))
    for expected in (B, A):
        life.apply(rolled_back())
        assert life.weights == expected
    refused("alias.no_earlier", life, rolled_back())


def test_a_rollback_after_a_new_change_goes_to_what_stood_before_that() -> None:
    life = Life()
    life.apply(pointed(A), pointed(B), rolled_back(), pointed(C), rolled_back())
    assert life.weights == A
    refused("alias.no_earlier", life, rolled_back())


def test_a_rollback_asked_for_twice_is_done_once() -> None:
    life = Life()
    life.apply(pointed(A), pointed(B), pointed(C))
    assert life.apply(rolled_back(expected=3)) is not None
    assert life.apply(rolled_back(expected=3)) is None
    assert life.weights == B
    refused("alias.changed", life, rolled_back(expected=2))
    assert life.apply(rolled_back(1, expected=4)) is not None
    assert life.apply(rolled_back(1, expected=4)) is None
    refused("alias.changed", life, rolled_back(2, expected=4))


def test_what_looks_like_an_earlier_rollback_but_is_none_is_refused() -> None:
    life = Life()
    life.apply(pointed(A), pointed(B), pointed(C))
    refused("alias.changed", life, rolled_back(expected=2))


def test_a_rollback_to_a_revision() -> None:
    life = Life()
    life.apply(pointed(A), pointed(B), pointed(C))
    made = life.apply(rolled_back(1))
    assert made == AliasChange(4, Verb.ROLLBACK, C, A, 7, "me", restored=1)
    assert life.apply(rolled_back(1)) is None
    refused("alias.no_earlier", life, rolled_back())
    refused("alias.revision_not_found", life, rolled_back(9))


def test_a_deleted_alias_begins_anew_and_goes_back_to_no_time_without_it() -> None:
    life = Life()
    refused("alias.not_found", life, removed())
    refused("alias.not_found", life, rolled_back())
    life.apply(pointed(A), removed(expected=1))
    assert life.current is None
    made = life.apply(pointed(B, expected=0))
    assert made is not None
    assert made.revision == 3
    refused("alias.no_earlier", life, rolled_back())
    refused("alias.revision_not_found", life, rolled_back(2))


def test_a_function_has_so_many_aliases() -> None:
    life = Life(others={str(number): A for number in range(MAX_ALIASES)})
    refused("alias.too_many", life, pointed(A))
