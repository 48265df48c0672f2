"""`/v1/audit`: the tenant's own audit log, to look at and to export."""

from collections.abc import AsyncIterator

from fastapi import APIRouter, Request, Response

from gateway.export_stream import LINES, Check, ExportStream, may_still
from gateway.json_response import JSONResponse
from gateway.openapi import optional
from gateway.routes.context import Context, caller_of
from gateway.routes.headers import query_time
from stockade.core.actions import Action
from stockade.core.audit import AuditHead, AuditLog, AuditQuery
from stockade.core.audit_chain import entry_line, head_line
from stockade.core.errors import StockadeError

router = APIRouter(tags=["audit"])
_MOST_LISTED, _LISTED = 1000, 100
_PAGE = 500
_MAX_DIGITS = 18
_QUERY = {
    "action": "Of this action, such as `deploy`.",
    "principal": "Of this key's id, or workload's `issuer|subject`.",
    "object": "On the object of this name, digest or id.",
    "since": "Not before this time (RFC 3339).",
    "until": "Before this time (RFC 3339).",
    "limit": f"At most so many, 1 to {_MOST_LISTED}; {_LISTED} when left out.",
    "before": "Goes on before this number: the `next` of the answer before.",
}
_EXPORT_QUERY = {
    "after": "Goes on after the entry of this number; from the oldest when left out.",
    "limit": "At most so many entries; all when left out.",
}


@router.get(
    "/v1/audit",
    summary="List audit entries",
    openapi_extra={"parameters": optional("query", _QUERY)},
)
async def get_audit(request: Request) -> Response:
    """Newest first. What other gateways refused in the last second or two may be missing."""
    context, caller = await caller_of(request, Action.READ_AUDIT)
    asked = _query(request)
    await context.audit.flush()
    found = await context.services.audit.find(caller.tenant, asked)
    lines = ",".join(map(entry_line, found))
    following = str(found[-1].sequence) if len(found) == asked.most else "null"
    body = f'{{"entries":[{lines}],"next":{following}}}'
    return Response(body, media_type="application/json")


@router.get("/v1/audit/head", summary="The audit log's head")
async def get_head(request: Request) -> Response:
    """Number and hash of the newest entry, signed. Keep it elsewhere: it shows what is missing."""
    context, caller = await caller_of(request, Action.READ_AUDIT)
    await context.audit.flush()
    head = await context.services.audit.head(caller.tenant)
    if head is None:
        return JSONResponse({"head": None, "v": 1})
    return Response(head_line(head), media_type="application/json")


@router.get(
    "/v1/audit/export",
    summary="Export the audit log",
    openapi_extra={"parameters": optional("query", _EXPORT_QUERY)},
    responses={200: {"content": {LINES: {}}, "description": "One entry a line, then the head."}},
)
async def export(request: Request) -> Response:
    """Oldest first, in canonical form; the signed head is the last line of an export that is whole.

    `stockade audit verify` checks it, and `docs/reference/audit.md` says how others can.
    """
    context, caller = await caller_of(request, Action.READ_AUDIT)
    after = _number(request, "after", None, least=0)
    limit = _number(request, "limit", None, least=1)
    check = may_still(request, Action.READ_AUDIT)
    return await _exported(context, caller.tenant, after, limit, check)


async def _exported(
    context: Context, chain: str, after: int | None, limit: int | None, check: Check
) -> Response:
    await context.audit.flush()
    log = context.services.audit
    head = await log.head(chain)
    if head is None:
        return Response(b"", media_type=LINES)
    begin = head.first_sequence - 1 if after is None else min(after, head.sequence)
    end = head.sequence if limit is None else min(head.sequence, begin + limit)
    return ExportStream(_lines(log, head, begin, end), context.exports, chain, check)


async def _lines(log: AuditLog, head: AuditHead, begin: int, end: int) -> AsyncIterator[bytes]:
    """The entries of these numbers as they are stored: whoever verifies them says what is wrong."""
    reached = begin
    while page := await log.walk(head.chain, reached, _PAGE):
        kept = [entry for entry in page if entry.sequence <= end]
        yield "".join(entry_line(entry) + "\n" for entry in kept).encode()
        reached = page[-1].sequence
        if len(kept) < len(page):
            break
    if end == head.sequence:
        yield (head_line(head) + "\n").encode()


def _query(request: Request) -> AuditQuery:
    given = request.query_params
    return AuditQuery(
        action=given.get("action", ""),
        principal=given.get("principal", ""),
        object=given.get("object", ""),
        since_ms=query_time(request, "since"),
        until_ms=query_time(request, "until"),
        before=_number(request, "before", None, least=0),
        most=_number(request, "limit", _MOST_LISTED, least=1) or _LISTED,
    )


def _number(request: Request, name: str, most: int | None, *, least: int) -> int | None:
    text = request.query_params.get(name)
    if text is None:
        return None
    sound = text.isascii() and text.isdecimal() and len(text) <= _MAX_DIGITS
    if not sound or int(text) < least or (most is not None and int(text) > most):
        upper = "" if most is None else f" to {most}"
        raise StockadeError("request.query_invalid", f"'{name}' is a number from {least}{upper}.")
    return int(text)
