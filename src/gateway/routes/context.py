"""What every route gets at: the services, who calls, whether it may, the resolver."""

from dataclasses import dataclass, field

from starlette.requests import Request

from gateway.audit_trail import AuditTrail
from gateway.auth import Authenticator
from gateway.authorizer import Authorizer
from gateway.body_room import BodyRoom
from gateway.catalog_memory import CatalogMemory
from gateway.history_recorder import HistoryMeter
from gateway.listeners import Listeners
from gateway.metrics import GatewayMetrics
from gateway.oci.streams import StreamTurns
from gateway.services import Services
from gateway.trace import trace_of
from gateway.usecases.resolve_function import FunctionResolver
from gateway.usecases.tell_status import StatusTeller
from gateway.waiters import Waiters
from stockade.core.actions import Action
from stockade.core.log_context import Work, works_on
from stockade.core.names import check_name
from stockade.core.principals import Principal
from stockade.core.single_flight import SingleFlight


@dataclass(frozen=True, slots=True)
class Context:
    """One gateway's shared parts."""

    services: Services
    authenticator: Authenticator
    authorizer: Authorizer
    resolver: FunctionResolver
    memory: CatalogMemory
    waiters: Waiters
    room: BodyRoom
    metrics: GatewayMetrics
    audit: AuditTrail
    status: StatusTeller
    listeners: Listeners
    exports: Listeners
    streams: StreamTurns = field(default_factory=StreamTurns)
    history: HistoryMeter = field(default_factory=HistoryMeter)
    writing: SingleFlight[str, bytes] = field(default_factory=SingleFlight)
    """The page of metrics."""


def context_of(request: Request) -> Context:
    """The context of the application that serves this request."""
    context: Context = request.app.state.context
    return context


async def authenticated(request: Request, action: Action) -> tuple[Context, Principal]:
    """The context and the caller, who may not do anything yet; the log knows what is asked for.

    Whoever calls this asks the authorizer, then calls `begin`.

    Raises:
        StockadeError: `auth.…`.
    """
    context, trace = context_of(request), trace_of(request)
    trace.action = action
    trace.caller = await context.authenticator.authenticate(request)
    works_on(Work(trace.caller.tenant))
    return context, trace.caller


async def begin(request: Request) -> None:
    """Has the audit log say that the action begins.

    Raises:
        StockadeError: `audit.unavailable`, `audit.chain_broken`.
    """
    await context_of(request).audit.begin(trace_of(request))


async def caller_of(
    request: Request, action: Action, function: str | None = None
) -> tuple[Context, Principal]:
    """The context and the caller, who may do this to its tenant, or to the function.

    Raises:
        StockadeError: `auth.…`, `audit.…`, `function.name_invalid`.
    """
    context, caller = await authenticated(request, action)
    if function is not None:
        check_name("function", function)
    context.authorizer.check(caller, action, function)
    await begin(request)
    return context, caller
