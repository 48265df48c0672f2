"""Makes artifacts of modules, so that OCI clients can pull what was uploaded by `/v1/modules`."""

import asyncio
from collections.abc import AsyncIterator

from gateway.routes.context import Context
from gateway.usecases.upload_module import find_module
from registry.oci_manifest import read_manifest
from registry.oci_module import module_artifact
from stockade.core.digests import digest_of
from stockade.core.errors import StockadeError
from stockade.core.oci import OciBlob, OciManifest, OciRepository
from stockade.core.principals import Principal


async def export_module(
    context: Context, caller: Principal, digest: str, repository: OciRepository, tag: str
) -> OciManifest:
    """Puts the tenant's module into a repository, signed as it was uploaded, and points the tag.

    Raises:
        StockadeError: `module.not_found`, `blobs.…`, or a bound of the repository's (`oci.…`).
    """
    module = await find_module(context.services, caller.tenant, digest)
    with context.room.holding(caller.tenant) as take:
        take(module.facts.size_bytes)
        body = await context.services.blobs.get(digest)
        if body is None:
            raise StockadeError("blobs.missing", f"The content of {digest} is lost; upload it.")
        made = await asyncio.to_thread(module_artifact, body, module.signatures, module.created_ms)
        for content in (made.layer, made.config):
            await _add_blob(context, repository, content)
    return await _add_manifest(context, repository, made.manifest, tag)


async def _add_blob(context: Context, repository: OciRepository, content: bytes) -> None:
    oci = context.services.oci
    stored, size_bytes = await oci.blobs.put_stream(_once(content), oci.bounds.blob_bytes)
    blob = OciBlob(stored, stored, size_bytes, context.services.clock.now_ms())
    await oci.add_blob(repository, blob)


async def _add_manifest(
    context: Context, repository: OciRepository, content: bytes, tag: str
) -> OciManifest:
    read = read_manifest(content, "application/vnd.oci.image.manifest.v1+json")
    oci = context.services.oci
    manifest = OciManifest(
        digest=digest_of(content),
        stored=await oci.blobs.put(content),
        media_type=read.media_type,
        size_bytes=len(content),
        created_ms=context.services.clock.now_ms(),
        artifact_type=read.artifact_type,
        blobs=tuple(one.digest for one in read.blobs),
    )
    bounds = oci.bounds_of(repository.tenant)
    await oci.store.put_manifest(repository, manifest, (tag,), bounds, oci.is_stored)
    return manifest


async def _once(content: bytes) -> AsyncIterator[bytes]:
    yield content
