"""The keys of CI jobs in an SQL database."""

from sqlalchemy import delete

from stockade.core.api_keys import ApiKey
from stockade.core.principals import Kind
from stockade.core.workloads import UsedToken
from stockade.infra.catalog_values import check_storable, key_taken
from stockade.infra.sql import sql_queries as queries
from stockade.infra.sql.sql_keys import SqlKeyStore, key_row
from stockade.infra.sql.sql_schema import api_keys
from stockade.infra.sql.sql_tables_workloads import used_tokens


class SqlWorkloadStore(SqlKeyStore):
    """The `WorkloadStore` port through SQLAlchemy, beside the keys that people make."""

    async def admit_workload(self, token: UsedToken, key: ApiKey) -> bool:
        """Stores the key and remembers the token in one step; False when the token was used."""
        check_storable(key.id, key.tenant, key.name, key.subject, key.created_ms, key.expires_ms)
        check_storable(token.expires_ms)
        mark = {"hash": token.hash, "expires_ms": token.expires_ms}
        async with self._writer.writing(key.tenant) as connection:
            if not await queries.add(connection, used_tokens, **mark):
                return False
            if not await queries.add(connection, api_keys, **key_row(key)):
                raise key_taken(key.id)
            return True

    async def sweep_workloads(self, before_ms: int) -> int:
        """Deletes keys of jobs, and tokens, that ended before this; how many keys there were."""
        check_storable(before_ms)
        ended = (api_keys.c.kind == Kind.WORKLOAD, api_keys.c.expires_ms < before_ms)
        async with self._writer.writing() as connection:
            await connection.execute(
                delete(used_tokens).where(used_tokens.c.expires_ms < before_ms)
            )
            return (await connection.execute(delete(api_keys).where(*ended))).rowcount
