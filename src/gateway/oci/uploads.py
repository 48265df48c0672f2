"""Uploads of blobs: in one request, in one body, or in chunks.

A chunk counts once its row is there: an upload that was cut goes on behind the last whole one, on
whichever gateway. Nothing is a blob before all its bytes have the digest that was given.
"""

from dataclasses import replace

from fastapi import Request, Response

from gateway.oci.access import repository_for
from gateway.oci.content import OciContent
from gateway.oci.ranges import chunk_range
from gateway.oci.streams import (
    STAGED_PREFIX_BYTES,
    body_of,
    checked_for,
    staged_as,
    staged_then,
)
from gateway.problems import refusal
from gateway.routes.context import Context
from stockade.core.actions import Action
from stockade.core.errors import StockadeError
from stockade.core.oci import (
    OciBlob,
    OciChunk,
    OciRepository,
    OciUpload,
    check_oci_digest,
    parse_repository,
)
from stockade.core.principals import Principal

_MAX_DIGITS = 18


async def post_upload(request: Request, name: str, _tail: str) -> Response:
    """Mounts a blob of another repository, takes one that is the body, or begins an upload."""
    context, caller, repository = await repository_for(request, name, Action.PUSH_BLOB)
    query = request.query_params
    if "mount" in query:
        digest = check_oci_digest(query["mount"])
        found = await _mountable(context, caller, digest, query.get("from"))
        if found is not None:
            mounted = replace(found, created_ms=context.services.clock.now_ms())
            await context.services.oci.add_blob(repository, mounted)
            return _created(repository, digest)
    elif "digest" in query:
        return await _finish(request, context, repository, None)
    content, clock = context.services.oci, context.services.clock
    upload = OciUpload(clock.new_id(), repository, 0, ())
    await content.store.begin_upload(
        repository, upload.id, clock.now_ms(), content.bounds_of(caller.tenant)
    )
    return Response(status_code=202, headers=_state(upload))


async def get_upload(request: Request, name: str, upload_id: str) -> Response:
    """How far an upload is."""
    context, _, repository = await repository_for(request, name, Action.PUSH_BLOB)
    upload = await _find(context.services.oci, repository, upload_id)
    return Response(status_code=204, headers=_state(upload))


async def patch_upload(request: Request, name: str, upload_id: str) -> Response:
    """Adds a chunk: the one that follows, or the rest of the blob when it does not say."""
    context, _, repository = await repository_for(request, name, Action.PUSH_BLOB)
    content = context.services.oci
    upload = await _find(content, repository, upload_id)
    try:
        size_bytes = _sizes(request, upload)
    except StockadeError as error:
        return refusal(request, error, _state(upload))
    chunk = await _stage(request, context, upload, size_bytes)
    now_ms = context.services.clock.now_ms()
    try:
        added = await content.store.add_chunk(
            upload, chunk, now_ms, content.bounds_of(repository.tenant)
        )
    except StockadeError:
        await content.staging.delete(chunk.stored)
        raise
    if not added:
        await content.staging.delete(chunk.stored)
        where = await _find(content, repository, upload_id)
        return refusal(request, _not_next(), _state(where))
    grown = replace(upload, received_bytes=upload.received_bytes + chunk.size_bytes)
    return Response(status_code=202, headers=_state(grown))


async def put_upload(request: Request, name: str, upload_id: str) -> Response:
    """Ends an upload, with a last chunk or without: all of it must have the digest."""
    context, _, repository = await repository_for(request, name, Action.PUSH_BLOB)
    upload = await _find(context.services.oci, repository, upload_id)
    try:
        return await _finish(request, context, repository, upload)
    except StockadeError as error:
        if error.code == "oci.chunk_misplaced":
            return refusal(request, error, _state(upload))
        if error.code == "blobs.missing":  # another request ended the upload meanwhile
            raise _no_upload() from error
        if error.code == "oci.digest_mismatch":
            await _end(context.services.oci, upload)
        raise


