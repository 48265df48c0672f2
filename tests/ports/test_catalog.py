"""What every catalog promises of tenants, keys, signers and modules, and to other tenants."""

import asyncio
from collections.abc import Coroutine
from dataclasses import replace

import pytest

from stockade.core.aliases import Stamp, pointed
from stockade.core.api_keys import ApiKey
from stockade.core.errors import StockadeError
from stockade.core.modules import (
    Abi,
    Alias,
    FunctionContent,
    FunctionVersion,
    ModuleFacts,
    Signer,
    StoredModule,
)
from stockade.core.ports import Catalog

DIGEST = "sha256:" + "ab" * 32
KEY = ApiKey("abcdefghij01", "acme", "ci", b"\x00hash\xff", 1_000, 2**53)
SIGNER = Signer("release", b"\x00" * 31 + b"\xff", not_before_ms=-5, not_after_ms=2**62)
FACTS = ModuleFacts(
    Abi.WASI_PREVIEW1,
    imports=("wasi_snapshot_preview1.\0'\"é\U0001f600",),
    exports=("_start",),
    deterministic=False,
    size_bytes=123,
)
MODULE = StoredModule("acme", DIGEST, FACTS, (b"first", b""), 1_000)
CONTENT = FunctionContent(DIGEST, Abi.STOCKADE_V1, deterministic=True)
HOSTILE = [
    "",
    "' OR 1=1 --",
    "acme\0",
    "\ud800",
    "%",
    "acme%",
    "ACME",
    "a" * 100_000,
    "../acme",
    "\U0001f600",
]
TO_FIRST, STAMP = pointed(((1, 1),)), Stamp("", 0)


async def test_a_tenant_is_created_once(catalog: Catalog) -> None:
    assert await catalog.ensure_tenant("newcomer")
    assert not await catalog.ensure_tenant("newcomer")


async def test_tenants_are_listed_by_name(catalog: Catalog) -> None:
    for name in ("b", "a-b", "ab", "a1"):
        await catalog.ensure_tenant(name)
    assert list(await catalog.tenants()) == ["a-b", "a1", "ab", "acme", "b", "rival"]


async def test_of_many_at_once_one_creates_the_tenant(catalog: Catalog) -> None:
    created = await asyncio.gather(*(catalog.ensure_tenant("newcomer") for _ in range(20)))
    assert sorted(created) == [False] * 19 + [True]


@pytest.mark.parametrize("key", [KEY, replace(KEY, expires_ms=None)])
async def test_a_key_is_found_by_its_id_as_it_was_stored(catalog: Catalog, key: ApiKey) -> None:
    await catalog.add_key(key)
    assert await catalog.find_key(key.id) == key


async def test_an_unknown_key_is_none(catalog: Catalog) -> None:
    assert await catalog.find_key(KEY.id) is None


async def test_keys_of_all_tenants_are_found(catalog: Catalog) -> None:
    other = replace(KEY, id="zzzzzzzzzzzz", tenant="rival")
    await asyncio.gather(catalog.add_key(KEY), catalog.add_key(other))
    assert await catalog.find_key(other.id) == other


async def test_the_same_key_again_is_no_change(catalog: Catalog) -> None:
    await catalog.add_key(KEY)
    await catalog.add_key(KEY)
    assert await catalog.find_key(KEY.id) == KEY


async def test_a_key_never_replaces_another_of_its_id(catalog: Catalog) -> None:
    await catalog.add_key(KEY)
    with pytest.raises(StockadeError, match=r"^key\.exists"):
        await catalog.add_key(replace(KEY, tenant="rival"))
    assert await catalog.find_key(KEY.id) == KEY


async def test_a_signer_is_trusted_once(catalog: Catalog) -> None:
    assert await catalog.add_signer("acme", SIGNER)
    assert not await catalog.add_signer("acme", SIGNER)
    assert list(await catalog.signers("acme")) == [SIGNER]


