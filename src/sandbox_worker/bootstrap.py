"""Puts a worker together: chooses the adapters, starts the supervisor, stops it on SIGTERM."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import version
from secrets import SystemRandom

import structlog
import uvloop

from sandbox_worker.breakers import Breakers
from sandbox_worker.broker import HostCallBroker
from sandbox_worker.executor_pool import ExecutorPool, PoolSettings
from sandbox_worker.executor_watch import ExecutorWatch
from sandbox_worker.learning import SharedLearning
from sandbox_worker.metrics import LabelBounds, WorkerMetrics
from sandbox_worker.module_loader import ModuleLoader
from sandbox_worker.module_trust import ModuleTrust
from sandbox_worker.operations import Dependencies, Identity, Operations
from sandbox_worker.operations_server import OperationsServer
from sandbox_worker.recording import Recordings
from sandbox_worker.retries import Retries
from sandbox_worker.retry_counts import telling_tallies
from sandbox_worker.run_attempt import AttemptServices
from sandbox_worker.settings import WorkerSettings
from sandbox_worker.supervisor import Supervisor
from stockade.core.blobs import BlobStore
from stockade.core.egress import EgressPolicy
from stockade.core.errors import StockadeError
from stockade.core.jail_control import engine_of
from stockade.core.ports import Catalog, PayloadStore, ProcessBounds
from stockade.core.queue_clock import QueueClock
from stockade.core.spans import Tracer
from stockade.infra.blobs.blob_stores import open_blob_stores
from stockade.infra.cgroup import CgroupBounds, NoBounds
from stockade.infra.directory_artifacts import DirectoryArtifactCache
from stockade.infra.guarded_http import GuardedHttp
from stockade.infra.jailed_compiler import JailedCompiler
from stockade.infra.logging import configure_logging
from stockade.infra.policies.egress_policy import load_egress_policy
from stockade.infra.policies.isolation_policy import load_isolation_policy
from stockade.infra.policies.key_value_quota import load_key_value_quota
from stockade.infra.policies.watched_policies import watched_policies
from stockade.infra.policies.watched_trust import watched_trust_rules
from stockade.infra.proc_meter import ProcMeter
from stockade.infra.queue_settings import QueueSettings
from stockade.infra.redis.redis_catalog_changes import RedisCatalogChanges
from stockade.infra.redis.redis_connection import RedisConnections
from stockade.infra.redis.redis_key_values import RedisKeyValueStore
from stockade.infra.redis.redis_learned_states import RedisLearnedStates
from stockade.infra.redis.redis_live_events import RedisLiveEvents
from stockade.infra.redis.redis_module_hints import RedisModuleHints
from stockade.infra.redis.redis_partitions import RedisPartitions
from stockade.infra.redis.redis_retry_tallies import RedisRetryTallies
from stockade.infra.redis.redis_status import RedisStatusBoard
from stockade.infra.redis.redis_upstreams import RedisUpstreamNews, RedisUpstreamStore
from stockade.infra.sealed_recordings import SealedRecordings
from stockade.infra.secret_box import AesGcmSecretBox
from stockade.infra.secrets_file import read_or_create_secret, read_private
from stockade.infra.sql.sql_catalog import SqlCatalog
from stockade.infra.system_clock import SystemClock
from stockade.infra.tracing.open_tracing import open_tracing
from stockade.infra.walled_jail import open_jail
from stockade.infra.zygote_jail import ZygoteJail
from stockade.retry.fixed import FixedRetryPolicy
from stockade.retry.learned import LearnedRetryPolicy

_log = structlog.get_logger()
_ARTIFACT_KEY_BYTES = 32
_LEAST_TOKEN_BYTES, _MOST_TOKEN_BYTES = 16, 1024
_NOBODY = "nobody"
_BREAKER_SECONDS = 1.0


def run(settings: WorkerSettings) -> None:
    """Runs a worker until SIGTERM or SIGINT; a second one hands back at once what still runs."""
    configure_logging("worker", settings.log_level)
    uvloop.run(_serve(settings))


async def _serve(settings: WorkerSettings) -> None:
    async with build_supervisor(settings) as supervisor:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, supervisor.stop)
        _log.info("worker_ready", capacity=settings.capacity)
        await supervisor.run()
    _log.info("worker_stopped")


@asynccontextmanager
async def build_supervisor(settings: WorkerSettings) -> AsyncIterator[Supervisor]:
    """A supervisor on the real adapters, which are closed behind it."""
    async with AsyncExitStack() as stack:
        jail = await open_jail(settings.policy_dir, settings.require_walls)
        stack.push_async_callback(jail.aclose)
        catalog = await SqlCatalog.open(settings.database_url)
        stack.push_async_callback(catalog.aclose)
        clock = SystemClock()
        metrics = _metrics(settings)
        partitions = RedisPartitions(
            settings.redis_url,
            settings.partitions,
            settings.durability,
            settings.replicas,
            metrics.valkey_answered,
        )
        bounds = QueueSettings(
            partitions=settings.partitions, lease_ms=round(settings.lease_seconds * 1000)
        )
        name = clock.new_id()
        queue = partitions.queue(bounds, consumer=name)
        stack.push_async_callback(queue.aclose)
        await partitions.check()
        meter = ProcMeter()
        pool = _pool(settings, jail, meter, metrics)
        stack.push_async_callback(pool.aclose)
        stores = await open_blob_stores(settings.blob_place, clock)
        trust = await _module_trust(stack, settings, catalog, stores.modules)
        loader = ModuleLoader(
            trust=trust,
            blobs=stores.modules,
            cache=await _artifact_cache(settings, jail),
            compiler=JailedCompiler(jail),
            metrics=metrics,
        )
        hints = RedisModuleHints(RedisConnections(settings.redis_url))
        stack.push_async_callback(hints.aclose)
        changes = RedisCatalogChanges(RedisConnections(settings.redis_url))
        stack.push_async_callback(changes.aclose)
        services = AttemptServices(
            queue=queue,
            hints=hints,
            changes=changes,
            payloads=stores.payloads,
            loader=loader,
            pool=pool,
            broker=await _broker(stack, settings, catalog, metrics),
            retries=await _retries(stack, settings, metrics),
            recordings=await _recordings(settings, stores.payloads, jail, metrics),
            live=_live_events(stack, settings),
            clock=QueueClock(clock, queue),
            inline_output_bytes=settings.inline_output_bytes,
            metrics=metrics,
            tracer=await _tracer(stack, settings, name),
        )
        needs = Dependencies(
            {"queue": queue.time_ms, "catalog": lambda: catalog.find_key(_NOBODY)},
            trust.alarms,
            RedisStatusBoard(partitions.connections, bounds),
            services.tracer.counts,
        )
        identity = Identity(name, version("stockade"), jail.weak_walls)
        yield await _supervisor(
            stack, settings, services, ExecutorWatch(pool, meter), needs, identity
        )


async def _retries(
    stack: AsyncExitStack, settings: WorkerSettings, metrics: WorkerMetrics
) -> Retries:
    """Both policies; what was learned, and what became of it, is shared until the end."""
    uniform = SystemRandom().random
    states = RedisLearnedStates.open(settings.redis_url, settings.partitions)
    stack.push_async_callback(states.aclose)
    fixed, policy = FixedRetryPolicy(uniform), LearnedRetryPolicy(uniform)
    learned = SharedLearning(policy, fixed, states, metrics)
    await stack.enter_async_context(learned.sharing())
    tallies = RedisRetryTallies.open(settings.redis_url, settings.partitions)
    stack.push_async_callback(tallies.aclose)
    retries = Retries(fixed, learned, policy.memory.needs, learned.prepare)
    await stack.enter_async_context(telling_tallies(retries.counts, tallies))
    return retries


async def _supervisor(
    stack: AsyncExitStack,
    settings: WorkerSettings,
    services: AttemptServices,
    watch: ExecutorWatch,
    needs: Dependencies,
    identity: Identity,
) -> Supervisor:
    """The supervisor, with the endpoint that tells of it."""
    supervisor = Supervisor(
        services, watch, settings.capacity, settings.lease_seconds, settings.drain_seconds
    )
    operations = Operations(services.metrics, supervisor, services.pool, needs, identity)
    await _open_endpoint(stack, settings, operations)
    return supervisor


async def _open_endpoint(
    stack: AsyncExitStack, settings: WorkerSettings, operations: Operations
) -> None:
    for telling in (operations.measure(), operations.report()):
        stack.callback(asyncio.ensure_future(telling).cancel)
    if not settings.metrics_port:
        return
    server = OperationsServer(operations.routes(), _metrics_token(settings))
    await server.start(settings.metrics_host, settings.metrics_port)
    stack.push_async_callback(server.aclose)
    _log.info("worker_endpoint", host=settings.metrics_host, port=settings.metrics_port)


def _metrics_token(settings: WorkerSettings) -> str:
    if settings.metrics_token_file is None:
        return ""
    token = (read_private(settings.metrics_token_file, _MOST_TOKEN_BYTES) or b"").strip()
    if len(token) < _LEAST_TOKEN_BYTES or not token.isascii():
        raise StockadeError(
            "config.token_invalid",
            f"The file {settings.metrics_token_file} needs a token of at least"
            f" {_LEAST_TOKEN_BYTES} ASCII characters.",
        )
    return token.decode()


def _metrics(settings: WorkerSettings) -> WorkerMetrics:
    bounds = LabelBounds(settings.metrics_tenants, settings.metrics_functions)
    return WorkerMetrics(bounds, version("stockade"))


async def _tracer(stack: AsyncExitStack, settings: WorkerSettings, name: str) -> Tracer:
    options, url = settings.trace_options, settings.redis_url
    tracing = open_tracing(options, "worker", name, url, settings.partitions)
    tracer, _store = await stack.enter_async_context(tracing)
    return tracer


async def _module_trust(
    stack: AsyncExitStack, settings: WorkerSettings, catalog: Catalog, blobs: BlobStore
) -> ModuleTrust:
    folder = settings.policy_dir
    policies = await stack.enter_async_context(watched_policies(folder / "authorization"))
    rules = await stack.enter_async_context(watched_trust_rules(folder / "trust.toml"))
    return ModuleTrust(catalog, blobs, policies, rules, SystemClock(), settings.trust_seconds)


def _live_events(stack: AsyncExitStack, settings: WorkerSettings) -> RedisLiveEvents:
    live = RedisLiveEvents(RedisPartitions(settings.redis_url, settings.partitions).connections)
    stack.push_async_callback(live.aclose)
    return live


async def _broker(
    stack: AsyncExitStack, settings: WorkerSettings, catalog: Catalog, metrics: WorkerMetrics
) -> HostCallBroker:
    folder = settings.policy_dir
    egress = load_egress_policy(folder / "egress.toml")
    quota = load_key_value_quota(folder / "key_values.toml")
    places = RedisPartitions(settings.redis_url, settings.partitions)
    key_values = RedisKeyValueStore(places.connections, quota)
    stack.push_async_callback(key_values.aclose)
    return HostCallBroker(
        egress=GuardedHttp(egress, gate=await _breakers(stack, settings, egress, metrics)),
        key_values=key_values,
        catalog=catalog,
        secret_box=AesGcmSecretBox.from_file(settings.secrets_key_file),
        metrics=metrics,
    )


def _pool(
    settings: WorkerSettings, jail: ZygoteJail, meter: ProcMeter, metrics: WorkerMetrics
) -> ExecutorPool:
    isolation = load_isolation_policy(settings.policy_dir / "isolation.toml")
    bounds = _bounds(settings)
    return ExecutorPool(jail, _pool_settings(settings), isolation, meter, bounds, metrics)


async def _breakers(
    stack: AsyncExitStack, settings: WorkerSettings, egress: EgressPolicy, metrics: WorkerMetrics
) -> Breakers:
    places = [
        RedisConnections(settings.redis_url, command_seconds=_BREAKER_SECONDS)
        for _ in range(settings.partitions)
    ]
    store = RedisUpstreamStore(places, egress.breaker)
    stack.push_async_callback(store.aclose)
    news = RedisUpstreamNews(RedisConnections(settings.redis_url, command_seconds=_BREAKER_SECONDS))
    stack.push_async_callback(news.aclose)
    breakers = Breakers(store, news, egress.breaker, egress.probe_lease_ms)
    metrics.families.upstreams.watch(breakers)
    await stack.enter_async_context(breakers.serving())
    return breakers


async def _recordings(
    settings: WorkerSettings, payloads: PayloadStore, jail: ZygoteJail, metrics: WorkerMetrics
) -> Recordings:
    box = AesGcmSecretBox.from_file(settings.secrets_key_file)
    engine = engine_of(await jail.engine_fingerprint())
    return Recordings(SealedRecordings(payloads, box), engine, metrics)


def _bounds(settings: WorkerSettings) -> ProcessBounds:
    if settings.cgroup is None:
        return NoBounds()
    return CgroupBounds.open(settings.cgroup, settings.executor_memory_bytes)


def _pool_settings(settings: WorkerSettings) -> PoolSettings:
    return PoolSettings(
        max_executors=settings.max_executors,
        runs_per_executor=settings.runs_per_executor,
        idle_seconds=settings.idle_seconds,
        spare_executors=settings.spare_executors,
    )


async def _artifact_cache(settings: WorkerSettings, jail: ZygoteJail) -> DirectoryArtifactCache:
    key_file = settings.artifact_key_file or settings.cache_dir / "artifact.key"
    key = read_or_create_secret(key_file, _ARTIFACT_KEY_BYTES)
    return DirectoryArtifactCache(
        settings.cache_dir / "artifacts",
        key,
        await jail.engine_fingerprint(),
        settings.cache_bytes,
    )
