"""Either the first refusal ends everything, or all of them are gathered."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from stockade.core.errors import StockadeError

_Value = TypeVar("_Value")


class Refusals:
    """Makes checks.

    Args:
        gather: Keeps refusals in `found`, and goes on with what stands in for the value that was
            refused. What may pass if it is tried again is raised all the same.
    """

    def __init__(self, *, gather: bool) -> None:
        self._gather = gather
        self.found: list[StockadeError] = []

    def of(self, check: Callable[[], _Value], otherwise: _Value) -> _Value:
        """What the check returns, or what stands in for it."""
        try:
            return check()
        except StockadeError as error:
            self._keep(error)
            return otherwise

    async def looking(self, look: Awaitable[_Value], otherwise: _Value) -> _Value:
        """The same for a check that has to look something up."""
        try:
            return await look
        except StockadeError as error:
            self._keep(error)
            return otherwise

    def _keep(self, error: StockadeError) -> None:
        if error.retryable or not self._gather:
            raise error
        self.found.append(error)