@pytest.mark.parametrize(
    "other",
    [
        replace(SIGNER, name="other"),
        replace(SIGNER, public_key=b"\x01" * 32),
        replace(SIGNER, not_after_ms=None),
        replace(SIGNER, revoked_ms=7),
    ],
    ids=["key taken", "name taken", "other window", "revoked from the start"],
)
async def test_another_signer_of_the_same_name_or_key_is_refused(
    catalog: Catalog, other: Signer
) -> None:
    await catalog.add_signer("acme", SIGNER)
    with pytest.raises(StockadeError) as caught:
        await catalog.add_signer("acme", other)
    assert (caught.value.code, caught.value.retryable) == ("signer.exists", False)
    assert list(await catalog.signers("acme")) == [SIGNER]


async def test_signers_that_clash_two_ways_at_once_leave_one(catalog: Catalog) -> None:
    clashing = [replace(SIGNER, name=f"signer-{number}") for number in range(10)]
    results = await asyncio.gather(
        *(catalog.add_signer("acme", one) for one in clashing), return_exceptions=True
    )
    assert results.count(True) == 1
    assert len([one for one in results if isinstance(one, StockadeError)]) == 9
    assert len(await catalog.signers("acme")) == 1


async def test_signers_are_listed_by_name(catalog: Catalog) -> None:
    names = ["b", "a-b", "ab", "a", "a1"]
    for number, name in enumerate(names):
        await catalog.add_signer("acme", Signer(name, bytes([number]) * 32))
    assert [one.name for one in await catalog.signers("acme")] == sorted(names)


async def test_the_first_revocation_counts_and_is_listed(catalog: Catalog) -> None:
    await catalog.add_signer("acme", SIGNER)
    assert await catalog.revoke_signer("acme", "release", 50)
    assert await catalog.revoke_signer("acme", "release", 60)
    assert list(await catalog.signers("acme")) == [replace(SIGNER, revoked_ms=50)]


async def test_a_revoked_signer_is_not_trusted_anew(catalog: Catalog) -> None:
    await catalog.add_signer("acme", SIGNER)
    await catalog.revoke_signer("acme", "release", 50)
    with pytest.raises(StockadeError, match=r"^signer\.exists"):
        await catalog.add_signer("acme", SIGNER)


async def test_revoking_an_unknown_signer_is_false(catalog: Catalog) -> None:
    assert not await catalog.revoke_signer("acme", "release", 50)


async def test_a_module_comes_back_as_it_was_stored(catalog: Catalog) -> None:
    assert await catalog.add_module(MODULE)
    assert await catalog.module("acme", DIGEST) == MODULE


async def test_an_unknown_module_is_none(catalog: Catalog) -> None:
    assert await catalog.module("acme", DIGEST) is None


async def test_a_second_upload_adds_its_signatures_only(catalog: Catalog) -> None:
    await catalog.add_module(MODULE)
    again = replace(
        MODULE,
        facts=replace(FACTS, size_bytes=9),
        signatures=(b"second", b"first"),
        created_ms=2_000,
    )
    assert not await catalog.add_module(again)
    expected = replace(MODULE, signatures=(b"first", b"", b"second"))
    assert await catalog.module("acme", DIGEST) == expected


async def test_uploads_at_once_lose_no_signature(catalog: Catalog) -> None:
    uploads = [replace(MODULE, signatures=(b"%d" % number,)) for number in range(20)]
    created = await asyncio.gather(*map(catalog.add_module, uploads))
    stored = await catalog.module("acme", DIGEST)
    assert sorted(created) == [False] * 19 + [True]
    assert stored is not None
    assert sorted(stored.signatures) == sorted(b"%d" % number for number in range(20))


async def _fill(catalog: Catalog, tenant: str) -> None:
    await catalog.add_signer(tenant, SIGNER)
    await catalog.add_module(replace(MODULE, tenant=tenant))
    await catalog.put_function(tenant, "hello", CONTENT, 1_000)
    await catalog.change_alias(tenant, "hello", "prod", TO_FIRST, STAMP)


async def _assert_sees_nothing(catalog: Catalog, tenant: str) -> None:
    assert list(await catalog.signers(tenant)) == []
    assert await catalog.module(tenant, DIGEST) is None
    assert await catalog.function_version(tenant, "hello", None) is None
    assert await catalog.function_version(tenant, "hello", 1) is None
    assert list(await catalog.functions(tenant)) == []
    assert await catalog.alias(tenant, "hello", "prod") is None


