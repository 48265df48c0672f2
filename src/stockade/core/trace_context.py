"""Trace context as it travels: W3C `traceparent` and `tracestate`, and what an invocation carries.

What a caller sends is a claim. It chooses no more than under which trace its run is found and
whether it is recorded; whatever cannot be read begins a new trace. `baggage` is never read: nothing
here would be done on a stranger's word. Source: W3C Trace Context, level 1.
"""

import re
from collections.abc import Sequence
from hashlib import blake2b
from typing import NamedTuple

MAX_STATE_CHARACTERS = 512
"""A longer `tracestate` is dropped whole. The specification asks for this much to be passed on."""
_MAX_STATE_MEMBERS = 32
_PARENT = re.compile(
    r"(?P<version>[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})"
    r"(?P<later>-[\x21-\x7e]{0,200})?",
    re.ASCII,
)
_MEMBER = re.compile(
    r"(?P<key>[a-z][a-z0-9_\-*/]{0,255}|[a-z0-9][a-z0-9_\-*/]{0,240}@[a-z][a-z0-9_\-*/]{0,13})"
    r"=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]",
    re.ASCII,
)
_FORBIDDEN_VERSION, _KNOWN_VERSION = "ff", "00"
_NO_TRACE = "0" * 32
_SAMPLED = 1
_TRACE = re.compile(r"[0-9a-f]{32}", re.ASCII)


class TraceContext(NamedTuple):
    """Which trace, under which of its spans (0 for none), and whether it is recorded.

    `trace_id` has 32 lower-case hexadecimal digits; `state` is the `tracestate` to pass on;
    `sampled` is None while nobody has decided.
    """

    trace_id: str
    span_id: int
    sampled: bool | None
    state: str = ""

    @property
    def parent(self) -> str:
        """As a `traceparent`."""
        return f"00-{self.trace_id}-{self.span_id:016x}-{'01' if self.sampled else '00'}"


class TraceCarry(NamedTuple):
    """What an invocation carries of its trace besides `traceparent`.

    `state` is the caller's `tracestate`; `submitted_ns` is when it was submitted, in Unix
    nanoseconds by the queue's clock, 0 where nobody said. Where only the end decides about keeping
    the trace, `began_ns` and `steps` tell what the gateway did before (name and end of each step),
    and `caller` is the caller's span.
    """

    state: str = ""
    submitted_ns: int = 0
    began_ns: int = 0
    caller: int = 0
    steps: tuple[tuple[str, int], ...] = ()


NO_CARRY = TraceCarry()


def parse_traceparent(parents: Sequence[str], states: Sequence[str] = ()) -> TraceContext | None:
    """The context that these headers' values tell; None when they tell none that can be used."""
    if len(parents) != 1:
        return None
    found = _PARENT.fullmatch(parents[0])
    if found is None or found["version"] == _FORBIDDEN_VERSION:
        return None
    if found["version"] == _KNOWN_VERSION and found["later"] is not None:
        return None
    span_id = int(found["span"], 16)
    if found["trace"] == _NO_TRACE or not span_id:
        return None
    sampled = bool(int(found["flags"], 16) & _SAMPLED)
    return TraceContext(found["trace"], span_id, sampled, _checked_state(states))


def context_of(invocation_id: str, traceparent: str, carry: TraceCarry) -> TraceContext:
    """The context of an invocation out of the queue; its own trace where it has none."""
    found = _PARENT.fullmatch(traceparent) if traceparent else None
    if found is None:
        return TraceContext(trace_id_of(invocation_id), 0, None, carry.state)
    # It is a gateway's own word, judged before.
    sampled = bool(int(found["flags"], 16) & _SAMPLED)
    return TraceContext(found["trace"], int(found["span"], 16), sampled, carry.state)


def trace_id_of(invocation_id: str) -> str:
    """The trace of an invocation that its caller put into none: its own id, as hexadecimal.

    So whoever knows an invocation finds its trace anywhere, and all processes agree on it.
    """
    digits = invocation_id.replace("-", "")
    if _TRACE.fullmatch(digits) and digits != _NO_TRACE:
        return digits
    return blake2b(invocation_id.encode(errors="surrogatepass"), digest_size=16).hexdigest()


def _checked_state(values: Sequence[str]) -> str:
    """The `tracestate`, or nothing when any of it is wrong: half a state is none."""
    text = ",".join(values)
    if not text or len(text) > MAX_STATE_CHARACTERS:
        return ""
    members = [member.strip(" \t") for member in text.split(",")]
    found = [_MEMBER.fullmatch(member) for member in members if member]
    keys = {match["key"] for match in found if match is not None}
    if not 0 < len(keys) == len(found) <= _MAX_STATE_MEMBERS:
        return ""
    return ",".join(member for member in members if member)
