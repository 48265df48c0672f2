"""A gateway's firing loop in a process of its own, over a real database and a real Valkey.

python -m tests.e2e.firing_gateway DATABASE_URL REDIS_URL [kill]; `kill` ends it with signal 9 after
a submission, before the schedule is moved on. Writes a line when it begins.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from gateway.schedule_loop import ScheduleLoop
from gateway.services import LimitProfile, Services
from gateway.settings import GatewaySettings
from gateway.usecases.resolve_function import FunctionResolver
from stockade.core.egress import EgressPolicy
from stockade.core.limits import CEILINGS, DEFAULT_LIMITS
from stockade.core.schedules import Schedule
from stockade.core.shares import SharePolicy
from stockade.infra.audit_key import Ed25519HeadSigner
from stockade.infra.cronsim_calendar import CronsimCalendar
from stockade.infra.memory_audit import MemoryAuditLog
from stockade.infra.memory_blobs import MemoryBlobStore
from stockade.infra.memory_payloads import MemoryPayloadStore
from stockade.infra.redis_connection import RedisConnections
from stockade.infra.redis_module_hints import RedisModuleHints
from stockade.infra.redis_queue import RedisInvocationQueue
from stockade.infra.secret_box import AesGcmSecretBox
from stockade.infra.sql_catalog import SqlCatalog
from stockade.infra.sql_schedules import SqlScheduleStore
from stockade.infra.system_clock import SystemClock


class DeadlyStore(SqlScheduleStore):
    """Nothing is written: the process ends first."""

    async def change(
        self, tenant: str, name: str, rule: Callable[[Schedule], Schedule]
    ) -> Schedule | None:
        os.kill(os.getpid(), signal.SIGKILL)
        return await super().change(tenant, name, rule)


class NoCompiler:
    """The `ModuleCompiler` port, which firing does not need."""

    async def compile(self, body: bytes, tenant: str = "") -> bytes:
        raise NotImplementedError(len(body), tenant)


async def main(database_url: str, redis_url: str, *, deadly: bool) -> None:
    none = Path("none")
    catalog = await SqlCatalog.open(database_url, busy_timeout_seconds=30)
    schedules = catalog.schedule_store()
    if deadly:
        schedules = DeadlyStore(catalog._engine, catalog._writer)
    services = Services(
        name="firing",
        settings=GatewaySettings(
            redis_url=redis_url,
            database_url=database_url,
            blob_dir=none,
            policy_dir=none,
            secrets_key_file=none,
        ),
        catalog=catalog,
        blobs=MemoryBlobStore(),
        payloads=MemoryPayloadStore(SystemClock(), 60.0),
        queue=RedisInvocationQueue(RedisConnections(redis_url)),
        compiler=NoCompiler(),
        clock=SystemClock(),
        profile=LimitProfile(DEFAULT_LIMITS, CEILINGS),
        egress_policy=EgressPolicy(),
        shares=SharePolicy(),
        hints=RedisModuleHints(RedisConnections(redis_url)),
        schedules=schedules,
        audit=MemoryAuditLog(Ed25519HeadSigner((b"a" * 32,))),
        calendar=CronsimCalendar(),
        secret_box=AesGcmSecretBox((b"k" * 32,)),
    )
    sys.stdout.write("begins\n")
    sys.stdout.flush()
    await ScheduleLoop(services, FunctionResolver(catalog, 1)).run()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], deadly=sys.argv[3:] == ["kill"]))
