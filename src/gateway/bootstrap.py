"""Puts a gateway together: chooses the adapters, serves, drains on SIGTERM."""

import asyncio
import math
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
)
from pathlib import Path

import uvicorn
import uvloop

from gateway.app import create_app
from gateway.audit_retention import pruning
from gateway.audit_trail import flushing
from gateway.catalog_memory import following
from gateway.collect_blobs import BlobCollector, collecting
from gateway.history_recorder import recording
from gateway.history_retention import pruning_history, retention_of
from gateway.http_protocol import BoundedProtocol
from gateway.key_use import noting_use
from gateway.loop_lag import measuring_lag
from gateway.metrics import GatewayMetrics
from gateway.oci.content import OciContent
from gateway.oci.sweep import sweeping
from gateway.purge_loop import purging_functions
from gateway.schedule_loop import firing_schedules
from gateway.services import Services
from gateway.settings import GatewaySettings, StorageSettings
from gateway.waiters import Waiters
from stockade.core.audit import AuditLog, HeadSigner
from stockade.core.egress import EgressPolicy
from stockade.core.oci import OciBounds
from stockade.core.spans import Tracer, TraceStore
from stockade.infra.audit_key import Ed25519HeadSigner
from stockade.infra.blobs.blob_stores import open_area, open_blob_stores
from stockade.infra.cronsim_calendar import CronsimCalendar
from stockade.infra.http_issuer_keys import HttpIssuerKeys
from stockade.infra.jailed_compiler import JailedCompiler
from stockade.infra.logging import configure_logging
from stockade.infra.policies.egress_policy import load_egress_policy
from stockade.infra.policies.share_policy import load_share_policy
from stockade.infra.policies.storage_policy import load_storage_policy
from stockade.infra.policies.watched_identity import watched_identity
from stockade.infra.policies.watched_plans import watched_plans
from stockade.infra.policies.watched_policies import watched_policies
from stockade.infra.policies.watched_trust import watched_trust_rules
from stockade.infra.queue_settings import QueueSettings
from stockade.infra.redis.redis_catalog_changes import RedisCatalogChanges
from stockade.infra.redis.redis_connection import RedisConnections
from stockade.infra.redis.redis_learned_states import RedisLearnedStates
from stockade.infra.redis.redis_live_events import RedisLiveEvents
from stockade.infra.redis.redis_module_hints import RedisModuleHints
from stockade.infra.redis.redis_partitions import RedisPartitions
from stockade.infra.redis.redis_retry_tallies import RedisRetryTallies
from stockade.infra.redis.redis_status import RedisStatusBoard
from stockade.infra.redis.redis_upstreams import RedisUpstreamNews, RedisUpstreamStore
from stockade.infra.sealed_recordings import SealedRecordings
from stockade.infra.secret_box import AesGcmSecretBox
from stockade.infra.sql.sql_catalog import SqlCatalog
from stockade.infra.system_clock import SystemClock
from stockade.infra.tracing.open_tracing import open_tracing
from stockade.infra.walled_jail import open_jail

_ANSWER_SECONDS = 1
"""For the answers of those who were let go."""
_ANNOUNCE_SECONDS = 1.0
"""Who changes something waits no longer for the others to hear of it."""
_KEEP_ALIVE_SECONDS = 75
_STOPS = (signal.SIGTERM, signal.SIGINT)


def run(settings: GatewaySettings) -> None:
    """Serves until SIGTERM or SIGINT; requests under way may finish. A second one ends it."""
    configure_logging("gateway", settings.log_level)
    uvloop.run(_serve(settings))


class _DrainingServer(uvicorn.Server):
    """Lets go whoever waits for a result when the time to stop is over."""

    def __init__(self, config: uvicorn.Config, waiters: Waiters, drain_seconds: float) -> None:
        super().__init__(config)
        self._waiters = waiters
        self._drain_seconds = drain_seconds

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stops listening, and waits for what is under way."""
        self._waiters.let_go_within(self._drain_seconds)
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stops at the first signal; what is open is closed, and the process ends with 0.

        uvicorn's own way raises the signal again behind it, before anything else is closed.
        """
        loop = asyncio.get_running_loop()
        for number in _STOPS:
            loop.add_signal_handler(number, self._stop)
        yield

    def _stop(self) -> None:
        self.should_exit = True
        for number in _STOPS:
            asyncio.get_running_loop().remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)


