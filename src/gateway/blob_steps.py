"""What is done to blobs inside a transaction of the catalog, for which others may wait."""

import asyncio
from collections.abc import Awaitable

from stockade.core.errors import StockadeError

STEP_SECONDS = 4.0
"""Less than writers wait for each other (`SqlCatalog.open`): a slow store holds nobody up."""


async def within(step: Awaitable[bool], seconds: float = STEP_SECONDS) -> bool:
    """The step's answer, when it comes in time.

    Raises:
        StockadeError: `blobs.unavailable`, or what the step raises.
    """
    try:
        async with asyncio.timeout(seconds):
            return await step
    except TimeoutError as error:
        raise StockadeError(
            "blobs.unavailable", "The blob store does not answer; try again.", retryable=True
        ) from error
