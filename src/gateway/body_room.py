"""The memory that bodies under way may take: all together, and those of one tenant."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from stockade.core.errors import StockadeError

_TENANTS_SHARE = 4
Take = Callable[[int], None]


class BodyRoom:
    """Room for `total_bytes`, of which one tenant gets a quarter: none shuts the others out.

    Each body has a bound of its own (`bodies`); without this one, many at once would fill the
    memory.
    """

    def __init__(self, total_bytes: int) -> None:
        self._total_bytes = total_bytes
        self._taken: Counter[str] = Counter()

    @contextmanager
    def holding(self, tenant: str) -> Iterator[Take]:
        """Gives what takes room for so many more bytes; all of it is free again at the end.

        Raises:
            StockadeError: `request.no_room`, from the taking.
        """
        held = 0

        def take(size_bytes: int) -> None:
            nonlocal held
            self._check(tenant, size_bytes)
            held += size_bytes
            self._taken[tenant] += size_bytes

        try:
            yield take
        finally:
            self._taken[tenant] -= held
            if not self._taken[tenant]:
                del self._taken[tenant]

    def _check(self, tenant: str, size_bytes: int) -> None:
        own, all_taken = self._taken[tenant] + size_bytes, self._taken.total() + size_bytes
        if own > self._total_bytes // _TENANTS_SHARE or all_taken > self._total_bytes:
            raise StockadeError(
                "request.no_room",
                "The gateway holds as many bytes of requests as it may. Try again later.",
                retryable=True,
            )
