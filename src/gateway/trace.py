"""What is known of one request while it is served: its id, and what the audit log will say."""

import re
import time
from collections.abc import Iterable
from contextvars import ContextVar
from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.types import Scope
from structlog.contextvars import bind_contextvars, reset_contextvars

from gateway.sources import Networks, source_of
from stockade.core.actions import Action
from stockade.core.audit import AuditFacts, EntryKind, bounded, bounded_policies
from stockade.core.errors import StockadeError
from stockade.core.principals import Principal

REQUEST_ID_HEADER = "X-Request-Id"
REASON_HEADER = "Stockade-Reason"
_ID_NAME, _REASON_NAME = REQUEST_ID_HEADER.lower().encode(), REASON_HEADER.lower().encode()
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}
_SINGULAR = {"aliases": "alias", "retries": "retry"}


@dataclass(slots=True)
class Trace:
    """Grows as the request is served; `begun` and `ended` say what the log was told."""

    request_id: str
    scope: Scope
    caller: Principal | None = None
    action: Action | None = None
    object: str = ""
    reason: str = ""
    begun: bool = False
    ended: bool = False
    error: StockadeError | None = None
    permits: set[str] = field(default_factory=set)
    began_ns: int = field(default_factory=time.monotonic_ns)
    """By the steady clock, for the spans."""

    @property
    def changes_something(self) -> bool:
        """Whether the call is one that the log tells of when it is done.

        A call that may change something and says no action counts, whichever it is. So does taking
        a recording: it changes nothing, but what callers gave and were given leaves with it.
        """
        if self.scope["method"] in _SAFE_METHODS:
            return self.action is Action.REPLAY
        return self.action is None or self.action.is_audited

    def facts(self, kind: EntryKind, now_ms: int, proxies: Networks) -> AuditFacts:
        """What an entry says of the request as it is now."""
        caller, error = self.caller, self.error
        kind_of, name = self._acted_on()
        return AuditFacts(
            now_ms,
            kind,
            request=self.request_id,
            principal_kind="" if caller is None else caller.kind.value,
            principal="" if caller is None else bounded(caller.id),
            role="" if caller is None else caller.role.value,
            action="" if self.action is None else self.action.value,
            call=bounded(f"{self.scope['method']} {self._template()}"),
            object_kind=kind_of,
            object=bounded(self.object or name),
            code="" if error is None else error.code,
            policies=self._policies(),
            reason=self.reason,
            source=bounded(source_of(Request(self.scope), proxies)),
        )

    def _policies(self) -> tuple[str, ...]:
        """Those that refused; else those that permitted what was asked so far."""
        refused = None if self.error is None else self.error.detail.get("policies")
        return bounded_policies(refused or sorted(self.permits))

    def _template(self) -> str:
        """The path with names in place of values; as it came when no route took it."""
        path: str = getattr(self.scope.get("route"), "path", None) or self.scope["path"]
        return path

    def _acted_on(self) -> tuple[str, str]:
        """Kind and name out of the path: `PUT /v1/functions/f/aliases/a` is of the alias `f/a`."""
        words = [word for word in self._template().split("/")[2:] if word]
        named = [at for at, word in enumerate(words) if word.startswith("{") and at > 0]
        at = named[-1] - 1 if named else 0
        word = words[at].partition(":")[0] if words else ""
        kind = "path" if word.startswith("{") else word
        values = self.scope.get("path_params", {}).values()
        singular = _SINGULAR.get(kind, kind.removesuffix("s"))
        return bounded(singular), "/".join(str(value) for value in values)


_current: ContextVar[Trace | None] = ContextVar("trace", default=None)


class Tracing:
    """Decisions inside are noted in this trace, and lines of the log bear its id.

    A class, and structlog's plain functions: as generators the two cost each request 15 µs.
    """

    __slots__ = ("_bound", "_token", "_trace")

    def __init__(self, trace: Trace) -> None:
        self._trace = trace

    def __enter__(self) -> None:
        """Begins it."""
        self._token = _current.set(self._trace)
        self._bound = bind_contextvars(request_id=self._trace.request_id)

    def __exit__(self, *_failure: object) -> None:
        """Ends it."""
        reset_contextvars(**self._bound)
        _current.reset(self._token)


def note_permits(policies: Iterable[str]) -> None:
    """Says which policies permitted what the request that is served asks for."""
    trace = _current.get()
    if trace is not None:
        trace.permits.update(policies)


def new_trace(scope: Scope, fresh_id: str) -> Trace:
    """The trace of a request that begins, with the id that its sender gave when that is sound."""
    given, reason = b"", b""
    for name, value in scope["headers"]:
        if name == _ID_NAME:
            given = value
        elif name == _REASON_NAME:
            reason = value
    sound = _REQUEST_ID.fullmatch(given)
    told = bounded(reason.decode("utf-8", "replace")) if reason else ""
    return Trace(given.decode() if sound else fresh_id, scope, reason=told)


def trace_of(request: Request) -> Trace:
    """The trace of this request."""
    trace: Trace = request.state.trace
    return trace


def note_object(request: Request, name: str) -> None:
    """Says what was acted on where the path does not, such as the digest of an upload."""
    trace_of(request).object = name


def note_reason(request: Request, reason: str) -> None:
    """Says why, where the body does; else the header `Stockade-Reason` does."""
    trace_of(request).reason = bounded(reason)
