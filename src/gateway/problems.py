"""The one table from error codes to HTTP, and how a refusal looks (RFC 9457)."""

import json
import math
from http import HTTPStatus

import structlog
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from gateway.oci import errors as oci_errors
from gateway.trace import REQUEST_ID_HEADER, trace_of
from stockade.core.errors import StockadeError
from stockade.core.redaction import redact

_log = structlog.get_logger()

STATUS: dict[str, int] = {
    "attestation.malformed": 400,
    "attestation.not_found": 404,
    "attestation.payload_type": 422,
    "attestation.predicate_unsupported": 422,
    "attestation.signer_expired": 422,
    "attestation.signer_not_yet_valid": 422,
    "attestation.signer_revoked": 422,
    "attestation.signer_unknown": 422,
    "attestation.subject_mismatch": 422,
    "attestation.too_many": 409,
    "attestation.unsigned": 422,
    "audit.chain_broken": 503,
    "audit.unavailable": 503,
    "auth.denied": 403,
    "auth.key_missing": 401,
    "auth.key_malformed": 401,
    "auth.key_invalid": 401,
    "auth.policy_failed": 403,
    "auth.scope_missing": 403,
    "auth.too_many_failures": 429,
    "batch.line_invalid": 400,
    "batch.too_many_lines": 413,
    "blobs.corrupt": 500,
    "blobs.full": 507,
    "blobs.missing": 500,
    "blobs.too_large": 413,
    "blobs.unavailable": 503,
    "catalog.corrupt": 500,
    "catalog.schema_broken": 500,
    "catalog.schema_unknown": 500,
    "catalog.unavailable": 503,
    "catalog.value_invalid": 400,
    "events.place_invalid": 400,
    "events.too_many_listeners": 429,
    "export.too_many": 429,
    "function.concurrency_invalid": 400,
    "function.deleted": 410,
    "function.env_invalid": 400,
    "function.grant_forbidden": 403,
    "function.grant_invalid": 400,
    "function.grant_missing": 422,
    "function.grant_unknown": 400,
    "function.grants_contradict": 400,
    "function.labels_invalid": 400,
    "function.message_invalid": 400,
    "function.name_invalid": 400,
    "function.name_reserved": 400,
    "function.not_found": 404,
    "function.retry_invalid": 400,
    "function.too_many": 409,
    "alias.changed": 412,
    "alias.name_invalid": 400,
    "alias.name_reserved": 400,
    "alias.no_earlier": 409,
    "alias.not_found": 404,
    "alias.percent_invalid": 400,
    "alias.revision_not_found": 404,
    "alias.source_invalid": 400,
    "alias.too_many": 409,
    "alias.weights_invalid": 400,
    "internal.error": 500,
    "invocation.already_done": 409,
    "invocation.attempt_not_found": 404,
    "invocation.cancelled": 422,
    "invocation.crashed": 422,
    "invocation.expired": 422,
    "invocation.id_taken": 409,
    "invocation.idempotency_conflict": 409,
    "invocation.input_gone": 410,
    "invocation.input_lost": 500,
    "invocation.limit_exceeded": 422,
    "invocation.lost": 422,
    "invocation.not_dead": 409,
    "invocation.not_done": 409,
    "invocation.not_found": 404,
    "invocation.rejected": 422,
    "invocation.result_lost": 500,
    "invocation.too_many_attempts": 409,
    "invocation.trapped": 422,
    "jail.probe_failed": 503,
    "jail.unavailable": 503,
    "jail.wall_missing": 503,
    "key.exceeds_caller": 403,
    "key.exists": 409,
    "key.expiry_invalid": 400,
    "key.name_invalid": 400,
    "key.not_found": 404,
    "key.not_in_force": 409,
    "key.of_a_job": 409,
    "key.scope_invalid": 400,
    "key.too_many": 409,
    "limits.above_ceiling": 400,
    "limits.not_learned": 400,
    "limits.not_positive": 400,
    "limits.unknown": 400,
    "module.abi_mismatch": 422,
    "module.abi_unknown": 422,
    "module.artifact_invalid": 422,
    "module.compiler_busy": 429,
    "module.denied": 403,
    "module.digest_invalid": 400,
    "module.digest_mismatch": 500,
    "module.import_kind": 422,
    "module.import_mismatch": 422,
    "module.import_unknown": 422,
    "module.in_use": 409,
    "module.invalid": 422,
    "module.is_component": 422,
    "module.malformed": 422,
    "module.memory_count": 422,
    "module.not_found": 404,
    "module.not_wasm": 422,
    "module.signature_ambiguous": 400,
    "module.signature_duplicate": 422,
    "module.signature_invalid": 422,
    "module.signature_malformed": 422,
    "module.signature_mismatch": 422,
    "module.signature_misplaced": 422,
    "module.signature_partial": 422,
    "module.signer_denied": 422,
    "module.signer_expired": 422,
    "module.signer_not_yet_valid": 422,
    "module.signer_revoked": 422,
    "module.signer_unknown": 422,
    "module.signers_missing": 422,
    "module.too_complex": 422,
    "module.too_costly": 422,
    "module.too_large": 413,
    "module.unsigned": 422,
    "module.unsupported_feature": 422,
    "module.version_unsupported": 422,
    "oci.blob_unknown": 404,
    "oci.busy": 429,
    "oci.chunk_misplaced": 416,
    "oci.content_gone": 503,
    "oci.content_lost": 500,
    "oci.digest_invalid": 400,
    "oci.digest_mismatch": 400,
    "oci.manifest_blob_unknown": 404,
    "oci.manifest_invalid": 400,
    "oci.manifest_type_differs": 409,
    "oci.manifest_unknown": 404,
    "oci.name_invalid": 400,
    "oci.quota_exceeded": 403,
    "oci.range_invalid": 400,
    "oci.range_unsatisfiable": 416,
    "oci.repository_unknown": 404,
    "oci.size_invalid": 400,
    "oci.tag_invalid": 400,
    "oci.too_many": 429,
    "oci.upload_unknown": 404,
    "oidc.algorithm_refused": 401,
    "oidc.audience_wrong": 401,
    "oidc.claims_invalid": 401,
    "oidc.event_refused": 403,
    "oidc.issuer_unavailable": 503,
    "oidc.issuer_untrusted": 401,
    "oidc.key_unknown": 401,
    "oidc.no_rule": 403,
    "oidc.signature_invalid": 401,
    "oidc.token_expired": 401,
    "oidc.token_malformed": 400,
    "oidc.token_not_yet_valid": 401,
    "oidc.token_replayed": 409,
    "oidc.token_too_large": 413,
    "oidc.too_many_jobs": 429,
    "queue.not_durable": 503,
    "queue.full": 429,
    "queue.shedding": 503,
    "queue.unavailable": 503,
    "recording.lost": 410,
    "recording.unreadable": 500,
    "request.content_type": 415,
    "request.encoding_unsupported": 415,
    "request.head_too_large": 431,
    "request.header_invalid": 400,
    "request.incomplete": 400,
    "request.invalid": 400,
    "request.method_not_allowed": 405,
    "request.no_room": 503,
    "request.not_found": 404,
    "request.query_invalid": 400,
    "request.timeout": 408,
    "request.too_large": 413,
    "request.unknown_field": 400,
    "retries.busy": 503,
    "retries.format_unknown": 400,
    "retries.state_invalid": 422,
    "retries.tenant_differs": 400,
    "retries.too_many_states": 413,
    "retries.version_unknown": 422,
    "schedule.anchor_invalid": 400,
    "schedule.cron_invalid": 400,
    "schedule.input_invalid": 400,
    "schedule.input_too_large": 413,
    "schedule.interval_invalid": 400,
    "schedule.name_invalid": 400,
    "schedule.never_fires": 400,
    "schedule.not_found": 404,
    "schedule.time_zone_unknown": 400,
    "schedule.timing_invalid": 400,
    "schedule.too_many": 409,
    "secret.name_invalid": 400,
    "secret.not_found": 404,
    "secret.too_large": 413,
    "secret.too_many": 409,
    "secret.unreadable": 500,
    "signer.exists": 409,
    "signer.key_invalid": 400,
    "signer.name_invalid": 400,
    "signer.not_found": 404,
    "signer.overlap_invalid": 400,
    "signer.reason_invalid": 400,
    "signer.too_many": 409,
    "signer.window_invalid": 400,
    "storage.quota_exceeded": 507,
    "tenant.not_found": 404,
    "tenant.rate_limited": 429,
    "trace.not_kept": 404,
    "trust.signers_invalid": 400,
    "trust.threshold_invalid": 400,
    "version.in_use": 409,
    "upstream.not_found": 404,
    "version.not_found": 404,
    "version.too_many": 409,
}
"""Every code that a caller can see."""