async def delete_upload(request: Request, name: str, upload_id: str) -> Response:
    """Gives an upload up."""
    context, _, repository = await repository_for(request, name, Action.PUSH_BLOB)
    await _end(context.services.oci, await _find(context.services.oci, repository, upload_id))
    return Response(status_code=204)


async def _end(content: OciContent, upload: OciUpload) -> None:
    if await content.store.end_upload(upload):
        await content.discard(upload)


async def _find(content: OciContent, repository: OciRepository, upload_id: str) -> OciUpload:
    upload = await content.store.upload(repository, upload_id)
    if upload is None:
        raise _no_upload()
    return upload


async def _mountable(
    context: Context, caller: Principal, digest: str, source: str | None
) -> OciBlob | None:
    """The tenant's blob that is to be mounted; what the caller may not read is as if absent."""
    store = context.services.oci.store
    try:
        context.authorizer.check(caller, Action.READ)
        if source is None:
            return await store.tenants_blob(caller.tenant, digest)
        repository = parse_repository(source)
    except StockadeError:
        return None
    return await store.blob(repository, digest) if repository.tenant == caller.tenant else None


async def _stage(
    request: Request, context: Context, upload: OciUpload, size_bytes: int | None
) -> OciChunk:
    content = context.services.oci
    room_bytes = content.bounds.blob_bytes - upload.received_bytes
    staged = staged_as(context.services.clock.new_id(), body_of(request, size_bytes))
    with context.streams.turn(upload.repository.tenant):
        most = room_bytes + STAGED_PREFIX_BYTES
        stored, written_bytes = await content.staging.put_stream(staged, most)
    return OciChunk(stored, upload.received_bytes, written_bytes - STAGED_PREFIX_BYTES)


async def _finish(
    request: Request, context: Context, repository: OciRepository, upload: OciUpload | None
) -> Response:
    content = context.services.oci
    digest = check_oci_digest(request.query_params.get("digest", ""))
    body = body_of(request, _sizes(request, upload))
    if upload is not None:
        body = staged_then(content.staging, upload.chunks, body)
    with context.streams.turn(repository.tenant):
        checked = checked_for(digest, body)
        stored, size_bytes = await content.blobs.put_stream(checked, content.bounds.blob_bytes)
    now_ms = context.services.clock.now_ms()
    await content.add_blob(repository, OciBlob(digest, stored, size_bytes, now_ms), upload)
    return _created(repository, digest)


def _sizes(request: Request, upload: OciUpload | None) -> int | None:
    """How many bytes the body says to have; None when it does not say.

    Raises:
        StockadeError: `oci.chunk_misplaced`, `oci.range_invalid` or `oci.size_invalid`.
    """
    declared = request.headers.get("content-length", "")
    length = int(declared) if declared.isdecimal() and len(declared) <= _MAX_DIGITS else None
    chunk = chunk_range(request.headers.get("content-range"))
    if chunk is None:
        return length
    first, last = chunk
    if first != (upload.received_bytes if upload else 0):
        raise _not_next()
    size_bytes = last - first + 1
    if length is not None and length != size_bytes:
        raise StockadeError(
            "oci.size_invalid", "Content-Range and Content-Length tell different sizes."
        )
    return size_bytes


def _created(repository: OciRepository, digest: str) -> Response:
    headers = {
        "Location": f"/v2/{repository.name}/blobs/{digest}",
        "Docker-Content-Digest": digest,
    }
    return Response(status_code=201, headers=headers)


def _state(upload: OciUpload) -> dict[str, str]:
    return {
        "Location": f"/v2/{upload.repository.name}/blobs/uploads/{upload.id}",
        "Range": f"0-{max(0, upload.received_bytes - 1)}",
        "Docker-Upload-UUID": upload.id,
    }


def _no_upload() -> StockadeError:
    return StockadeError(
        "oci.upload_unknown", "There is no such upload in this repository. Begin another."
    )


def _not_next() -> StockadeError:
    return StockadeError(
        "oci.chunk_misplaced",
        "The chunk does not follow the last one. See where the upload stands.",
    )
