import pytest

from stockade.core.walls import (
    ALWAYS_REQUIRED,
    DEFAULT_REQUIRED,
    Wall,
    WallReport,
    WallState,
    missing_walls,
    parse_walls,
    walls_missing,
)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("seccomp", set()),
        (DEFAULT_REQUIRED, {Wall.LANDLOCK}),
        (" landlock , nobody ", {Wall.LANDLOCK, Wall.NOBODY}),
        ("engine,engine", {Wall.ENGINE}),
    ],
)
def test_what_is_named_is_required_beside_what_always_is(text: str, named: set[Wall]) -> None:
    assert parse_walls(text) == ALWAYS_REQUIRED | named


@pytest.mark.parametrize(
    "text", ["", ",", "none", "landlock,", "Landlock", "landlock nobody", "durability", "a" * 9999]
)
def test_a_text_that_names_something_else_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(ValueError, match="name walls, separated by commas") as refused:
        parse_walls(text)
    assert len(str(refused.value)) < 400


def test_no_setting_takes_seccomp_away() -> None:
    assert Wall.SECCOMP in parse_walls("landlock")


def _report(wall: Wall, state: WallState) -> WallReport:
    return WallReport(wall, state, "seen", "meant")


def test_a_required_wall_that_is_missing_or_unknown_is_told_a_weak_one_is_not() -> None:
    reports = (
        _report(Wall.SECCOMP, WallState.OK),
        _report(Wall.LANDLOCK, WallState.WEAK),
        _report(Wall.NOBODY, WallState.MISSING),
        _report(Wall.PROC, WallState.MISSING),
    )
    required = frozenset({Wall.CGROUP, Wall.SECCOMP, Wall.LANDLOCK, Wall.NOBODY})
    assert missing_walls(reports, required) == (Wall.NOBODY, Wall.CGROUP)


def test_the_refusal_names_the_walls_and_doctor() -> None:
    refusal = walls_missing((Wall.SECCOMP, Wall.JAIL))
    assert (refusal.code, refusal.retryable) == ("jail.wall_missing", False)
    assert "seccomp, jail" in refusal.message
    assert "stockade doctor" in refusal.message
    assert refusal.detail == {"walls": ["seccomp", "jail"]}
