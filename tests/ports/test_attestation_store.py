"""The `AttestationStore` port: attestations beside modules, and gone with them."""

import asyncio

import pytest

from stockade.core.attestations import StoredAttestation
from stockade.core.errors import StockadeError
from stockade.core.modules import Abi, ModuleFacts, StoredModule
from stockade.core.ports import Catalog

DIGEST = "sha256:" + "ab" * 32
FACTS = ModuleFacts(Abi.STOCKADE_V1, (), ("memory",), deterministic=True, size_bytes=9)
MODULE = StoredModule("acme", DIGEST, FACTS, (b"signature",), 1_000)


def made(number: int, tenant: str = "acme") -> StoredAttestation:
    return StoredAttestation(tenant, DIGEST, f"sha256:{number}", b"\0envelope", 1_000 + number)


async def code_of(catalog: Catalog, attestation: StoredAttestation, most: int = 9) -> str:
    with pytest.raises(StockadeError) as refused:
        await catalog.add_attestation(attestation, most)
    return refused.value.code


async def test_attestations_come_back_in_the_order_of_their_arrival(catalog: Catalog) -> None:
    await catalog.add_module(MODULE)
    assert list(await catalog.attestations("acme", DIGEST)) == []
    for number in (2, 1):
        assert await catalog.add_attestation(made(number), 9)
    assert not await catalog.add_attestation(made(2), 9)
    assert list(await catalog.attestations("acme", DIGEST)) == [made(2), made(1)]


async def test_another_tenants_module_is_not_attested(catalog: Catalog) -> None:
    await catalog.add_module(MODULE)
    assert await code_of(catalog, made(1, "rival")) == "module.not_found"
    assert await code_of(catalog, made(1, "nobody")) == "module.not_found"
    await catalog.add_attestation(made(1), 9)
    assert list(await catalog.attestations("rival", DIGEST)) == []
    assert list(await catalog.attestations("\0", DIGEST)) == []


async def test_a_module_has_a_bounded_number_however_many_come_at_once(catalog: Catalog) -> None:
    await catalog.add_module(MODULE)
    done = await asyncio.gather(
        *(catalog.add_attestation(made(number), 3) for number in range(8)), return_exceptions=True
    )
    assert done.count(True) == 3
    refused = [one.code for one in done if isinstance(one, StockadeError)]
    assert refused == ["attestation.too_many"] * 5
    assert len(await catalog.attestations("acme", DIGEST)) == 3
    kept = (await catalog.attestations("acme", DIGEST))[0]
    assert not await catalog.add_attestation(kept, 3)


async def test_they_go_with_their_module_and_do_not_come_back(catalog: Catalog) -> None:
    await catalog.add_module(MODULE)
    await catalog.add_attestation(made(1), 9)
    assert await catalog.delete_module("acme", DIGEST, 2_000)
    assert await code_of(catalog, made(2)) == "module.not_found"
    assert await catalog.purge_modules(3_000, 10) == 1
    assert list(await catalog.attestations("acme", DIGEST)) == []
    await catalog.add_module(MODULE)
    assert list(await catalog.attestations("acme", DIGEST)) == []


async def test_what_no_store_holds_is_refused(catalog: Catalog) -> None:
    await catalog.add_module(MODULE)
    odd = StoredAttestation("acme", DIGEST, "\0", b"", 1)
    assert await code_of(catalog, odd) == "catalog.value_invalid"
