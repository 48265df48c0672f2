"""What tests push, and to which gateway."""

import base64
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import httpx

from gateway.oci.content import OciContent
from gateway.settings import GatewaySettings
from stockade.core.digests import digest_of
from stockade.core.module_store import StoragePolicy, StorageQuota
from stockade.infra.memory.memory_blobs import MemoryBlobStore
from stockade.infra.sql.sql_catalog import SqlCatalog
from stockade.infra.sql.sql_oci import SqlOciStore
from tests.unit.gateway.installation import OCI_BOUNDS, SETTINGS, Installation, installed

IMAGE = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
EMPTY = b"{}"
REPOSITORY = "/v2/alice/tools/hello"


def sha512_of(content: bytes) -> str:
    return "sha512:" + hashlib.sha512(content).hexdigest()


def descriptor(
    content: bytes, media_type: str = "application/octet-stream", **more: object
) -> dict[str, object]:
    return {"mediaType": media_type, "digest": digest_of(content), "size": len(content)} | more


def image(*layers: bytes, **more: object) -> dict[str, object]:
    """An image manifest over an empty config and these layers."""
    return {
        "schemaVersion": 2,
        "mediaType": IMAGE,
        "config": descriptor(EMPTY, "application/vnd.oci.empty.v1+json"),
        "layers": [descriptor(layer) for layer in layers],
    } | more


def encoded(manifest: object) -> bytes:
    return json.dumps(manifest).encode()


@dataclass
class OciGateway:
    """The gateway of tenants `alice` and `mallory`, and a client of alice's."""

    it: Installation
    http: httpx.AsyncClient
    store: SqlOciStore
    blobs: MemoryBlobStore
    staging: MemoryBlobStore

    async def push_blob(self, content: bytes, repository: str = REPOSITORY) -> httpx.Response:
        query = {"digest": digest_of(content)}
        return await self.http.post(f"{repository}/blobs/uploads/", params=query, content=content)

    async def begin(self, repository: str = REPOSITORY) -> str:
        answer = await self.http.post(f"{repository}/blobs/uploads/")
        assert answer.status_code == 202, answer.text
        return answer.headers["location"]

    async def push(
        self,
        manifest: object,
        reference: str = "latest",
        media_type: str = IMAGE,
        repository: str = REPOSITORY,
    ) -> httpx.Response:
        content = manifest if isinstance(manifest, bytes) else encoded(manifest)
        return await self.http.put(
            f"{repository}/manifests/{reference}",
            content=content,
            headers={"content-type": media_type},
        )

    async def push_image(
        self, *layers: bytes, reference: str = "latest", **more: object
    ) -> httpx.Response:
        for blob in (EMPTY, *layers):
            assert (await self.push_blob(blob)).status_code == 201
        return await self.push(image(*layers, **more), reference)

    def mallory(self, key: str) -> httpx.AsyncClient:
        """A client of another tenant."""
        return self.it.client(key)


@asynccontextmanager
async def oci_gateway(
    database: SqlCatalog,
    blob_store: MemoryBlobStore | None = None,
    settings: GatewaySettings = SETTINGS,
    modules: MemoryBlobStore | None = None,
    **changes: int,
) -> AsyncIterator[OciGateway]:
    """A new one; `changes` replace bounds."""
    storage = StoragePolicy(StorageQuota(1 << 30, 1000, changes.pop("tenant_bytes", 1_000_000)))
    bounds = replace(OCI_BOUNDS, **changes)
    blobs, staging = blob_store or MemoryBlobStore(), MemoryBlobStore()
    store = database.oci_store()
    for tenant in ("alice", "mallory"):
        await database.ensure_tenant(tenant)
    content = OciContent(store, blobs, staging, bounds, storage)
    more: dict[str, object] = {} if modules is None else {"blobs": modules}
    async with installed(oci=content, settings=settings, storage=storage, **more) as it:
        yield OciGateway(it, it.http, store, blobs, staging)


def basic(key: str, name: str = "anyone") -> dict[str, str]:
    """The header of HTTP Basic."""
    return {"authorization": "Basic " + base64.b64encode(f"{name}:{key}".encode()).decode()}


def refused(answer: httpx.Response, status: int, code: str, ours: str) -> None:
    """Checks a refusal, in the specification's form."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["docker-distribution-api-version"] == "registry/2.0"
    (error,) = answer.json()["errors"]
    assert (error["code"], error["detail"]["code"]) == (code, ours)
    assert error["message"]
