"""Secrets in the catalog: sealed bytes by tenant and name."""

import pytest

from stockade.core.errors import StockadeError
from stockade.core.modules import SecretEntry
from stockade.core.ports import Catalog


async def test_a_secret_is_set_replaced_and_deleted(catalog: Catalog) -> None:
    assert await catalog.secret("acme", "KEY") is None
    assert await catalog.put_secret("acme", "KEY", b"\0\xff one", 1) is True
    assert await catalog.put_secret("acme", "KEY", b"two", 2) is False
    assert await catalog.secret("acme", "KEY") == b"two"
    assert list(await catalog.secrets("acme")) == [SecretEntry("KEY", 2)]
    assert await catalog.delete_secret("acme", "KEY") is True
    assert await catalog.delete_secret("acme", "KEY") is False
    assert await catalog.secret("acme", "KEY") is None


async def test_names_are_listed_in_order_and_told_apart(catalog: Catalog) -> None:
    for name in ("b", "A", "a", "B"):
        await catalog.put_secret("acme", name, name.encode(), 1)
    assert [one.name for one in await catalog.secrets("acme")] == ["A", "B", "a", "b"]
    assert await catalog.secret("acme", "a") == b"a"


async def test_another_tenants_secrets_are_not_there(catalog: Catalog) -> None:
    await catalog.put_secret("acme", "KEY", b"x", 1)
    assert await catalog.secret("rival", "KEY") is None
    assert list(await catalog.secrets("rival")) == []
    assert await catalog.delete_secret("rival", "KEY") is False
    assert await catalog.secret("acme", "KEY") == b"x"


@pytest.mark.parametrize("name", ["\ud800", "a\0b"])
async def test_hostile_names_are_absent_or_refused(catalog: Catalog, name: str) -> None:
    assert await catalog.secret("acme", name) is None
    with pytest.raises(StockadeError):
        await catalog.put_secret("acme", name, b"x", 1)


async def test_a_tenant_who_is_not_there_has_no_secrets(catalog: Catalog) -> None:
    with pytest.raises(StockadeError) as refused:
        await catalog.put_secret("nobody", "KEY", b"x", 1)
    assert refused.value.code == "tenant.not_found"
