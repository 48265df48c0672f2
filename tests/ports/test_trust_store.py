"""What every trust store promises: revocation, rotation, and what functions ask of signers."""

import asyncio
from dataclasses import replace

import pytest

from stockade.core.errors import StockadeError
from stockade.core.modules import Signer
from stockade.core.ports import Catalog
from stockade.core.trust import FunctionTrust

OLD = Signer("release", b"\x01" * 32, not_after_ms=9_000)
NEW = Signer("release-2", b"\x02" * 32, replaces="release")
BOTH = FunctionTrust(2, ("release", "reviewer"))


async def test_the_first_revocation_counts_with_its_reason(catalog: Catalog) -> None:
    await catalog.add_signer("acme", OLD)
    assert await catalog.revoke_signer("acme", "release", 50, "The laptop was stolen é.")
    assert await catalog.revoke_signer("acme", "release", 60, "another")
    stored = replace(OLD, revoked_ms=50, revoked_reason="The laptop was stolen é.")
    assert list(await catalog.signers("acme")) == [stored]


async def test_a_later_reason_is_not_given_to_an_earlier_revocation(catalog: Catalog) -> None:
    await catalog.add_signer("acme", OLD)
    await catalog.revoke_signer("acme", "release", 50)
    await catalog.revoke_signer("acme", "release", 60, "late")
    assert list(await catalog.signers("acme")) == [replace(OLD, revoked_ms=50)]


async def test_a_successor_is_trusted_and_its_predecessors_time_ends(catalog: Catalog) -> None:
    await catalog.add_signer("acme", replace(OLD, not_after_ms=None))
    assert await catalog.rotate_signer("acme", NEW, 5_000)
    assert list(await catalog.signers("acme")) == [replace(OLD, not_after_ms=5_000), NEW]


async def test_a_rotation_never_prolongs_a_window(catalog: Catalog) -> None:
    await catalog.add_signer("acme", OLD)
    assert await catalog.rotate_signer("acme", NEW, 10_000)
    assert list(await catalog.signers("acme")) == [OLD, NEW]


async def test_the_same_rotation_again_is_no_change(catalog: Catalog) -> None:
    await catalog.add_signer("acme", OLD)
    for until_ms in (5_000, 6_000):
        assert await catalog.rotate_signer("acme", NEW, until_ms)
    assert list(await catalog.signers("acme")) == [replace(OLD, not_after_ms=5_000), NEW]


@pytest.mark.parametrize(
    "taken",
    [replace(NEW, name="reviewer"), replace(NEW, public_key=OLD.public_key)],
    ids=["name", "key"],
)
async def test_a_rotation_to_what_is_taken_changes_nothing(catalog: Catalog, taken: Signer) -> None:
    reviewer = Signer("reviewer", b"\x03" * 32)
    await catalog.add_signer("acme", OLD)
    await catalog.add_signer("acme", reviewer)
    with pytest.raises(StockadeError, match=r"^signer\.exists"):
        await catalog.rotate_signer("acme", taken, 5_000)
    assert list(await catalog.signers("acme")) == [OLD, reviewer]


async def test_rotations_at_once_leave_one_successor_of_a_name(catalog: Catalog) -> None:
    await catalog.add_signer("acme", OLD)
    successors = [replace(NEW, public_key=bytes([number]) * 32) for number in range(10, 18)]
    results = await asyncio.gather(
        *(catalog.rotate_signer("acme", one, 5_000) for one in successors), return_exceptions=True
    )
    assert results.count(True) == 1
    assert len(await catalog.signers("acme")) == 2


async def test_nobody_rotates_an_unknown_or_anothers_signer(catalog: Catalog) -> None:
    await catalog.add_signer("acme", OLD)
    for tenant, one in (("acme", replace(NEW, replaces="none")), ("rival", NEW)):
        assert not await catalog.rotate_signer(tenant, one, 5_000)
    assert not await catalog.rotate_signer("nobody", NEW, 5_000)
    assert not await catalog.rotate_signer("acme", replace(NEW, replaces=None), 5_000)
    assert list(await catalog.signers("acme")) == [OLD]
    assert list(await catalog.signers("rival")) == []


async def test_a_function_asks_for_nothing_until_it_is_said(catalog: Catalog) -> None:
    assert await catalog.function_trust("acme", "pay") is None
    assert await catalog.put_function_trust("acme", "pay", BOTH)
    assert await catalog.function_trust("acme", "pay") == BOTH
    assert not await catalog.put_function_trust("acme", "pay", FunctionTrust())
    assert await catalog.function_trust("acme", "pay") == FunctionTrust(1, ())


async def test_what_a_function_asks_is_its_tenants_alone(catalog: Catalog) -> None:
    await catalog.put_function_trust("acme", "pay", BOTH)
    assert await catalog.function_trust("rival", "pay") is None
    assert await catalog.function_trust("acme", "\0") is None
    with pytest.raises(StockadeError, match=r"^tenant\.not_found"):
        await catalog.put_function_trust("nobody", "pay", BOTH)


@pytest.mark.parametrize(
    "trust", [FunctionTrust(0), FunctionTrust(2**31), FunctionTrust(1, ("\ud800",))]
)
async def test_what_no_store_can_hold_is_refused(catalog: Catalog, trust: FunctionTrust) -> None:
    with pytest.raises(StockadeError, match=r"^catalog\.value_invalid"):
        await catalog.put_function_trust("acme", "pay", trust)
    for text in ("\0", "\ud800"):
        with pytest.raises(StockadeError, match=r"^catalog\.value_invalid"):
            await catalog.revoke_signer("acme", "release", 1, text)
        with pytest.raises(StockadeError, match=r"^catalog\.value_invalid"):
            await catalog.rotate_signer("acme", replace(NEW, replaces=text), 1)
