"""Manifests of a repository, and the tags that point to them."""

import asyncio

from fastapi import Request, Response
from starlette.responses import StreamingResponse

from gateway.bodies import read_bounded
from gateway.oci.access import repository_for
from gateway.oci.content import OciContent, no_manifest
from gateway.oci.promotion import promoted_headers
from gateway.trace import note_object
from registry.oci_manifest import Manifest
from stockade.core.actions import Action
from stockade.core.digests import digest_of
from stockade.core.errors import StockadeError
from stockade.core.oci import (
    MAX_MANIFEST_BYTES,
    OciManifest,
    OciRepository,
    check_content,
    check_reference,
    hash_for,
    is_digest,
    is_tag,
)

_MOST_TAGS = 16
"""Tags that one push may set."""

_WHOLE_BYTES = 64 * 1024
"""Larger ones are sent piece by piece: whoever reads slowly would keep all of them in memory."""


async def get_manifest(request: Request, name: str, reference: str) -> Response:
    """The manifest, byte for byte as it was pushed."""
    context, _, repository = await repository_for(request, name, Action.READ)
    manifest = await context.services.oci.manifest(repository, reference)
    headers = {
        "Content-Type": manifest.media_type,
        "Docker-Content-Digest": manifest.digest,
        "ETag": f'"{manifest.digest}"',
    }
    size = {"Content-Length": str(manifest.size_bytes)}
    if request.method == "HEAD":
        return Response(headers=headers | size)
    content = context.services.oci
    if manifest.size_bytes <= _WHOLE_BYTES:
        return Response(await content.manifest_bytes(manifest), headers=headers)
    await content.check_manifest(manifest)
    return StreamingResponse(content.blobs.read(manifest.stored), headers=headers | size)


async def put_manifest(request: Request, name: str, reference: str) -> Response:
    """Takes a manifest whose content is in the repository, and points tags to it."""
    context, caller, repository = await repository_for(request, name, Action.UPLOAD)
    digest, tags = _target(request, check_reference(reference))
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    with context.room.holding(caller.tenant) as take:
        body = await read_bounded(request, MAX_MANIFEST_BYTES, take)
        read = await _checked(context.services.oci, caller.tenant, (body, media_type), digest)
        now_ms = context.services.clock.now_ms()
        manifest = await _keep(
            context.services.oci, repository, (body, read), (digest, tags), now_ms
        )
    note_object(request, f"{repository.name}@{manifest.digest}")
    headers = await promoted_headers(context, caller, repository, manifest, read) | {
        "Location": f"/v2/{repository.name}/manifests/{manifest.digest}",
        "Docker-Content-Digest": manifest.digest,
    }
    if manifest.subject is not None:
        headers["OCI-Subject"] = manifest.subject
    if len(tags) > (digest is None):
        headers["OCI-Tag"] = ", ".join(tags)
    return Response(status_code=201, headers=headers)


async def delete_manifest(request: Request, name: str, reference: str) -> Response:
    """Deletes a tag, or a manifest with all tags that point to it."""
    context, _, repository = await repository_for(request, name, Action.DELETE_ARTIFACT)
    note_object(request, f"{repository.name}:{reference}")
    store = context.services.oci.store
    if is_digest(check_reference(reference)):
        deleted = await store.delete_manifest(repository, reference)
    else:
        deleted = await store.delete_tag(repository, reference)
    if not deleted:
        raise no_manifest(reference)
    return Response(status_code=202)


def _target(request: Request, reference: str) -> tuple[str | None, tuple[str, ...]]:
    """The digest that the manifest must have, if it was told, and the tags to point."""
    more = request.query_params.getlist("tag")
    if len(more) > _MOST_TAGS or not all(map(is_tag, more)):
        raise StockadeError(
            "oci.tag_invalid", f"'tag' must be a tag, and be there {_MOST_TAGS} times at most."
        )
    if is_digest(reference):
        return reference, tuple(dict.fromkeys(more))
    return None, tuple(dict.fromkeys((reference, *more)))


async def _checked(
    content: OciContent, tenant: str, sent: tuple[bytes, str], digest: str | None
) -> Manifest:
    body, media_type = sent
    if digest is not None:
        running = hash_for(digest)
        await asyncio.to_thread(running.update, body)
        check_content(digest, running)
    return await content.parse(tenant, body, media_type)


async def _keep(
    content: OciContent,
    repository: OciRepository,
    sent: tuple[bytes, Manifest],
    target: tuple[str | None, tuple[str, ...]],
    now_ms: int,
) -> OciManifest:
    (body, read), (digest, tags) = sent, target
    stored = await content.blobs.put(body)
    manifest = OciManifest(
        digest=digest or digest_of(body),
        stored=stored,
        media_type=read.media_type,
        size_bytes=len(body),
        created_ms=now_ms,
        artifact_type=read.artifact_type,
        subject=read.subject.digest if read.subject else None,
        blobs=tuple(one.digest for one in read.blobs),
        manifests=tuple(one.digest for one in read.manifests),
        elsewhere=tuple(one.digest for one in read.layers if one.is_elsewhere),
    )
    await content.store.put_manifest(
        repository, manifest, tags, content.bounds_of(repository.tenant), content.is_stored
    )
    return manifest
