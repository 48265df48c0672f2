"""What every catalog promises of aliases, their changes and their history."""

import asyncio
from dataclasses import replace
from itertools import pairwise

import pytest

from stockade.core.aliases import (
    KEPT_CHANGES,
    KEPT_DELETED,
    MAX_ALIASES,
    AliasChange,
    AliasRule,
    Promotion,
    Stamp,
    Verb,
    pointed,
    promoted,
    removed,
    rolled_back,
)
from stockade.core.errors import StockadeError
from stockade.core.modules import Abi, Alias, FunctionContent
from stockade.core.ports import Catalog

CONTENT = FunctionContent("sha256:" + "ab" * 32, Abi.STOCKADE_V1, deterministic=True)
STAMP = Stamp("key-1", 5_000)
FIRST, SECOND, SHARED = ((1, 1),), ((2, 1),), ((1, 90), (2, 10))


@pytest.fixture(autouse=True)
async def two_versions(catalog: Catalog) -> None:
    """Of the function `hello`."""
    for concurrency in (1, 2):
        await deploy(catalog, concurrency)


async def deploy(catalog: Catalog, concurrency: int) -> None:
    await catalog.put_function("acme", "hello", replace(CONTENT, concurrency=concurrency), 1_000)


async def change(
    catalog: Catalog, rule: AliasRule, name: str = "prod", stamp: Stamp = STAMP
) -> AliasChange | None:
    return await catalog.change_alias("acme", "hello", name, rule, stamp)


async def prod(catalog: Catalog) -> Alias | None:
    return await catalog.alias("acme", "hello", "prod")


async def test_an_alias_is_made_and_moves_by_revisions(catalog: Catalog) -> None:
    made = await change(catalog, pointed(FIRST))
    assert made == AliasChange(1, Verb.SET, None, FIRST, 5_000, "key-1")
    assert await prod(catalog) == Alias("prod", FIRST, 1, 5_000, "key-1")
    moved = await change(catalog, pointed(SHARED), stamp=Stamp("key-2", 6_000))
    assert moved == AliasChange(2, Verb.SET, FIRST, SHARED, 6_000, "key-2")
    assert await prod(catalog) == Alias("prod", SHARED, 2, 6_000, "key-2")
    assert list(await catalog.alias_changes("acme", "hello", "prod")) == [moved, made]


async def test_to_point_where_it_points_changes_nothing(catalog: Catalog) -> None:
    made = await change(catalog, pointed(FIRST))
    assert await change(catalog, pointed(FIRST), stamp=Stamp("key-2", 6_000)) is None
    assert list(await catalog.alias_changes("acme", "hello", "prod")) == [made]


async def test_aliases_are_listed_by_name(catalog: Catalog) -> None:
    for name in ("b", "a-b", "ab", "a"):
        await change(catalog, pointed(FIRST), name)
    listed = await catalog.aliases("acme", "hello")
    assert [one.name for one in listed] == ["a", "a-b", "ab", "b"]
    assert list(await catalog.aliases("rival", "hello")) == []


async def test_of_many_at_once_one_makes_the_alias(catalog: Catalog) -> None:
    rules = [pointed(((1, weight),)) for weight in range(1, 21)]
    changes = await asyncio.gather(*(change(catalog, rule) for rule in rules))
    assert sorted(one.revision for one in changes if one) == list(range(1, 21))
    assert [one.before for one in changes if one].count(None) == 1
    kept = await catalog.alias_changes("acme", "hello", "prod")
    for newer, older in pairwise(kept):
        assert newer.before == older.after


async def test_of_many_that_saw_the_same_one_wins(catalog: Catalog) -> None:
    await change(catalog, pointed(FIRST))
    rules = [pointed(((2, weight),), expected=1) for weight in range(1, 11)]
    results = await asyncio.gather(
        *(change(catalog, rule) for rule in rules), return_exceptions=True
    )
    refusals = [one for one in results if isinstance(one, StockadeError)]
    assert [one.code for one in refusals] == ["alias.changed"] * 9
    current = await prod(catalog)
    assert current is not None
    assert current.revision == 2
    assert refusals[0].detail == {"revision": 2, "expected": 1}


async def test_an_alias_of_an_unknown_function_is_refused(catalog: Catalog) -> None:
    with pytest.raises(StockadeError, match=r"^function\.not_found"):
        await catalog.change_alias("acme", "other", "prod", pointed(FIRST), STAMP)
    with pytest.raises(StockadeError, match=r"^function\.not_found"):
        await catalog.change_alias("rival", "hello", "prod", pointed(FIRST), STAMP)


