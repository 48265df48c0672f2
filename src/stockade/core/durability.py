"""What an acknowledgement waits for."""

from enum import StrEnum


class Durability(StrEnum):
    """How much may fail at once without an acknowledged submission being lost."""

    FSYNC = "fsync"
    """Any process: the write is on the disk of the queue's server."""
    REPLICATED = "replicated"
    """The server's machine as well: the write is on the disks of replicas too."""
    MEMORY = "memory"
    """No more than gateways and workers: the server has the write in memory."""
