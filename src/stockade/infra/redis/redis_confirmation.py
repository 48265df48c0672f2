"""How a server confirms that what was written is durable.

Source: https://valkey.io/commands/waitaof/
"""

from stockade.core.durability import Durability
from stockade.core.errors import StockadeError

Confirmation = tuple[str, int, int, int]
"""`WAITAOF`, how many local and replicas' disks must have it, and for how many ms to wait."""


class UnconfirmedError(Exception):
    """Writes were carried out, and are not known to be as durable as they must be."""


def confirmation_of(durability: Durability, replicas: int, wait_ms: int) -> Confirmation | None:
    """The command that answers once the writes before it are that durable."""
    match durability:
        case Durability.FSYNC:
            return ("WAITAOF", 1, 0, wait_ms)
        case Durability.REPLICATED:
            return ("WAITAOF", 1, replicas, wait_ms)
        case Durability.MEMORY:
            return None


def check_confirmed(asked: Confirmation, told: object) -> None:
    """Compares what was confirmed, as `[local, replicas]`, with what was asked.

    Raises:
        UnconfirmedError: Too few disks have it. The write may be sent again.
    """
    _, local, replicas, _ = asked
    match told:
        case [int(on_disk), int(on_replicas)] if on_disk >= local and on_replicas >= replicas:
            return
    raise UnconfirmedError


def not_durable() -> StockadeError:
    """The server cannot keep the promise, whatever is tried."""
    return StockadeError(
        "queue.not_durable",
        "The queue's server keeps no append-only file, so nothing can be acknowledged. Set"
        " 'appendonly yes' there, or ask for less by STOCKADE_DURABILITY=memory.",
    )