async def _serve(settings: GatewaySettings) -> None:
    async with build_services(settings) as services:
        app = create_app(services)
        config = uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            loop="none",
            http=BoundedProtocol,
            ws="none",
            proxy_headers=False,
            access_log=False,
            log_config=None,
            server_header=False,
            lifespan="off",
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=math.ceil(settings.drain_seconds) + _ANSWER_SECONDS,
        )
        context = app.state.context
        async with (
            firing_schedules(services, context.resolver),
            flushing(context.audit),
            pruning(services.audit, services.clock, settings.audit_retention_days),
            sweeping(services.oci, services.clock),
            collecting(_collector(services)),
            following(context.memory),
            noting_use(services.catalog, context.authenticator, services.clock),
            purging_functions(services),
            recording(
                services.feeds,
                services.history,
                context.history,
                records=settings.record_history,
            ),
            pruning_history(services.history, services.queue, retention_of(settings)),
            measuring_lag(services.metrics),
        ):
            drain_seconds = settings.drain_seconds
            await _DrainingServer(config, context.waiters, drain_seconds).serve()


@asynccontextmanager
async def build_services(settings: GatewaySettings) -> AsyncIterator[Services]:
    """The real adapters, which are closed behind it."""
    async with AsyncExitStack() as stack:
        plans = await stack.enter_async_context(watched_plans(settings.policy_dir))
        jail = await open_jail(settings.policy_dir, settings.require_walls)
        stack.push_async_callback(jail.aclose)
        catalog = await SqlCatalog.open(settings.database_url)
        stack.push_async_callback(catalog.aclose)
        policies = await stack.enter_async_context(
            watched_policies(settings.policy_dir / "authorization")
        )
        trust_rules = await stack.enter_async_context(
            watched_trust_rules(settings.policy_dir / "trust.toml")
        )
        clock, metrics = SystemClock(), GatewayMetrics()
        stores = await open_blob_stores(settings.blob_place, clock)
        name = f"gateway-{clock.new_id()}"
        shares = load_share_policy(settings.policy_dir / "shares.toml")
        partitions = RedisPartitions(
            settings.redis_url,
            settings.partitions,
            settings.durability,
            settings.replicas,
            metrics.valkey_answered,
        )
        bounds = QueueSettings(partitions=settings.partitions, shedding=shares.shedding)
        queue = partitions.queue(bounds, gateway=name)
        stack.push_async_callback(queue.aclose)
        await partitions.check()
        identity = await stack.enter_async_context(
            watched_identity(settings.policy_dir / "identity.toml")
        )
        issuer_keys = HttpIssuerKeys()
        stack.push_async_callback(issuer_keys.aclose)
        hints = RedisModuleHints(RedisConnections(settings.redis_url))
        stack.push_async_callback(hints.aclose)
        changes = RedisCatalogChanges(
            RedisConnections(settings.redis_url, command_seconds=_ANNOUNCE_SECONDS)
        )
        stack.push_async_callback(changes.aclose)
        egress_policy = load_egress_policy(settings.policy_dir / "egress.toml")
        upstreams, upstream_news = _upstreams(stack, settings, egress_policy)
        secret_box = AesGcmSecretBox.from_file(settings.secrets_key_file)
        tracer, traces = await stack.enter_async_context(_tracing(settings, name))
        yield Services(
            name=name,
            settings=settings,
            catalog=catalog,
            blobs=stores.modules,
            payloads=stores.payloads,
            queue=queue,
            compiler=JailedCompiler(jail),
            clock=clock,
            plans=plans,
            policies=policies,
            trust_rules=trust_rules,
            hints=hints,
            changes=changes,
            live=_live_events(stack, settings),
            schedules=catalog.schedule_store(),
            calendar=CronsimCalendar(),
            oci=_oci_content(settings, catalog, clock),
            storage=load_storage_policy(settings.policy_dir / "storage.toml"),
            history=catalog.history_store(),
            feeds=partitions.history_feeds(bounds, name),
            audit=catalog.audit_log(Ed25519HeadSigner.from_file(_audit_key_file(settings))),
            secret_box=secret_box,
            recordings=SealedRecordings(stores.payloads, secret_box),
            shares=shares,
            identity=identity,
            issuer_keys=issuer_keys,
            egress_policy=egress_policy,
            board=RedisStatusBoard(partitions.connections, bounds),
            weak_walls=jail.weak_walls,
            metrics=metrics,
            upstreams=upstreams,
            upstream_news=upstream_news,
            tallies=_tallies(stack, settings),
            learned=_learned(stack, settings),
            tracer=tracer,
            traces=traces,
        )


