"""A gateway's firing loop in a process of its own, over a real database and a real Valkey.

python -m tests.e2e.firing_gateway DATABASE_URL REDIS_URL [kill]; `kill` ends it with signal 9 after
a submission, before the schedule is moved on. Writes a line when it begins.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from sqlalchemy import make_url

from gateway.bootstrap import build_services
from gateway.schedule_loop import ScheduleLoop
from gateway.services import Services
from gateway.settings import GatewaySettings
from gateway.usecases.resolve_function import FunctionResolver
from stockade.core.schedules import Schedule
from stockade.infra.sql.sql_catalog import SqlCatalog
from stockade.infra.sql.sql_schedules import SqlScheduleStore


class DeadlyStore(SqlScheduleStore):
    """Nothing is written: the process ends first."""

    async def change(
        self, tenant: str, name: str, rule: Callable[[Schedule], Schedule]
    ) -> Schedule | None:
        os.kill(os.getpid(), signal.SIGKILL)
        return await super().change(tenant, name, rule)


async def main(database_url: str, redis_url: str, *, deadly: bool) -> None:
    directory = Path(make_url(database_url).database or "").parent
    settings = GatewaySettings(
        redis_url=redis_url,
        database_url=database_url,
        blob_dir=directory / "blobs",
        policy_dir=Path(__file__).parents[2] / "policies",
        secrets_key_file=directory / "secrets.key",
    )
    async with build_services(settings) as services:
        await fire(services, deadly=deadly)


async def fire(services: Services, *, deadly: bool) -> None:
    catalog = services.catalog
    assert isinstance(catalog, SqlCatalog)
    if deadly:
        services = replace(services, schedules=DeadlyStore(catalog._engine, catalog._writer))
    sys.stdout.write("begins\n")
    sys.stdout.flush()
    await ScheduleLoop(services, FunctionResolver(catalog, 1)).run()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], deadly=sys.argv[3:] == ["kill"]))
