"""`POST /v1/functions/{name}/invocations:batch`: many inputs in one call, each line answered."""

import json
from collections.abc import Sequence

from fastapi import APIRouter, Request, Response

from gateway.bodies import check_content_type, check_encoding
from gateway.line_reader import LineReader
from gateway.metrics import GatewayMetrics, size_warning
from gateway.openapi import binary_body, optional
from gateway.problems import problem_facts
from gateway.request_spans import passed_on
from gateway.routes.context import caller_of
from gateway.routes.headers import SUBMIT_HEADERS, VERSION_QUERY, invoke_options, version_choice
from gateway.usecases.clamp_limits import input_bound
from gateway.usecases.invoke_function import under
from gateway.usecases.submit_batch import Line, Target, submit_lines
from stockade.core.actions import Action
from stockade.core.errors import StockadeError
from stockade.core.invocations import SubmitReceipt

router = APIRouter(tags=["invocations"])
NDJSON = "application/x-ndjson"


@router.post(
    "/v1/functions/{name}/invocations:batch",
    status_code=202,
    summary="Invoke many times and go on",
    openapi_extra=binary_body(NDJSON)
    | {"parameters": optional("query", VERSION_QUERY) + optional("header", SUBMIT_HEADERS)},
)
async def submit_batch(request: Request, name: str) -> Response:
    """One JSON value a line, at most 10,000; each answered by its id or a problem, in order.

    What is answered with an id is on disk. An `Idempotency-Key` counts for each line by its number,
    so a batch whose answer was lost may be sent again.
    """
    context, caller = await caller_of(request, Action.INVOKE, name)
    services = context.services
    check_content_type(request, NDJSON)
    check_encoding(request)
    options = under(invoke_options(request, services.clock.now_ms()), passed_on(request))
    alias, version = version_choice(request)
    target = Target(caller.tenant, name, alias, version)
    found = await context.resolver.resolve(caller.tenant, name, alias, version, name)
    bound, largest = input_bound(services, found), 0
    reader = LineReader(request, bound)
    answers: list[SubmitReceipt | StockadeError] = []
    try:
        while True:
            with context.room.holding(caller.tenant) as take:
                lines = await reader.group(take)
                if not lines:
                    break
                largest = max(largest, _count(context.metrics, lines, bound))
                answers += await submit_lines(services, context.resolver, target, options, lines)
    except StockadeError as error:
        # What was answered before stands; the caller must learn of it.
        if not answers:
            raise
        answers.append(error)
    for answer in answers:
        if isinstance(answer, StockadeError):
            context.metrics.refused(answer.code)
    headers = size_warning(largest, bound)
    return Response(b"".join(map(_line, answers)), 202, headers, media_type=NDJSON)


def _count(metrics: GatewayMetrics, lines: Sequence[Line], bound: int) -> int:
    """Counts the sizes of these lines; the largest."""
    sizes = [len(line.body) for line in lines if line.body is not None]
    for size in sizes:
        metrics.took_input(size, bound)
    return max(sizes, default=0)


def _line(answer: SubmitReceipt | StockadeError) -> bytes:
    shown = problem_facts(answer) if isinstance(answer, StockadeError) else {"id": answer.id}
    return json.dumps(shown).encode() + b"\n"
