"""Where the server is: one of several addresses, and wherever a cluster says."""

from collections import deque
from urllib.parse import urlsplit, urlunsplit

from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MovedError

ERRORS = "surrogatepass"
"""Hostile names may hold lone surrogates; they must be absent, not an error."""


class RedisAddresses:
    """Makes connections to the node that serves us, as far as is known.

    Args:
        url: `redis://[USER:PASSWORD@]HOST:PORT[,HOST:PORT…]/DB`, likewise `rediss://`, or
            `unix://…`. Several addresses are a primary and its replicas, whichever is which at the
            moment, or some nodes of a cluster.
        connect_seconds: A node that does not answer within this is not there.
    """

    def __init__(self, url: str, connect_seconds: float) -> None:
        parts = urlsplit(url)
        before, at, hosts = parts.netloc.rpartition("@")
        each = [urlunsplit(parts._replace(netloc=before + at + host)) for host in hosts.split(",")]
        pools = [
            ConnectionPool.from_url(
                one,
                protocol=2,
                encoding_errors=ERRORS,
                socket_timeout=None,
                socket_connect_timeout=connect_seconds,
                retry=Retry(NoBackoff(), 0),
            )
            for one in each
        ]
        self._kind = pools[0].connection_class
        self._known = deque(pool.connection_kwargs for pool in pools)
        self._at = self._known[0]

    def connection(self) -> AbstractConnection:
        """A new connection to where the server is thought to be."""
        return self._kind(**self._at)

    async def check(self, connection: AbstractConnection) -> None:
        """Opens a new connection; among several addresses, only a primary will do.

        Raises:
            RedisConnectionError: It is a replica.
        """
        if len(self._known) == 1:
            return
        await connection.send_command("ROLE")
        role = await connection.read_response(disable_decoding=True)
        if role[0] != b"master":
            raise RedisConnectionError("This server is a replica.")

    def turn(self) -> None:
        """What was thought is wrong: the next address, from now on."""
        self._known.rotate(-1)
        self._at = self._known[0]

    def follow(self, moved: MovedError) -> None:
        """Goes where a node of the cluster says that the keys are."""
        self._at = self._at | {"host": moved.host or self._at["host"], "port": moved.port}
