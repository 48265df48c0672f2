"""How many may hold a connection open for long at once: all together, and of one tenant."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from stockade.core.errors import StockadeError

_TENANTS_SHARE = 4
TOO_MANY_LISTENERS = StockadeError(
    "events.too_many_listeners",
    "As many listen to events here as may. Try again later, or ask for the record.",
    retryable=True,
)


class Listeners:
    """Places for `most`, of which one tenant gets a quarter: each holds a connection open.

    Args:
        most: How many, of all tenants.
        refusal: What becomes of more.
    """

    def __init__(self, most: int, refusal: StockadeError = TOO_MANY_LISTENERS) -> None:
        self._most = most
        self._refusal = refusal
        self._listening: Counter[str] = Counter()

    @property
    def count(self) -> int:
        """How many listen."""
        return self._listening.total()

    @contextmanager
    def listening(self, tenant: str) -> Iterator[None]:
        """Takes a place inside.

        Raises:
            StockadeError: The refusal, such as `events.too_many_listeners`.
        """
        own = self._listening[tenant]
        if own >= max(1, self._most // _TENANTS_SHARE) or self.count >= self._most:
            refusal = self._refusal
            raise StockadeError(refusal.code, refusal.message, retryable=refusal.retryable)
        self._listening[tenant] += 1
        try:
            yield
        finally:
            self._listening[tenant] -= 1
            if not self._listening[tenant]:
                del self._listening[tenant]
