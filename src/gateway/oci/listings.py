"""Lists, in pages: tags, repositories, and what refers to a manifest."""

import json
from collections.abc import Sequence
from urllib.parse import quote

from fastapi import Request, Response

from gateway.json_response import JSONResponse
from gateway.oci.access import no_repository, repository_for, with_bearer
from gateway.oci.content import OciContent
from gateway.routes.context import caller_of
from registry.oci_manifest import INDEX_TYPE
from stockade.core.actions import Action
from stockade.core.errors import StockadeError
from stockade.core.oci import MAX_MANIFEST_BYTES, OciManifest, check_oci_digest

_PAGE = 1000
_REFERRERS_PAGE = 100
_MAX_LAST_CHARACTERS = 256


async def get_tags(request: Request, name: str, _tail: str) -> Response:
    """The repository's tags, in order."""
    context, _, repository = await repository_for(request, name, Action.READ)
    tags = await context.services.oci.store.tags(repository)
    if tags is None:
        raise no_repository(name)
    shown, link = _page(request, tags)
    return JSONResponse({"name": name, "tags": shown}, headers=link)


async def get_catalog(request: Request, _name: str, _tail: str) -> Response:
    """The caller's repositories, in order."""
    context, caller = await caller_of(with_bearer(request), Action.READ)
    names = await context.services.oci.store.repositories(caller.tenant)
    shown, link = _page(request, names)
    return JSONResponse({"repositories": shown}, headers=link)


async def get_referrers(request: Request, name: str, digest: str) -> Response:
    """Manifests whose subject this is, which may be absent itself; in pages as large as one."""
    context, _, repository = await repository_for(request, name, Action.READ)
    check_oci_digest(digest)
    artifact_type = request.query_params.get("artifactType") or None
    after = request.query_params.get("last", "")
    if after:
        check_oci_digest(after)
    content = context.services.oci
    found = await content.store.referrers(
        repository, digest, artifact_type, after, _REFERRERS_PAGE + 1
    )
    shown = _fitting(found[:_REFERRERS_PAGE])
    headers = {} if artifact_type is None else {"OCI-Filters-Applied": "artifactType"}
    if len(shown) < len(found):
        query = f"last={shown[-1].digest}"
        if artifact_type is not None:
            query += f"&artifactType={quote(artifact_type, safe='')}"
        headers["Link"] = f'<{request.url.path}?{query}>; rel="next"'
    descriptors = [await _descriptor(content, repository.tenant, one) for one in shown]
    body = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": descriptors}
    return Response(json.dumps(body), headers=headers, media_type=INDEX_TYPE)


def _fitting(found: Sequence[OciManifest]) -> Sequence[OciManifest]:
    """The first ones, at least one, whose annotations surely fit into one manifest."""
    total_bytes = 0
    for count, one in enumerate(found):
        total_bytes += one.size_bytes
        if count and total_bytes > MAX_MANIFEST_BYTES:
            return found[:count]
    return found


async def _descriptor(content: OciContent, tenant: str, manifest: OciManifest) -> dict[str, object]:
    read = await content.read_manifest(tenant, manifest)
    facts: dict[str, object] = {
        "mediaType": manifest.media_type,
        "digest": manifest.digest,
        "size": manifest.size_bytes,
    }
    if manifest.artifact_type is not None:
        facts["artifactType"] = manifest.artifact_type
    if read.annotations:
        facts["annotations"] = read.annotations
    return facts


def _page(request: Request, names: Sequence[str]) -> tuple[Sequence[str], dict[str, str]]:
    """What follows `last`, `n` of it at most, and where the rest is."""
    most = _most(request.query_params.get("n"))
    last = request.query_params.get("last", "")[:_MAX_LAST_CHARACTERS]
    rest = [name for name in names if not last or _order(name) > _order(last)]
    shown = rest[:most]
    if not shown or len(rest) <= most:
        return shown, {}
    query = f"n={most}&last={quote(shown[-1], safe='')}"
    return shown, {"Link": f'<{request.url.path}?{query}>; rel="next"'}


def _most(text: str | None) -> int:
    if text is None:
        return _PAGE
    if not (text.isdecimal() and text.isascii()):
        raise StockadeError("request.query_invalid", "'n' must be a number.")
    return min(int(text[:9]), _PAGE)


def _order(name: str) -> tuple[str, str]:
    return name.lower(), name
