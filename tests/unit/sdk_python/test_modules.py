"""What the clients say about modules."""

import httpx
import pytest

from stockade_client import (
    AsyncClient,
    Client,
    ModuleDetails,
    ModuleEntry,
    ModulePage,
    ModuleVersion,
    StorageUsage,
)
from tests.unit.sdk_python.fake_gateway import DIGEST, MODULE, FakeGateway

LISTED = {"digest": DIGEST, "abi": "stockade:v1", "size_bytes": 9, "created_ms": 5}
SHOWN = MODULE | {
    "created_ms": 5,
    "signatures": 2,
    "refusal": None,
    "versions": [{"function": "f", "version": 3}],
}
REFUSED = SHOWN | {"signers": [], "refusal": {"code": "module.signer_revoked", "detail": "Sign."}}
USAGE = {
    "used": {"module_bytes": 1, "modules": 2, "oci_bytes": 5},
    "limit": {"module_bytes": 3, "modules": 4, "oci_bytes": 6},
}
DETAILS = ModuleDetails(
    digest=DIGEST,
    signers=("me",),
    imports=("stockade:v1.log",),
    exports=("memory", "stockade_v1_run"),
    abi="stockade:v1",
    deterministic=True,
    size_bytes=123,
    created_ms=5,
    signatures=2,
    versions=(ModuleVersion("f", 3),),
)


@pytest.fixture
def gateway() -> FakeGateway:
    page = {"modules": [LISTED], "next": f"5-{DIGEST}"}
    made = FakeGateway().on("GET /v1/modules", httpx.Response(200, json=page))
    made.on(f"GET /v1/modules/{DIGEST}", httpx.Response(200, json=SHOWN))
    made.on(f"DELETE /v1/modules/{DIGEST}", httpx.Response(204))
    return made.on("GET /v1/usage/storage", httpx.Response(200, json=USAGE))


def test_modules_are_listed_page_by_page(gateway: FakeGateway) -> None:
    client = Client("http://gateway", "stk_key", transport=gateway.transport)
    page = client.modules(limit=1, after=f"6-{DIGEST}")
    assert page == ModulePage((ModuleEntry(DIGEST, "stockade:v1", 9, 5),), f"5-{DIGEST}")
    assert dict(gateway.last.url.params) == {"limit": "1", "after": f"6-{DIGEST}"}
    client.modules()
    assert dict(gateway.last.url.params) == {}


def test_a_module_is_shown_and_deleted(gateway: FakeGateway) -> None:
    client = Client("http://gateway", "stk_key", transport=gateway.transport)
    assert client.module(DIGEST) == DETAILS
    client.delete_module(DIGEST)
    assert gateway.last.method == "DELETE"
    assert client.storage_usage() == StorageUsage(1, 2, 3, 4, 5, 6)


def test_a_module_shows_why_it_would_not_run(gateway: FakeGateway) -> None:
    gateway.on(f"GET /v1/modules/{DIGEST}", httpx.Response(200, json=REFUSED))
    client = Client("http://gateway", "stk_key", transport=gateway.transport)
    shown = client.module(DIGEST)
    assert (shown.signers, shown.refusal) == ((), "module.signer_revoked")
    assert shown.refusal_detail == "Sign."


async def test_the_asyncio_client_says_the_same(gateway: FakeGateway) -> None:
    async with AsyncClient("http://gateway", "stk_key", transport=gateway.transport) as client:
        assert await client.module(DIGEST) == DETAILS
        assert (await client.modules()).following == f"5-{DIGEST}"
        assert await client.storage_usage() == StorageUsage(1, 2, 3, 4, 5, 6)
        await client.delete_module(DIGEST)
