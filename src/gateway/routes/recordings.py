"""What a run can be run again from: `stockade replay` asks for it.

It takes the action `replay`, which is more than `read`: inputs and answers of host calls are here.
Values of secrets are not, for anybody.
"""

import msgspec
from fastapi import APIRouter, Request, Response

from gateway.export_stream import BodyStream, may_still
from gateway.json_response import JSONResponse
from gateway.openapi import BYTES, RECORDING, optional
from gateway.routes.context import Context
from gateway.routes.headers import query_number
from gateway.routes.invocations import record_of
from gateway.usecases.replay_invocation import (
    ReplayFacts,
    read_input,
    read_module,
    replay_facts,
)
from stockade.core.actions import Action
from stockade.core.invocations import InvocationRecord
from stockade.core.recordings import Recording

router = APIRouter(tags=["invocations"])
_QUERY = {"attempt": "Which attempt; the last one when it is left out."}


@router.get(
    "/v1/invocations/{invocation_id}/recording",
    summary="What an attempt can be replayed from",
    responses=RECORDING,
    openapi_extra={"parameters": optional("query", _QUERY)},
)
async def get_recording(request: Request, invocation_id: str) -> Response:
    """Module, limits, engine, how it ended, and in order what varied, without values of secrets.

    `recording` is null where nothing was recorded; a deterministic run needs none.
    """
    context, record = await record_of(request, invocation_id, Action.REPLAY)
    number = query_number(request, "attempt")
    async with context.services.rereading.turn(record.tenant):
        facts = await replay_facts(context.services, record, number)
        body = bytes(JSONResponse(_shown(facts)).body)
    return _sent(request, context, record, body, "application/json")


@router.get(
    "/v1/invocations/{invocation_id}/input", summary="What it was asked with", responses=BYTES
)
async def get_input(request: Request, invocation_id: str) -> Response:
    """The input's bytes, where they were kept."""
    context, record = await record_of(request, invocation_id, Action.REPLAY)
    data = await read_input(context.services, record)
    return _sent(request, context, record, data, "application/octet-stream")


@router.get("/v1/invocations/{invocation_id}/module", summary="The module it ran", responses=BYTES)
async def get_module(request: Request, invocation_id: str) -> Response:
    """The module's bytes."""
    context, record = await record_of(request, invocation_id, Action.REPLAY)
    body = await read_module(context.services, record)
    return _sent(request, context, record, body, "application/wasm")


def _sent(
    request: Request, context: Context, record: InvocationRecord, body: bytes, media_type: str
) -> Response:
    check = may_still(request, Action.REPLAY, record.function)
    return BodyStream(body, context.exports, record.tenant, check, media_type)


def _shown(facts: ReplayFacts) -> dict[str, object]:
    invocation, content = facts.invocation, facts.invocation.content
    return {
        "id": invocation.id,
        "function": invocation.function,
        "version": invocation.version,
        "attempt": facts.attempt.number,
        "module": content.digest,
        "abi": content.abi,
        "deterministic": content.deterministic,
        "env": dict(content.env),
        "limits": msgspec.to_builtins(facts.limits),
        "engine": facts.attempt.engine,
        "input_digest": invocation.input_digest,
        "ending": msgspec.to_builtins(facts.ending),
        "recording": None if facts.recording is None else _shown_recording(facts.recording),
    }


def _shown_recording(recording: Recording) -> dict[str, object]:
    shown = msgspec.to_builtins(recording)
    return {"cut": shown["cut"], "calls": shown["calls"]}
