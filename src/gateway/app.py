"""The gateway's application: routes, and what becomes of refusals."""

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from gateway.audit_middleware import AuditMiddleware
from gateway.audit_trail import AuditTrail
from gateway.auth import Authenticator
from gateway.authorizer import Authorizer
from gateway.body_room import BodyRoom
from gateway.catalog_memory import CatalogMemory
from gateway.export_stream import MOST_EXPORTS, TOO_MANY_EXPORTS
from gateway.listeners import Listeners
from gateway.metrics_middleware import MetricsMiddleware
from gateway.oci import routes as oci
from gateway.openapi import REFUSALS, describe
from gateway.problems import on_failure, on_http_exception, on_refusal
from gateway.routes import (
    aliases,
    attestations,
    audit,
    batches,
    dead_letters,
    events,
    function_trust,
    functions,
    health,
    invocations,
    keys,
    modules,
    oci_modules,
    oidc,
    recordings,
    retries,
    retry_states,
    runs,
    schedules,
    secrets,
    signers,
    status,
    traces,
    upstreams,
    usage,
)
from gateway.routes.aliases import AliasRequest, PromotionRequest
from gateway.routes.attestations import EnvelopeRequest
from gateway.routes.context import Context
from gateway.routes.dead_letters import RedriveRequest
from gateway.routes.function_trust import TrustRequest
from gateway.routes.keys import KeyRequest, RotationRequest
from gateway.routes.oci_modules import FromOciRequest, ToOciRequest
from gateway.routes.schedules import ScheduleRequest
from gateway.routes.signers import RevocationRequest, SignerRequest, SignerRotationRequest
from gateway.services import Services
from gateway.usecases.deploy_function import DeployRequest
from gateway.usecases.exchange_token import TokenRequest
from gateway.usecases.keep_retry_states import ImportRequest
from gateway.usecases.resolve_function import FunctionResolver
from gateway.usecases.tell_status import StatusTeller
from gateway.waiters import Waiters
from stockade.core.errors import StockadeError
from stockade.core.outcomes import Attempt
from stockade.core.recordings import Recording
from stockade.core.replays import Ending

_DESCRIPTION = "Run code you did not write: signed WebAssembly modules under hard limits."


def create_app(services: Services) -> FastAPI:
    """The application over these services."""
    app = FastAPI(
        title="Stockade",
        version="1",
        description=_DESCRIPTION,
        redirect_slashes=False,
        responses=REFUSALS,
        docs_url=None,  # its page loads scripts from elsewhere
        redoc_url=None,  # likewise
    )
    metrics, proxies = services.metrics, services.settings.trusted_proxies
    trail = AuditTrail(services.audit, services.clock, metrics, proxies)
    cache_seconds = services.settings.catalog_cache_seconds
    authenticator = Authenticator(services.catalog, services.clock, cache_seconds, proxies)
    resolver = FunctionResolver(services.catalog, cache_seconds)
    app.state.context = Context(
        services,
        authenticator,
        Authorizer(services.policies),
        resolver,
        CatalogMemory(authenticator, resolver, services.changes),
        Waiters(),
        BodyRoom(services.settings.body_memory_bytes),
        metrics,
        trail,
        StatusTeller(services),
        Listeners(services.settings.listeners),
        Listeners(MOST_EXPORTS, TOO_MANY_EXPORTS),
    )
    app.add_middleware(MetricsMiddleware, metrics=metrics)
    app.add_middleware(AuditMiddleware, trail=trail, clock=services.clock)
    # The hot path first: routes are tried in order.
    for part in (
        invocations,
        batches,
        traces,
        dead_letters,
        recordings,
        events,
        functions,
        function_trust,
        aliases,
        modules,
        attestations,
        signers,
        retries,
        schedules,
        secrets,
        upstreams,
        retry_states,
        keys,
        oci_modules,
        oci,
        runs,
        usage,
        audit,
        oidc,
        status,
        health,
    ):
        app.include_router(part.router)
    described = (DeployRequest, AliasRequest, SignerRequest, KeyRequest, RedriveRequest)
    trust = (PromotionRequest, SignerRotationRequest, RevocationRequest, TrustRequest, TokenRequest)
    describe(
        app,
        (
            *described,
            *trust,
            RotationRequest,
            ScheduleRequest,
            FromOciRequest,
            ToOciRequest,
            EnvelopeRequest,
            ImportRequest,
            Attempt,
            Ending,
            Recording,
        ),
    )
    app.add_exception_handler(StockadeError, on_refusal)
    app.add_exception_handler(HTTPException, on_http_exception)
    app.add_exception_handler(RequestValidationError, on_http_exception)
    app.add_exception_handler(Exception, on_failure)
    return app
