"""Refusals in the form that OCI clients read."""

import json
from http import HTTPStatus

from starlette.responses import Response

from stockade.core.errors import StockadeError

PREFIX = "/v2/"
_BY_CODE = {
    "oci.blob_unknown": "BLOB_UNKNOWN",
    "oci.chunk_misplaced": "BLOB_UPLOAD_INVALID",
    "oci.content_gone": "BLOB_UPLOAD_INVALID",
    "oci.digest_invalid": "DIGEST_INVALID",
    "oci.digest_mismatch": "DIGEST_INVALID",
    "oci.manifest_blob_unknown": "MANIFEST_BLOB_UNKNOWN",
    "oci.manifest_unknown": "MANIFEST_UNKNOWN",
    "oci.manifest_too_large": "SIZE_INVALID",
    "oci.name_invalid": "NAME_INVALID",
    "oci.quota_exceeded": "DENIED",
    "oci.range_invalid": "BLOB_UPLOAD_INVALID",
    "oci.repository_unknown": "NAME_UNKNOWN",
    "oci.size_invalid": "SIZE_INVALID",
    "oci.tag_invalid": "MANIFEST_INVALID",
    "oci.too_many": "TOOMANYREQUESTS",
    "oci.upload_unknown": "BLOB_UPLOAD_UNKNOWN",
    "blobs.too_large": "SIZE_INVALID",
    "request.incomplete": "BLOB_UPLOAD_INVALID",
    "request.timeout": "BLOB_UPLOAD_INVALID",
    "request.not_found": "NAME_UNKNOWN",
}
_BY_STATUS = {
    HTTPStatus.UNAUTHORIZED: "UNAUTHORIZED",
    HTTPStatus.FORBIDDEN: "DENIED",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "SIZE_INVALID",
    HTTPStatus.TOO_MANY_REQUESTS: "TOOMANYREQUESTS",
}
COMMON_HEADERS = {
    "Docker-Distribution-Api-Version": "registry/2.0",
    "X-Content-Type-Options": "nosniff",
}


def oci_refusal(error: StockadeError, status: int, headers: dict[str, str]) -> Response:
    """The refusal as the Distribution specification writes it; `detail` has our own words."""
    code = _BY_CODE.get(error.code) or _BY_STATUS.get(HTTPStatus(status))
    if code is None:
        code = "MANIFEST_INVALID" if error.code.startswith("oci.manifest") else "UNSUPPORTED"
    detail = {"code": error.code, "retryable": error.retryable, **error.detail}
    body = {"errors": [{"code": code, "message": error.message, "detail": detail}]}
    sent = COMMON_HEADERS | headers
    if error.code == "oci.range_unsatisfiable":
        sent["Content-Range"] = f"bytes */{error.detail['size_bytes']}"
    if status == HTTPStatus.UNAUTHORIZED:
        sent["WWW-Authenticate"] = 'Basic realm="Stockade"'
    return Response(json.dumps(body), status, sent, media_type="application/json")
