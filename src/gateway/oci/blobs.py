"""Blobs of a repository: pulled whole or in part, and deleted."""

from fastapi import Request, Response
from starlette.responses import StreamingResponse

from gateway.oci.access import repository_for
from gateway.oci.content import OciContent, content_lost
from gateway.oci.ranges import wanted_range
from gateway.trace import note_object
from stockade.core.actions import Action
from stockade.core.errors import StockadeError
from stockade.core.oci import OciBlob, OciRepository, check_oci_digest


async def get_blob(request: Request, name: str, digest: str) -> Response:
    """The blob, or the part of it that `Range` asks for."""
    context, _, repository = await repository_for(request, name, Action.READ)
    content = context.services.oci
    blob = await _find(content, repository, digest)
    await _keep(content, repository, blob, context.services.clock.now_ms())
    tag = f'"{blob.digest}"'
    headers = {
        "Docker-Content-Digest": blob.digest,
        "Accept-Ranges": "bytes",
        "ETag": tag,
        "Content-Type": "application/octet-stream",
    }
    if request.method == "HEAD":
        return Response(headers=headers | {"Content-Length": str(blob.size_bytes)})
    asked = request.headers.get("range") if request.headers.get("if-range", tag) == tag else None
    part = wanted_range(asked, blob.size_bytes)
    start, end = part or (0, blob.size_bytes)
    headers["Content-Length"] = str(end - start)
    if part is not None:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{blob.size_bytes}"
    pieces = content.blobs.read(blob.stored, start, end)
    return StreamingResponse(pieces, 200 if part is None else 206, headers)


async def delete_blob(request: Request, name: str, digest: str) -> Response:
    """Takes the blob out of the repository."""
    context, _, repository = await repository_for(request, name, Action.DELETE_ARTIFACT)
    if not await context.services.oci.store.delete_blob(repository, check_oci_digest(digest)):
        raise no_blob(digest)
    note_object(request, f"{repository.name}@{digest}")
    return Response(status_code=202)


def no_blob(digest: str) -> StockadeError:
    """The refusal of a blob that is not in the repository."""
    return StockadeError(
        "oci.blob_unknown",
        f"There is no blob {digest} in this repository.",
        detail={"digest": digest},
    )


async def _find(content: OciContent, repository: OciRepository, digest: str) -> OciBlob:
    blob = await content.store.blob(repository, check_oci_digest(digest))
    if blob is None:
        raise no_blob(digest)
    if not await content.is_stored(blob.stored):
        raise content_lost(digest)
    return blob


async def _keep(content: OciContent, repository: OciRepository, blob: OciBlob, now_ms: int) -> None:
    """Whoever sees an old blob may count on it for a manifest: it is as if it came anew."""
    if now_ms - blob.created_ms > content.bounds.grace_ms // 2:
        await content.add_blob(
            repository, OciBlob(blob.digest, blob.stored, blob.size_bytes, now_ms)
        )
