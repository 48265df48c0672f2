"""What every route gets at: the services, the authenticator, the resolver."""

from dataclasses import dataclass

from starlette.requests import Request

from gateway.auth import Authenticator, Principal
from gateway.body_room import BodyRoom
from gateway.metrics import GatewayMetrics
from gateway.services import Services
from gateway.usecases.resolve_function import FunctionResolver
from gateway.waiters import Waiters


@dataclass(frozen=True, slots=True)
class Context:
    """One gateway's shared parts."""

    services: Services
    authenticator: Authenticator
    resolver: FunctionResolver
    waiters: Waiters
    room: BodyRoom
    metrics: GatewayMetrics


def context_of(request: Request) -> Context:
    """The context of the application that serves this request."""
    context: Context = request.app.state.context
    return context


async def caller_of(request: Request) -> tuple[Context, Principal]:
    """The context and the authenticated caller.

    Raises:
        StockadeError: `auth.…`.
    """
    context = context_of(request)
    return context, await context.authenticator.authenticate(request)
