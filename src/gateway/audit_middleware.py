"""Around every request: gives it an id, and has the audit log told how it ended."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.audit_trail import AuditTrail
from gateway.problems import internal_error
from gateway.trace import REQUEST_ID_HEADER, Tracing, new_trace
from stockade.core.ports import Clock

_ID = REQUEST_ID_HEADER.lower().encode()
_FAILED = 500


class AuditMiddleware:
    """Stands between the server and the routes, so that no route can forget the log."""

    def __init__(self, app: ASGIApp, trail: AuditTrail, clock: Clock) -> None:
        self._app = app
        self._trail = trail
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        trace = new_trace(scope, self._clock.new_id())
        scope.setdefault("state", {})["trace"] = trace

        async def send_known(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (_ID, trace.request_id.encode())]
                await self._trail.end(trace, message["status"])
            await send(message)

        with Tracing(trace):
            try:
                await self._app(scope, receive, send_known)
            except Exception:
                trace.error = internal_error()
                await self._trail.end(trace, _FAILED)
                raise