def _tracing(
    settings: GatewaySettings, name: str
) -> AbstractAsyncContextManager[tuple[Tracer, TraceStore]]:
    options = settings.trace_options
    return open_tracing(options, "gateway", name, settings.redis_url, settings.partitions)


def _live_events(stack: AsyncExitStack, settings: GatewaySettings) -> RedisLiveEvents:
    live = RedisLiveEvents(RedisPartitions(settings.redis_url, settings.partitions).connections)
    stack.push_async_callback(live.aclose)
    return live


def _learned(stack: AsyncExitStack, settings: GatewaySettings) -> RedisLearnedStates:
    learned = RedisLearnedStates.open(settings.redis_url, settings.partitions)
    stack.push_async_callback(learned.aclose)
    return learned


def _tallies(stack: AsyncExitStack, settings: GatewaySettings) -> RedisRetryTallies:
    tallies = RedisRetryTallies.open(settings.redis_url, settings.partitions)
    stack.push_async_callback(tallies.aclose)
    return tallies


@asynccontextmanager
async def open_collector(settings: StorageSettings) -> AsyncIterator[BlobCollector]:
    """What keeps the stored modules in order, for an operator's command."""
    clock = SystemClock()
    stores = await open_blob_stores(settings.blob_place, clock)
    catalog = await SqlCatalog.open(settings.database_url)
    try:
        yield BlobCollector(catalog, stores.modules, clock, settings.blob_grace_seconds)
    finally:
        await catalog.aclose()


def _upstreams(
    stack: AsyncExitStack, settings: GatewaySettings, policy: EgressPolicy
) -> tuple[RedisUpstreamStore, RedisUpstreamNews]:
    *places, place = (
        RedisConnections(settings.redis_url, command_seconds=_ANNOUNCE_SECONDS)
        for _ in range(settings.partitions + 1)
    )
    store, news = RedisUpstreamStore(places, policy.breaker), RedisUpstreamNews(place)
    stack.push_async_callback(store.aclose)
    stack.push_async_callback(news.aclose)
    return store, news


def _collector(services: Services) -> BlobCollector:
    grace_seconds = services.settings.blob_grace_seconds
    return BlobCollector(services.catalog, services.blobs, services.clock, grace_seconds)


def _oci_content(settings: GatewaySettings, catalog: SqlCatalog, clock: SystemClock) -> OciContent:
    bounds = OciBounds(settings.oci_blob_bytes, settings.oci_grace_seconds * 1000)
    return OciContent(
        catalog.oci_store(),
        open_area(settings.blob_place, "oci", clock),
        open_area(settings.blob_place, "oci-uploads", clock),
        bounds,
        load_storage_policy(settings.policy_dir / "storage.toml"),
    )


@asynccontextmanager
async def open_audit_log(
    database_url: str, key_file: Path
) -> AsyncIterator[tuple[AuditLog, HeadSigner]]:
    """The audit log in the database as it is, not migrated, for the operator to verify.

    Raises:
        StockadeError: `config.…`, `catalog.…`.
    """
    signer = Ed25519HeadSigner.from_file(key_file)
    catalog = SqlCatalog.open_as_it_is(database_url)
    try:
        yield catalog.audit_log(signer), signer
    finally:
        await catalog.aclose()


def _audit_key_file(settings: GatewaySettings) -> Path:
    """Where the key is that signs the audit log. Workers have no use for it."""
    return settings.audit_key_file or settings.secrets_key_file.with_name("audit.key")
