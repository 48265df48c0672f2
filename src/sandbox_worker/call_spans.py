"""Notes the host calls of one run as spans: what was asked and how it ended, never what was said.

Paths, queries, headers, keys and values are the tenant's own affair and may be secret; the method,
the status and the sizes are told. The server is told as the grant names it: a guest can put what
it likes into the name of a server that is not there, a secret too.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from sandbox_worker.attempt_spans import AttemptSpans
from sandbox_worker.guest.frames import HostCall, HostReply
from stockade.core import span_names as names
from stockade.core.egress import HttpGrant
from stockade.core.host_functions import OFFERED
from stockade.core.http_messages import MAX_HEADERS, HttpRequest, HttpResponse
from stockade.core.spans import SpanKind, Value

_PARENT, _STATE = "traceparent", "tracestate"
_UNKNOWN = "unknown"
_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
_OTHER_METHOD = "_OTHER"


class CallSpans:
    """The host calls of one run, one at a time.

    Args:
        spans: The attempt's; None where nobody records.
    """

    def __init__(self, spans: AttemptSpans | None) -> None:
        self._spans = spans
        self._facts: dict[str, Value] = {}
        self._error = ""
        self._kind = SpanKind.INTERNAL

    @contextmanager
    def calling(self, call: HostCall) -> Iterator[None]:
        """One call, inside."""
        began_ns = time.monotonic_ns()
        name = call.name if call.name in OFFERED else _UNKNOWN
        self._facts = {names.HOST_CALL: name, names.REQUEST_BYTES: len(call.text) + len(call.data)}
        self._error, self._kind = "wall", SpanKind.INTERNAL
        try:
            yield
        finally:
            if self._spans is not None:
                facts = self._facts, self._error, self._kind
                self._spans.add(name, began_ns, *facts, call.span)

    def answered(self, reply: HostReply) -> HostReply:
        """The call was answered in time; it has failed only if `failed` was told."""
        self._error = str(self._facts.get(names.ERROR_TYPE, ""))
        self._facts[names.RESPONSE_BYTES] = len(reply.data)
        return reply

    def failed(self, code: str) -> None:
        """The call is refused, or fails."""
        self._facts[names.ERROR_TYPE] = code

    def note(self, name: str, value: Value) -> None:
        """Notes a fact of the call under way."""
        self._facts[name] = value

    def fetches(self, request: HttpRequest, grants: Sequence[HttpGrant]) -> None:
        """It asks a server, under one of these grants or none."""
        method = request.method if request.method in _METHODS else _OTHER_METHOD
        self._kind = SpanKind.CLIENT
        self._facts[names.HTTP_METHOD] = method
        covering = (one for one in grants if one.covers(request.method, request.url))
        if (grant := next(covering, None)) is not None:
            self._facts |= {
                names.SERVER_ADDRESS: f"{'*.' if grant.subdomains else ''}{grant.host}",
                names.SERVER_PORT: grant.port,
                names.URL_SCHEME: grant.scheme,
            }

    def fetched(self, response: HttpResponse) -> None:
        """The server answered."""
        self._facts[names.HTTP_STATUS] = response.status

    def with_context(self, request: HttpRequest) -> HttpRequest:
        """The same request in the run's trace, unless the guest put it into one of its own."""
        if self._spans is None or len(request.headers) + 2 > MAX_HEADERS:
            return request
        if any(name == _PARENT for name, _value in request.headers):
            return request
        context = self._spans.outgoing()
        if not context.span_id:
            return request
        added: tuple[tuple[str, str], ...] = ((_PARENT, context.parent),)
        if context.state:
            added += ((_STATE, context.state),)
        kept = tuple(pair for pair in request.headers if pair[0] != _STATE)
        return replace(request, headers=kept + added)
