"""What a run can be replayed from: every call, how it is read, and what both clients say."""

import base64
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import httpx

from stockade_client import readers
from stockade_client.calls import Call, path_part
from stockade_client.fields import Fields

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class Blank:
    """Where in an answer the value of a secret stood; text of the same length stands there."""

    secret: str
    start: int
    length: int


@dataclass(frozen=True, slots=True)
class RecordedCall:
    """One host call and its answer; `number` counts all of the run's, `arguments` is a digest."""

    number: int
    name: str
    arguments: str
    status: int = 0
    answer: bytes = b""
    blanks: tuple[Blank, ...] = ()


@dataclass(frozen=True, slots=True)
class Recording:
    """What varied in an attempt; `cut` is the first call that found no room, None when all did."""

    calls: tuple[RecordedCall, ...] = ()
    cut: int | None = None


@dataclass(frozen=True, slots=True)
class Ending:
    """How an attempt ended; `output_digest` is None where the record has no output of it."""

    outcome: str
    limit: str | None
    detail: str | None
    fuel: int
    peak_memory_bytes: int
    host_calls: int
    output_digest: str | None


@dataclass(frozen=True, slots=True)
class RecordedAttempt:
    """What an attempt ran from and how it ended; `recording` is None where none was made."""

    id: str
    function: str
    version: int
    attempt: int
    module: str
    abi: str
    deterministic: bool
    engine: str
    input_digest: str
    ending: Ending
    limits: Mapping[str, int] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    recording: Recording | None = None


def recording(invocation_id: str, attempt: int | None) -> Call[RecordedAttempt]:
    """GET /v1/invocations/{id}/recording."""
    params = {} if attempt is None else {"attempt": str(attempt)}
    path = f"/v1/invocations/{path_part(invocation_id)}/recording"
    return Call("GET", path, _recorded, params=params)


def input_of(invocation_id: str) -> Call[bytes]:
    """GET /v1/invocations/{id}/input."""
    return Call("GET", f"/v1/invocations/{path_part(invocation_id)}/input", readers.body)


def module_of(invocation_id: str) -> Call[bytes]:
    """GET /v1/invocations/{id}/module."""
    return Call("GET", f"/v1/invocations/{path_part(invocation_id)}/module", readers.body)


class RecordingMethods(ABC):
    """The part of `Client` that is about running something again."""

    @abstractmethod
    def _send(self, call: Call[_Answer]) -> _Answer:
        """Makes a call."""

    def recording(self, invocation_id: str, attempt: int | None = None) -> RecordedAttempt:
        """What an attempt ran from, without values of secrets; the last one unless it is named."""
        return self._send(recording(invocation_id, attempt))

    def input_of(self, invocation_id: str) -> bytes:
        """What an invocation was asked with, where that was kept."""
        return self._send(input_of(invocation_id))

    def module_of(self, invocation_id: str) -> bytes:
        """The bytes of the module that an invocation ran."""
        return self._send(module_of(invocation_id))


class AsyncRecordingMethods(ABC):
    """The part of `AsyncClient` that is about running something again."""

    @abstractmethod
    async def _send(self, call: Call[_Answer]) -> _Answer:
        """Makes a call."""

    async def recording(self, invocation_id: str, attempt: int | None = None) -> RecordedAttempt:
        """What an attempt ran from, without values of secrets; the last one unless it is named."""
        return await self._send(recording(invocation_id, attempt))

    async def input_of(self, invocation_id: str) -> bytes:
        """What an invocation was asked with, where that was kept."""
        return await self._send(input_of(invocation_id))

    async def module_of(self, invocation_id: str) -> bytes:
        """The bytes of the module that an invocation ran."""
        return await self._send(module_of(invocation_id))


def _recorded(response: httpx.Response) -> RecordedAttempt:
    fields = Fields(response.json())
    recorded = fields.nested("recording")
    return RecordedAttempt(
        id=fields.text("id"),
        function=fields.text("function"),
        version=fields.count("version"),
        attempt=fields.count("attempt"),
        module=fields.text("module"),
        abi=fields.text("abi"),
        deterministic=fields.flag("deterministic"),
        engine=fields.maybe_text("engine") or "",
        input_digest=fields.text("input_digest"),
        ending=_ending(fields.nested("ending")),
        limits=fields.pairs("limits", Fields.count),
        env=fields.pairs("env", Fields.text),
        recording=_recording(recorded) if recorded.names() else None,
    )


def _ending(fields: Fields) -> Ending:
    return Ending(
        outcome=fields.text("outcome"),
        limit=fields.maybe_text("limit"),
        detail=fields.maybe_text("detail"),
        fuel=fields.count("fuel"),
        peak_memory_bytes=fields.count("peak_memory_bytes"),
        host_calls=fields.count("host_calls"),
        output_digest=fields.maybe_text("output_digest"),
    )


def _recording(fields: Fields) -> Recording:
    calls = tuple(_call(item) for item in fields.objects("calls"))
    return Recording(calls, fields.maybe_count("cut"))


def _call(fields: Fields) -> RecordedCall:
    return RecordedCall(
        number=fields.count("number"),
        name=fields.text("name"),
        arguments=fields.text("arguments"),
        status=fields.count("status"),
        answer=base64.b64decode(fields.text("answer"), validate=True),
        blanks=tuple(
            Blank(item.text("secret"), item.count("start"), item.count("length"))
            for item in fields.objects("blanks")
        ),
    )
