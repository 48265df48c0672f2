"""Makes modules of pushed artifacts: by the way of every upload, or not at all.

What is pushed stays what it is. A module that verifies is stored once more, in the registry's own
store and under its own digest, and only that ever runs.
"""

from collections.abc import Sequence

from gateway.oci.content import OciContent
from gateway.routes.context import Context
from gateway.usecases.upload_module import Uploaded, upload_module
from registry.oci_manifest import Manifest
from registry.oci_module import (
    SIGNATURE_TYPE,
    annotated_signature,
    is_module,
    module_layer,
    signature_layer,
)
from stockade.core.catalog_changes import ChangeKind
from stockade.core.errors import StockadeError
from stockade.core.oci import OciManifest, OciRepository
from stockade.core.principals import Principal

_MOST_SIGNATURES = 16
_MAX_SIGNATURE_BYTES = 64 * 1024
_MAX_WARNING_CHARACTERS = 1000
_OUR_TROUBLE = ("blobs.", "catalog.", "internal.")


async def promoted_headers(
    context: Context,
    caller: Principal,
    repository: OciRepository,
    pushed: OciManifest,
    read: Manifest,
) -> dict[str, str]:
    """What a push says of the module in it, or of the one that it signs; nothing of the rest.

    Raises:
        StockadeError: trouble of our stores, in which the push is best sent again.
    """
    manifest = pushed
    if pushed.artifact_type == SIGNATURE_TYPE and pushed.subject is not None:
        subject = await context.services.oci.store.manifest(repository, pushed.subject)
        if subject is None:
            return {}
        manifest = subject
    elif not is_module(read):
        return {}
    try:
        uploaded = await promote(context, caller, repository, manifest)
    except StockadeError as error:
        if error.code.startswith(_OUR_TROUBLE):
            raise
        return {"Stockade-Not-Promoted": error.code, "Warning": _warning(error)}
    return {"Stockade-Module-Digest": uploaded.digest}


async def promote_reference(
    context: Context, caller: Principal, repository: OciRepository, reference: str
) -> tuple[OciManifest, Uploaded]:
    """Makes a module of what a tag or digest names now: a tag is looked up once.

    Raises:
        StockadeError: `oci.manifest_unknown`, or as `promote`.
    """
    manifest = await context.services.oci.manifest(repository, reference)
    return manifest, await promote(context, caller, repository, manifest)


async def promote(
    context: Context, caller: Principal, repository: OciRepository, manifest: OciManifest
) -> Uploaded:
    """Makes a module of the artifact.

    Raises:
        StockadeError: why it is none, or why the module is not taken (`module.…`, `auth.…`).
    """
    content = context.services.oci
    read = await content.read_manifest(repository.tenant, manifest)
    layer, annotated = module_layer(read), annotated_signature(read)
    most = context.services.settings.max_module_bytes
    with context.room.holding(caller.tenant) as take:
        take(min(layer.size_bytes, most))
        wasm = await _layer_content(content, repository, layer.digest, most)
        try:
            return await _upload(context, caller, wasm, annotated)
        except StockadeError as error:
            if error.code != "module.unsigned" or annotated is not None:
                raise
        signatures = await _attached_signatures(content, repository, manifest.digest)
        return await _upload_signed(context, caller, wasm, signatures)


async def _upload_signed(
    context: Context, caller: Principal, wasm: bytes, signatures: Sequence[bytes]
) -> Uploaded:
    """Uploads with each signature, so that all that count are kept.

    Raises:
        StockadeError: why the last one does not count, when none does.
    """
    refusal = StockadeError(
        "module.unsigned", "The module has no signature, and no artifact signs it. Sign it first."
    )
    uploaded: Uploaded | None = None
    for signature in signatures:
        try:
            uploaded = await _upload(context, caller, wasm, signature)
        except StockadeError as error:
            refusal = error
    if uploaded is None:
        raise refusal
    return uploaded


async def _upload(
    context: Context, caller: Principal, wasm: bytes, detached: bytes | None
) -> Uploaded:
    uploaded = await upload_module(context.services, context.authorizer, caller, wasm, detached)
    # Another signature may be what a function's threshold waits for.
    await context.memory.changed(ChangeKind.TRUST, caller.tenant)
    return uploaded


async def _attached_signatures(
    content: OciContent, repository: OciRepository, digest: str
) -> Sequence[bytes]:
    found = []
    for one in await content.store.referrers(
        repository, digest, SIGNATURE_TYPE, "", _MOST_SIGNATURES
    ):
        layer = signature_layer(await content.read_manifest(repository.tenant, one))
        if layer is not None and layer.size_bytes <= _MAX_SIGNATURE_BYTES:
            most = _MAX_SIGNATURE_BYTES
            found.append(await _layer_content(content, repository, layer.digest, most))
    return found


async def _layer_content(
    content: OciContent, repository: OciRepository, digest: str, most: int
) -> bytes:
    blob = await content.store.blob(repository, digest)
    body = None
    if blob is not None and blob.size_bytes > most:
        raise StockadeError(
            "module.too_large", f"The layer has {blob.size_bytes} bytes, more than {most}."
        )
    if blob is not None:
        body = await content.blobs.get(blob.stored)
    if body is None:
        raise StockadeError(
            "oci.blob_unknown", f"The layer {digest} is not in the repository. Push it again."
        )
    return body


def _warning(error: StockadeError) -> str:
    """What OCI clients show (RFC 7234's form, which the specification asks for)."""
    text = f"Kept, but no runnable module: {error.message}"[:_MAX_WARNING_CHARACTERS]
    shown = (one if " " <= one <= "~" and one not in '\\"' else "?" for one in text)
    return f'299 - "{"".join(shown)}"'
