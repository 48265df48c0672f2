"""What every store of API keys promises of ends, last uses, and to other tenants."""

import asyncio
from dataclasses import replace

import pytest

from stockade.core.api_keys import ApiKey
from stockade.core.errors import StockadeError
from stockade.core.ports import Catalog
from stockade.core.principals import Role

KEY = ApiKey(
    "abcdefghij01",
    "acme",
    "ci",
    b"\x00hash\xff",
    1_000,
    9_000,
    Role.DEVELOPER,
    ("deploy:f", "read"),
)
OTHER = replace(KEY, id="abcdefghij02", tenant="rival")


async def test_role_and_scopes_come_back_as_they_were_stored(catalog: Catalog) -> None:
    every = [
        replace(KEY, id=f"abcdefghij{place:02}", role=role, scopes=("read",) * place)
        for place, role in enumerate(Role)
    ]
    for key in every:
        await catalog.add_key(key)
    assert [await catalog.find_key(key.id) for key in every] == every


async def test_keys_are_listed_by_age_and_only_the_tenants_own(catalog: Catalog) -> None:
    older = replace(KEY, id="zzzzzzzzzzzz", created_ms=5)
    for key in (KEY, older, OTHER):
        await catalog.add_key(key)
    assert list(await catalog.keys("acme")) == [older, KEY]
    assert list(await catalog.keys("rival")) == [OTHER]
    for nobody in ("nobody", "", "\0", "\ud800"):
        assert list(await catalog.keys(nobody)) == []
        assert await catalog.find_key(nobody) is None


@pytest.mark.parametrize(
    ("before", "asked", "after"), [(None, 5, 5), (9, 5, 5), (5, 9, 5), (5, 5, 5)]
)
async def test_a_keys_time_only_gets_shorter(
    catalog: Catalog, before: int | None, asked: int, after: int
) -> None:
    await catalog.add_key(replace(KEY, expires_ms=before))
    assert await catalog.expire_key("acme", KEY.id, asked)
    assert await catalog.find_key(KEY.id) == replace(KEY, expires_ms=after)


async def test_the_first_revocation_counts(catalog: Catalog) -> None:
    await catalog.add_key(KEY)
    assert await catalog.revoke_key("acme", KEY.id, 50)
    assert await catalog.revoke_key("acme", KEY.id, 40)
    assert await catalog.find_key(KEY.id) == replace(KEY, revoked_ms=50)
    assert list(await catalog.keys("acme")) == [replace(KEY, revoked_ms=50)]


async def test_a_revoked_key_is_not_added_anew(catalog: Catalog) -> None:
    await catalog.add_key(KEY)
    await catalog.revoke_key("acme", KEY.id, 50)
    with pytest.raises(StockadeError, match=r"^key\.exists"):
        await catalog.add_key(KEY)
    assert await catalog.find_key(KEY.id) == replace(KEY, revoked_ms=50)


async def test_another_tenants_key_is_as_absent_as_none(catalog: Catalog) -> None:
    await catalog.add_key(OTHER)
    for key_id in (OTHER.id, "nosuchkey000", "", "\0", "\ud800", "' OR 1=1 --", "x" * 100_000):
        assert not await catalog.revoke_key("acme", key_id, 50)
        assert not await catalog.expire_key("acme", key_id, 50)
    assert await catalog.find_key(OTHER.id) == OTHER


async def test_the_last_use_only_gets_later(catalog: Catalog) -> None:
    await catalog.add_key(KEY)
    for used_ms, expected in ((70, 70), (60, 70), (80, 80)):
        await catalog.touch_keys({KEY.id: used_ms})
        assert await catalog.find_key(KEY.id) == replace(KEY, last_used_ms=expected)


async def test_uses_are_noted_in_bundles_and_unknown_keys_change_nothing(catalog: Catalog) -> None:
    await catalog.add_key(KEY)
    await catalog.add_key(OTHER)
    await catalog.touch_keys({})
    await catalog.touch_keys({KEY.id: 70, "nosuchkey000": 70, OTHER.id: 71})
    assert await catalog.find_key(KEY.id) == replace(KEY, last_used_ms=70)
    assert await catalog.find_key(OTHER.id) == replace(OTHER, last_used_ms=71)
    assert await catalog.find_key("nosuchkey000") is None


async def test_a_used_key_is_still_the_same_key(catalog: Catalog) -> None:
    await catalog.add_key(KEY)
    await catalog.touch_keys({KEY.id: 70})
    await catalog.add_key(KEY)
    assert await catalog.find_key(KEY.id) == replace(KEY, last_used_ms=70)


async def test_changes_at_once_all_hold(catalog: Catalog) -> None:
    await catalog.add_key(KEY)
    await asyncio.gather(
        *(catalog.revoke_key("acme", KEY.id, 50) for _ in range(5)),
        *(catalog.expire_key("acme", KEY.id, 60 - number) for number in range(5)),
        *(catalog.touch_keys({KEY.id: 70 + number}) for number in range(5)),
    )
    expected = replace(KEY, revoked_ms=50, expires_ms=56, last_used_ms=74)
    assert await catalog.find_key(KEY.id) == expected


@pytest.mark.parametrize(
    "key",
    [
        replace(KEY, name="\ud800"),
        replace(KEY, name="\0"),
        replace(KEY, id="\0"),
        replace(KEY, scopes=("\ud800",)),
        replace(KEY, revoked_ms=2**63),
        replace(KEY, last_used_ms=-(2**63) - 1),
    ],
    ids=range(6),
)
async def test_what_no_store_could_give_back_is_refused(catalog: Catalog, key: ApiKey) -> None:
    with pytest.raises(StockadeError, match=r"^catalog\.value_invalid"):
        await catalog.add_key(key)


async def test_times_that_no_store_could_hold_are_refused(catalog: Catalog) -> None:
    await catalog.add_key(KEY)
    for change in (
        catalog.expire_key("acme", KEY.id, 2**63),
        catalog.revoke_key("acme", KEY.id, 2**63),
        catalog.touch_keys({KEY.id: 2**63}),
        catalog.touch_keys({"\0": 1}),
    ):
        with pytest.raises(StockadeError, match=r"^catalog\.value_invalid"):
            await change
    assert await catalog.find_key(KEY.id) == KEY


async def test_a_key_needs_its_tenant(catalog: Catalog) -> None:
    with pytest.raises(StockadeError, match=r"^tenant\.not_found"):
        await catalog.add_key(replace(KEY, tenant="nobody"))


async def test_a_sweep_takes_what_ended_long_ago_and_nothing_else(catalog: Catalog) -> None:
    revoked = replace(KEY, id="abcdefghij03", expires_ms=None, revoked_ms=8_000)
    for_good = replace(KEY, id="abcdefghij04", expires_ms=None)
    for key in (KEY, OTHER, revoked, for_good):
        await catalog.add_key(key)
    assert await catalog.sweep_keys(8_000, 10) == 0
    assert await catalog.sweep_keys(9_000, 10) == 1
    assert await catalog.find_key(revoked.id) is None
    assert await catalog.sweep_keys(9_001, 1) == 1
    assert await catalog.sweep_keys(9_001, 10) == 1
    assert await catalog.sweep_keys(2**60, 10) == 0
    assert list(await catalog.keys("acme")) == [for_good]
