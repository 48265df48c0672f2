"""A gateway over an SQL catalog that dies, by SIGKILL, between an action and the entry of its end.

Usage: python killed_gateway.py DATABASE_URL; needs nothing else that runs.
"""

import asyncio
import os
import signal
import sys

from stockade.infra.sql.sql_catalog import SqlCatalog
from tests.unit.gateway.installation import installed
from tests.unit.stockade.core.audit_chains import SIGNER


async def main(database_url: str) -> None:
    sql = await SqlCatalog.open(database_url)
    await sql.ensure_tenant("alice")
    async with installed(audit=sql.audit_log(SIGNER)) as gateway:

        async def put_and_die(tenant: str, name: str, sealed: bytes, now_ms: int) -> bool:
            await sql.put_secret(tenant, name, sealed, now_ms)
            os.kill(os.getpid(), signal.SIGKILL)
            return True

        assert (await gateway.http.put("/v1/secrets/first", content=b"x")).status_code == 201
        gateway.catalog.put_secret = put_and_die  # type: ignore[method-assign]
        await gateway.http.put("/v1/secrets/second", content=b"x")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
