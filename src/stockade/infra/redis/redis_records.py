"""How invocations stand in Redis: msgpack for structures, plain fields for what scripts read.

`spec` is the invocation without its input, as an array; a field is only ever added at its end, with
a default, so that old and new processes read each other's. `attempts` is a run of encoded attempts
and `attempts_count` their
number: appending needs no decoding, and an array header in front makes it one list.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from stockade.core.invocations import (
    NOTHING_CARRIED,
    Claim,
    Completion,
    Invocation,
    InvocationRecord,
    Priority,
    RetryCarry,
)
from stockade.core.limits import Limits
from stockade.core.modules import FunctionContent
from stockade.core.outcomes import Attempt, Event, LogLine, Outcome, Progress, State, Usage
from stockade.core.trace_context import NO_CARRY, TraceCarry

RECORD_FIELDS = (
    "tenant",
    "spec",
    "state",
    "outcome",
    "limit",
    "detail",
    "attempts",
    "attempts_count",
    "started_ms",
    "finished_ms",
    "output",
    "output_blob",
    "logs",
    "logs_truncated",
    "events",
    "events_truncated",
    "progress",
)

_EMPTY = Usage()


class _Spec(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An `Invocation` on the wire; the order of fields is the format."""

    id: str
    tenant: str
    function: str
    version: int
    content: FunctionContent
    submitted_ms: int
    input_blob: str | None
    priority: Priority
    run_at_ms: int | None
    deadline_ms: int | None
    idempotency_key: str | None
    input_digest: str
    reply_to: str
    traceparent: str
    ceilings: Limits | None = None
    trace: TraceCarry = NO_CARRY


_encode = msgspec.msgpack.Encoder().encode
_decode_spec = msgspec.msgpack.Decoder(_Spec).decode
_decode_attempts = msgspec.msgpack.Decoder(tuple[Attempt, ...]).decode
_decode_logs = msgspec.msgpack.Decoder(tuple[LogLine, ...]).decode
_decode_events = msgspec.msgpack.Decoder(tuple[Event, ...]).decode
_decode_carry = msgspec.msgpack.Decoder(RetryCarry).decode
_decode_progress = msgspec.msgpack.Decoder(Progress).decode


def encode_spec(invocation: Invocation) -> bytes:
    """The invocation without its inline input."""
    return _encode(
        _Spec(
            invocation.id,
            invocation.tenant,
            invocation.function,
            invocation.version,
            invocation.content,
            invocation.submitted_ms,
            invocation.input_blob,
            invocation.priority,
            invocation.run_at_ms,
            invocation.deadline_ms,
            invocation.idempotency_key,
            invocation.input_digest,
            invocation.reply_to,
            invocation.traceparent,
            invocation.ceilings,
            invocation.trace,
        )
    )


def decode_invocation(spec: bytes, body: bytes | None) -> Invocation:
    """The whole invocation again.

    `body` is its input, unless that stands in the blob store or was not kept.
    """
    s = _decode_spec(spec)
    return Invocation(
        s.id,
        s.tenant,
        s.function,
        s.version,
        s.content,
        s.submitted_ms,
        body if s.input_blob is None else None,
        s.input_blob,
        s.priority,
        s.run_at_ms,
        s.deadline_ms,
        s.idempotency_key,
        s.input_digest,
        s.reply_to,
        s.traceparent,
        s.ceilings,
        s.trace,
    )


def claim_from_entry(entry: bytes, flat: Sequence[bytes]) -> Claim:
    """A claim from an entry of the ready stream: alternating names and values."""
    fields = dict(zip(flat[::2], flat[1::2], strict=True))
    return claim_from_row(
        (
            entry,
            fields[b"attempt"],
            fields[b"deaths"],
            fields[b"first_failure_ms"],
            fields[b"spec"],
            fields[b"input"],
            fields.get(b"carry", b""),
        )
    )


def claim_from_row(row: Sequence[bytes]) -> Claim:
    """A claim from a script's row.

    In it: entry, attempt, deaths, first failure if any, spec, input, what was carried if anything.
    """
    entry, attempt, deaths, first_failure_ms, spec, body, carry = row
    return Claim(
        decode_invocation(spec, body),
        int(attempt),
        entry.decode(),
        int(deaths),
        int(first_failure_ms) if first_failure_ms else None,
        _decode_carry(carry) if carry else NOTHING_CARRIED,
    )


def encode_attempt(attempt: Attempt) -> bytes:
    """One attempt, ready to be appended."""
    return _encode(attempt)


def encode_carry(carry: RetryCarry) -> bytes:
    """What goes to the next attempt; empty when that is nothing."""
    return b"" if carry == NOTHING_CARRIED else _encode(carry)


def encode_progress(progress: Progress) -> bytes:
    """How far a run is."""
    return _encode(progress)


def result_fields(completion: Completion) -> list[str | bytes | int]:
    """Alternating names and values of what a final completion adds to the record."""
    attempt = completion.attempt
    fields: dict[str, str | bytes | None] = {
        "limit": attempt.limit,
        "detail": attempt.detail,
        "output": completion.output_inline,
        "output_blob": completion.output_blob,
        "logs": _encode(completion.logs) if completion.logs else None,
        "logs_truncated": b"1" if completion.logs_truncated else None,
        "events": _encode(completion.events) if completion.events else None,
        "events_truncated": b"1" if completion.events_truncated else None,
        "input_kept": b"1" if completion.keep_input else None,
    }
    return [part for name, value in fields.items() if value is not None for part in (name, value)]


def decode_record(values: Sequence[bytes | None]) -> InvocationRecord:
    """A record from the values of `RECORD_FIELDS`, of which tenant, spec and state are there."""
    at: dict[str, Any] = dict(zip(RECORD_FIELDS, values, strict=True))
    spec = _decode_spec(at["spec"])
    attempts = decode_attempts(at["attempts"], at["attempts_count"])
    return InvocationRecord(
        id=spec.id,
        tenant=spec.tenant,
        function=spec.function,
        version=spec.version,
        state=State(at["state"].decode()),
        submitted_ms=spec.submitted_ms,
        outcome=Outcome(at["outcome"].decode()) if at["outcome"] else None,
        limit=_text(at["limit"]),
        detail=_text(at["detail"]),
        attempts=attempts,
        usage=attempts[-1].usage if attempts else _EMPTY,
        started_ms=_whole(at["started_ms"]),
        finished_ms=_whole(at["finished_ms"]),
        output_inline=at["output"],
        output_blob=_text(at["output_blob"]),
        logs=_decode_logs(at["logs"]) if at["logs"] else (),
        logs_truncated=at["logs_truncated"] is not None,
        events=_decode_events(at["events"]) if at["events"] else (),
        events_truncated=at["events_truncated"] is not None,
        progress=_decode_progress(at["progress"]) if at["progress"] else None,
    )


def decode_attempts(body: bytes | None, count: bytes | None) -> tuple[Attempt, ...]:
    """The attempts that a record has in a run of so many."""
    if not body or not count:
        return ()
    return _decode_attempts(b"\xdd" + int(count).to_bytes(4) + body)


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode()


def _whole(value: bytes | None) -> int | None:
    return None if value is None else int(value)
