"""What every store promises of CI jobs' keys: each token is taken once, whoever asks."""

import asyncio
from dataclasses import replace

import pytest

from stockade.core.api_keys import ApiKey
from stockade.core.errors import StockadeError
from stockade.core.ports import Catalog
from stockade.core.principals import Kind, Principal, Role
from stockade.core.workloads import UsedToken
from stockade.infra.sql.sql_catalog import SqlCatalog

KEY = ApiKey(
    "workload0001",
    "acme",
    "deploys",
    b"hash",
    1_000,
    9_000,
    Role.DEVELOPER,
    ("deploy:f",),
    kind=Kind.WORKLOAD,
    subject="https://ci|repo:acme/hello:ref:refs/heads/main",
    claims=(("ref", "refs/heads/main"), ("sha", "é\U0001f600'\"")),
)
TOKEN = UsedToken(b"\x00token\xff", 5_000)


async def test_a_jobs_key_is_found_with_its_claims(catalog: Catalog) -> None:
    assert await catalog.admit_workload(TOKEN, KEY)
    stored = await catalog.find_key(KEY.id)
    assert stored == KEY
    assert stored.principal == Principal(
        "acme", str(KEY.subject), Role.DEVELOPER, ("deploy:f",), Kind.WORKLOAD, KEY.claims
    )
    assert list(await catalog.keys("acme")) == [KEY]


async def test_a_token_is_taken_once(catalog: Catalog) -> None:
    other = replace(KEY, id="workload0002")
    assert await catalog.admit_workload(TOKEN, KEY)
    assert not await catalog.admit_workload(TOKEN, other)
    assert not await catalog.admit_workload(replace(TOKEN, expires_ms=1), other)
    assert await catalog.find_key(other.id) is None
    assert await catalog.admit_workload(UsedToken(b"other", 5_000), other)


async def test_of_many_at_once_one_takes_the_token(catalog: Catalog) -> None:
    keys = [replace(KEY, id=f"workload{number:04}") for number in range(20)]
    taken = await asyncio.gather(*(catalog.admit_workload(TOKEN, key) for key in keys))
    assert sorted(taken) == [False] * 19 + [True]
    assert list(await catalog.keys("acme")) == [keys[taken.index(True)]]


async def test_two_gateways_take_a_token_once(catalog_url: str) -> None:
    one = await SqlCatalog.open(catalog_url)
    other = await SqlCatalog.open(catalog_url)
    await one.ensure_tenant("acme")
    taken = await asyncio.gather(
        *(
            gateway.admit_workload(TOKEN, replace(KEY, id=f"workload{number:03}{place}"))
            for number in range(10)
            for place, gateway in enumerate((one, other))
        )
    )
    assert sorted(taken) == [False] * 19 + [True]
    await one.aclose()
    await other.aclose()


async def test_what_fails_uses_no_token(catalog: Catalog) -> None:
    await catalog.add_key(replace(KEY, kind=Kind.KEY))
    with pytest.raises(StockadeError, match=r"^key\.exists"):
        await catalog.admit_workload(TOKEN, KEY)
    with pytest.raises(StockadeError, match=r"^tenant\.not_found"):
        await catalog.admit_workload(TOKEN, replace(KEY, id="workload0002", tenant="nobody"))
    for bad in (
        replace(KEY, id="workload0003", subject="\0"),
        replace(KEY, id="workload0003", claims=(("ref", "\ud800"),)),
        replace(KEY, id="workload0003", expires_ms=2**63),
    ):
        with pytest.raises(StockadeError, match=r"^catalog\.value_invalid"):
            await catalog.admit_workload(TOKEN, bad)
    assert await catalog.admit_workload(TOKEN, replace(KEY, id="workload0004"))


async def test_a_sweep_takes_ended_jobs_and_tokens_and_nothing_else(catalog: Catalog) -> None:
    made_by_people = replace(KEY, id="person000001", kind=Kind.KEY, subject=None, claims=())
    lasting = replace(KEY, id="workload0002", expires_ms=20_000)
    await catalog.add_key(made_by_people)
    await catalog.admit_workload(TOKEN, KEY)
    await catalog.admit_workload(UsedToken(b"other", 20_000), lasting)
    assert await catalog.sweep_workloads(9_000) == 0
    assert await catalog.sweep_workloads(9_001) == 1
    assert await catalog.find_key(KEY.id) is None
    assert set(await catalog.keys("acme")) == {made_by_people, lasting}
    assert not await catalog.admit_workload(UsedToken(b"other", 20_000), KEY)
    assert await catalog.admit_workload(TOKEN, KEY)
    assert await catalog.sweep_workloads(0) == 0