async def test_another_tenant_sees_nothing_and_changes_nothing(catalog: Catalog) -> None:
    await _fill(catalog, "acme")
    await _assert_sees_nothing(catalog, "rival")
    assert not await catalog.revoke_signer("rival", "release", 50)
    with pytest.raises(StockadeError, match=r"^function\.not_found"):
        await catalog.change_alias("rival", "hello", "prod", TO_FIRST, STAMP)
    assert list(await catalog.signers("acme")) == [SIGNER]


async def test_tenants_may_use_the_same_names_keys_and_modules(catalog: Catalog) -> None:
    await _fill(catalog, "acme")
    await _fill(catalog, "rival")
    await catalog.put_function("rival", "hello", replace(CONTENT, env=()), 2_000)
    await catalog.revoke_signer("rival", "release", 50)
    latest = await catalog.function_version("acme", "hello", None)
    assert latest == FunctionVersion("acme", "hello", 1, CONTENT, 1_000)
    assert list(await catalog.signers("acme")) == [SIGNER]


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
async def test_a_hostile_string_finds_nothing(catalog: Catalog, text: str) -> None:
    await _fill(catalog, "acme")
    await catalog.add_key(KEY)
    await _assert_sees_nothing(catalog, text)
    assert await catalog.find_key(text) is None
    assert await catalog.module("acme", text) is None
    assert await catalog.function_version("acme", text, 1) is None
    assert await catalog.alias("acme", "hello", text) is None
    assert not await catalog.revoke_signer("acme", text, 50)
    assert not await catalog.revoke_signer(text, "release", 50)


@pytest.mark.parametrize("text", ["' OR 1=1 --", "%s; DROP TABLE tenants", "a:b", "\U0001f600é"])
async def test_an_odd_name_is_kept_as_it_is(catalog: Catalog, text: str) -> None:
    await catalog.ensure_tenant(text)
    await catalog.put_function(text, text, CONTENT, 1_000)
    await catalog.change_alias(text, text, text, TO_FIRST, STAMP)
    await catalog.add_signer(text, replace(SIGNER, name=text))
    assert [one.name for one in await catalog.functions(text)] == [text]
    assert [one.name for one in await catalog.signers(text)] == [text]
    assert await catalog.alias(text, text, text) == Alias(text, ((1, 1),))
    assert not await catalog.ensure_tenant("acme")


async def _codes(*writes: Coroutine[None, None, object]) -> set[object]:
    results = await asyncio.gather(*writes, return_exceptions=True)
    return {one.code if isinstance(one, StockadeError) else one for one in results}


async def test_a_write_for_an_unknown_tenant_is_refused(catalog: Catalog) -> None:
    writes = (
        catalog.add_key(replace(KEY, tenant="nobody")),
        catalog.add_signer("nobody", SIGNER),
        catalog.add_module(replace(MODULE, tenant="nobody")),
        catalog.put_function("nobody", "hello", CONTENT, 1_000),
    )
    assert await _codes(*writes) == {"tenant.not_found"}


@pytest.mark.parametrize("text", ["a\0b", "\ud800"], ids=["nul", "surrogate"])
async def test_what_no_database_can_hold_is_refused(catalog: Catalog, text: str) -> None:
    writes = (
        catalog.ensure_tenant(text),
        catalog.add_key(replace(KEY, name=text)),
        catalog.add_signer("acme", replace(SIGNER, name=text)),
        catalog.add_signer("acme", replace(SIGNER, not_after_ms=2**63)),
        catalog.add_module(replace(MODULE, digest=text)),
        catalog.add_module(replace(MODULE, facts=replace(FACTS, exports=("\ud800",)))),
        catalog.put_function("acme", text, CONTENT, 1_000),
        catalog.put_function("acme", "hello", replace(CONTENT, env=(("A", "\ud800"),)), 1_000),
        catalog.change_alias("acme", "hello", text, TO_FIRST, STAMP),
        catalog.revoke_signer("acme", "release", -(2**63) - 1),
    )
    assert await _codes(*writes) == {"catalog.value_invalid"}
    assert list(await catalog.functions("acme")) == []