_RETRY_AFTER_MS = 1000


def problem_facts(error: StockadeError) -> dict[str, object]:
    """What a refusal says."""
    status = STATUS.get(error.code, 500)
    body: dict[str, object] = {
        "type": f"urn:stockade:error:{error.code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": error.code,
        "detail": redact(error.message),
        "retryable": error.retryable,
    }
    return body | ({"facts": error.detail} if error.detail else {})


def problem(
    error: StockadeError,
    extra: dict[str, object] | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    """The refusal as `application/problem+json`."""
    status = STATUS.get(error.code, 500)
    body = problem_facts(error) | (extra or {})
    sent = _headers(error, status, headers)
    if status == HTTPStatus.UNAUTHORIZED:
        sent["WWW-Authenticate"] = "Bearer"
    return Response(json.dumps(body), status, sent, media_type="application/problem+json")


async def on_refusal(request: Request, error: Exception) -> Response:
    """Answers a `StockadeError`."""
    if not isinstance(error, StockadeError):
        raise error
    if error.code in STATUS:
        return refusal(request, error)
    _log.error("code_without_status", code=error.code)
    return refusal(request, internal_error())


async def on_http_exception(request: Request, error: Exception) -> Response:
    """Answers what the router itself refuses."""
    if isinstance(error, RequestValidationError):
        return refusal(request, _not_valid(error))
    status = error.status_code if isinstance(error, HTTPException) else 500
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        return refusal(
            request,
            StockadeError("request.method_not_allowed", "This path does not take this method."),
            headers=dict(getattr(error, "headers", None) or {}),
        )
    if status == HTTPStatus.NOT_FOUND:
        missing = StockadeError("request.not_found", "There is nothing at this path.")
        return refusal(request, missing)
    return refusal(request, StockadeError("request.invalid", "The request cannot be read."))


async def on_failure(request: Request, error: Exception) -> Response:
    """Answers our own mistakes: logged here, not told there."""
    request_id = trace_of(request).request_id
    _log.error("request_failed", method=request.method, request_id=request_id, exc_info=error)
    return refusal(request, internal_error(), {REQUEST_ID_HEADER: request_id})


def refusal(
    request: Request, error: StockadeError, headers: dict[str, str] | None = None
) -> Response:
    """The refusal in the form of the API that was called, counted and told to the audit log."""
    request.app.state.context.metrics.refused(error.code)
    trace_of(request).error = error
    if request.scope["path"].startswith(oci_errors.PREFIX):
        status = STATUS.get(error.code, 500)
        return oci_errors.oci_refusal(error, status, _headers(error, status, headers))
    return problem(error, headers=headers)


def _headers(error: StockadeError, status: int, given: dict[str, str] | None) -> dict[str, str]:
    waits = {"Retry-After": _retry_after(error)} if status in {429, 503} else {}
    return (given or {}) | waits


def _retry_after(error: StockadeError) -> str:
    """In whole seconds, which is all the header can say: rounded up, so that it is long enough."""
    wait_ms = error.detail.get("retry_after_ms")
    return str(math.ceil((wait_ms if isinstance(wait_ms, int) else _RETRY_AFTER_MS) / 1000))


def internal_error() -> StockadeError:
    """What callers are told of our own mistakes."""
    return StockadeError(
        "internal.error",
        "Something went wrong here. Try again; if it persists, tell the operator.",
        retryable=True,
    )


def _not_valid(error: RequestValidationError) -> StockadeError:
    places = [".".join(str(part) for part in fault["loc"]) for fault in error.errors()]
    return StockadeError(
        "request.invalid", "Some of the request is not as it must be.", detail={"fields": places}
    )
