"""Opens the queue over as many partitions as the installation has."""

from stockade.core.durability import Durability
from stockade.core.errors import StockadeError
from stockade.infra.queue_settings import QueueSettings
from stockade.infra.redis.partitioned_queue import PartitionedInvocationQueue
from stockade.infra.redis.redis_connection import OnAnswer, RedisConnections, nobody_listens
from stockade.infra.redis.redis_history import RedisHistoryFeed
from stockade.infra.redis.redis_keys import RedisKeys
from stockade.infra.redis.redis_queue import RedisInvocationQueue


class RedisPartitions:
    """Connections for each partition, since a cluster may have each at another node.

    Args:
        url: See `RedisAddresses`.
        count: How many partitions there are.
        durability: What acknowledgements wait for.
        replicas: How many replicas must have it, where replicas are asked for.
        on_answer: See `RedisConnections`.
    """

    def __init__(
        self,
        url: str,
        count: int = 1,
        durability: Durability = Durability.MEMORY,
        replicas: int = 1,
        on_answer: OnAnswer = nobody_listens,
    ) -> None:
        self.connections = [
            RedisConnections(url, durability=durability, replicas=replicas, on_answer=on_answer)
            for _ in range(count)
        ]

    async def check(self) -> None:
        """Asks the server whether it keeps promises, and has as many partitions as we think.

        A server that is away is not asked.

        Raises:
            StockadeError: `queue.not_durable` or `config.partitions_mismatch`.
        """
        first, count = self.connections[0], len(self.connections)
        await first.check_durability()
        key = RedisKeys().partitions
        try:
            await first.call("SET", key, count, "NX")
            found = int(await first.call("GET", key))
        except StockadeError:
            return
        if found != count:
            raise StockadeError(
                "config.partitions_mismatch",
                f"The queue has {found} partitions, and this process is to use {count}: it would"
                f" look for tenants in the wrong ones. Set STOCKADE_PARTITIONS={found}.",
            )

    def queue(
        self, settings: QueueSettings, *, gateway: str = "", consumer: str = ""
    ) -> RedisInvocationQueue | PartitionedInvocationQueue:
        """One process's queue over all partitions; it closes the connections."""
        queues = [
            RedisInvocationQueue(
                connections,
                gateway=gateway,
                consumer=consumer,
                settings=settings,
                partition=partition,
            )
            for partition, connections in enumerate(self.connections)
        ]
        return queues[0] if len(queues) == 1 else PartitionedInvocationQueue(queues)

    def history_feeds(self, settings: QueueSettings, recorder: str) -> list[RedisHistoryFeed]:
        """A recorder's feeds of all partitions, over the queue's connections."""
        return [
            RedisHistoryFeed(connections, RedisKeys(partition), recorder, settings)
            for partition, connections in enumerate(self.connections)
        ]
