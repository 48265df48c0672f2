"""The names of all keys of the queue, in one place.

Every key begins with `sk:{pNN}:`. The braces are a cluster's hash tag, so all keys of a partition
share one slot and one script may touch them all. What a user names stands last in its key, or
before a fixed-length hash, so that no tenant name or id can make two keys equal.
"""

import hashlib
import zlib

GROUP = b"workers"


def partition_of(tenant: str, partitions: int) -> int:
    """The partition that holds everything of this tenant."""
    return zlib.crc32(tenant.encode(errors="surrogatepass")) % partitions


class RedisKeys:
    """The keys of one partition that Python names; scripts derive the rest from `prefix`."""

    def __init__(self, partition: int = 0) -> None:
        self.prefix = f"sk:{{p{partition:02d}}}:"
        self.ready = self.prefix + "ready"
        self.cancels = self.prefix + "cancels"
        self.uploads = self.prefix + "uploads"
        self.changes = self.prefix + "changes"
        self.upstream_news = self.prefix + "upstream-news"
        self.history = self.prefix + "history"
        self.missed = self.prefix + "history:missed"
        self.aside = self.prefix + "history:aside"
        self.partitions = self.prefix + "partitions"
        self.workers = self.prefix + "workers"

    def record(self, invocation_id: str) -> str:
        """The hash that is the invocation's record."""
        return f"{self.prefix}inv:{invocation_id}"

    def report(self, worker: str) -> str:
        """What a worker said of itself last."""
        return f"{self.prefix}report:{worker}"

    def live(self, invocation_id: str) -> str:
        """The stream of what the invocation says."""
        return f"{self.prefix}live:{invocation_id}"

    def reply(self, gateway: str) -> str:
        """The stream of hints for one gateway."""
        return f"{self.prefix}reply:{gateway}"


def idempotency_name(key: str) -> str:
    """A hash that stands for a caller's idempotency key, whatever its length and characters."""
    return hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()
