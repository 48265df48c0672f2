"""What changed in the catalog, told to the other processes, so that they ask anew.

A process remembers what the catalog said for some seconds (`docs/reference/consistency.md`). What
it hears here shortens that to the moment; what it does not hear costs nothing but those seconds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class ChangeKind(StrEnum):
    """Of what something changed; `name` of a `CatalogChange` says which one."""

    KEY = "key"
    """An API key, by its id."""
    FUNCTION = "function"
    """A function's versions or aliases, by its name."""
    TRUST = "trust"
    """A tenant's signers, modules, or what its functions ask of signers."""
    ANYTHING = "anything"
    """Some announcements may have been missed: of whatever there is."""


@dataclass(frozen=True, slots=True)
class CatalogChange:
    """One announcement; without a name it is about all of this kind that the tenant has."""

    kind: ChangeKind
    tenant: str = ""
    name: str = ""


ANYTHING = CatalogChange(ChangeKind.ANYTHING)


class CatalogChanges(Protocol):
    """Announcements from process to process: hints, whose loss is no error."""

    async def announce(self, change: CatalogChange) -> None:
        """Tells the other processes; called when the change is in the catalog."""

    async def hear(self, timeout_seconds: float) -> Sequence[CatalogChange]:
        """What was announced since the last time, waiting for the first up to the timeout.

        The first time, and after it failed, it is `ANYTHING`, at once.

        Raises:
            StockadeError: `queue.unavailable`.
        """
