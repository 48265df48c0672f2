"""Queues dead letters again: one by its id, or all that a tenant has."""

from gateway.services import Services
from stockade.core.errors import StockadeError, not_found


async def redrive(services: Services, tenant: str, invocation_id: str) -> None:
    """Queues one again.

    Raises:
        StockadeError: `invocation.not_found` or `invocation.not_dead`.
    """
    done = await services.queue.redrive(tenant, invocation_id)
    if done is None:
        raise not_found("invocation", invocation_id)
    if not done:
        raise StockadeError(
            "invocation.not_dead",
            "Only an invocation that failed for good can be redriven: trapped, limit_exceeded,"
            " crashed, lost or expired.",
        )


async def redrive_all(services: Services, tenant: str, most: int) -> list[str]:
    """Queues up to so many again, newest first, and returns their ids."""
    found = await services.queue.dead_letters(tenant, most)
    return [one.id for one in found if await services.queue.redrive(tenant, one.id)]