@pytest.mark.parametrize("version", [0, -1, 3, 2**31, 2**62])
async def test_an_alias_to_an_unknown_version_is_refused(catalog: Catalog, version: int) -> None:
    with pytest.raises(StockadeError, match=r"^version\.not_found"):
        await change(catalog, pointed(((1, 1), (version, 1))))
    assert await prod(catalog) is None
    assert list(await catalog.alias_changes("acme", "hello", "prod")) == []


async def test_an_unknown_alias_is_none(catalog: Catalog) -> None:
    assert await prod(catalog) is None
    assert await catalog.alias("acme", "other", "prod") is None
    assert list(await catalog.aliases("acme", "other")) == []
    assert list(await catalog.alias_changes("acme", "other", "prod")) == []


async def test_a_promotion_takes_what_the_other_alias_has_at_that_moment(catalog: Catalog) -> None:
    await change(catalog, pointed(FIRST))
    await change(catalog, pointed(SECOND), "canary")
    made = await change(catalog, promoted(Promotion(source="canary")))
    assert made == AliasChange(2, Verb.PROMOTE, FIRST, SECOND, 5_000, "key-1")
    assert await change(catalog, promoted(Promotion(source="canary"))) is None


async def test_rollbacks_walk_back_and_say_what_they_restored(catalog: Catalog) -> None:
    for weights in (FIRST, SHARED, SECOND):
        await change(catalog, pointed(weights))
    back = await change(catalog, rolled_back())
    assert back == AliasChange(4, Verb.ROLLBACK, SECOND, SHARED, 5_000, "key-1", restored=2)
    further = await change(catalog, rolled_back())
    assert further is not None
    assert (further.after, further.restored) == (FIRST, 1)
    with pytest.raises(StockadeError, match=r"^alias\.no_earlier"):
        await change(catalog, rolled_back())


async def test_a_rollback_to_a_version_that_is_deleted_is_refused(catalog: Catalog) -> None:
    await deploy(catalog, 3)
    await change(catalog, pointed(FIRST))
    await change(catalog, pointed(SECOND))
    await catalog.delete_version("acme", "hello", 1)
    with pytest.raises(StockadeError, match=r"^version\.not_found"):
        await change(catalog, rolled_back())
    current = await prod(catalog)
    assert current is not None
    assert current.weights == SECOND


async def test_a_deleted_alias_leaves_its_history_and_its_count(catalog: Catalog) -> None:
    await change(catalog, pointed(FIRST))
    gone = await change(catalog, removed())
    assert gone == AliasChange(2, Verb.DELETE, FIRST, None, 5_000, "key-1")
    assert await prod(catalog) is None
    with pytest.raises(StockadeError, match=r"^alias\.not_found"):
        await change(catalog, removed())
    again = await change(catalog, pointed(SECOND))
    assert again is not None
    assert (again.revision, again.before) == (3, None)
    assert len(await catalog.alias_changes("acme", "hello", "prod")) == 3


async def test_the_last_changes_are_remembered(catalog: Catalog) -> None:
    for number in range(KEPT_CHANGES + 5):
        await change(catalog, pointed(((1, number + 1),)))
    kept = await catalog.alias_changes("acme", "hello", "prod")
    assert [one.revision for one in kept] == list(range(KEPT_CHANGES + 5, 5, -1))


async def test_of_deleted_aliases_the_last_ones_have_a_history(catalog: Catalog) -> None:
    await change(catalog, pointed(FIRST), "live", Stamp("key-1", 1))
    names = [f"a{number}" for number in range(KEPT_DELETED + 2)]
    for at_ms, name in enumerate(names, 2):
        await change(catalog, pointed(FIRST), name, Stamp("key-1", at_ms))
        await change(catalog, removed(), name, Stamp("key-1", at_ms))
    left = [len(await catalog.alias_changes("acme", "hello", name)) for name in names]
    assert left == [0, 0] + [2] * KEPT_DELETED
    assert len(await catalog.alias_changes("acme", "hello", "live")) == 1


async def test_a_function_has_so_many_aliases(catalog: Catalog) -> None:
    for number in range(MAX_ALIASES):
        await change(catalog, pointed(FIRST), f"a{number}")
    with pytest.raises(StockadeError, match=r"^alias\.too_many"):
        await change(catalog, pointed(FIRST), "one-more")
    assert await change(catalog, pointed(SECOND), "a0") is not None


@pytest.mark.parametrize("text", ["a\0b", "\ud800"], ids=["nul", "surrogate"])
async def test_a_hostile_text_is_refused_or_absent(catalog: Catalog, text: str) -> None:
    for rule, stamp in ((pointed(FIRST), Stamp(text, 1)), (removed(), STAMP)):
        with pytest.raises(StockadeError, match=r"^(catalog\.value_invalid|alias\.not_found)"):
            await change(catalog, rule, "prod" if stamp is not STAMP else text, stamp)
    assert list(await catalog.aliases("acme", text)) == []
    assert list(await catalog.alias_changes("acme", "hello", text)) == []
