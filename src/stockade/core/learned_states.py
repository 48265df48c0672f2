"""What workers learned of retries, kept where all of them find it: one small state for each scope.

The states are plain forms that `stockade.retry.state` reads; nothing here knows what they mean.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

Scope = tuple[str, ...]
"""`()` is the platform, `(tenant,)`, `(tenant, function, version)`, `(tenant, "", upstream)`."""

DAY_MS = 24 * 3_600_000
KEPT_MS = 30 * DAY_MS
"""How long a state stays that nobody writes; a frozen one stays for good."""
ASIDE_MS = 7 * DAY_MS
"""How long one that could not be read is kept for whoever wants to know why."""
MOST_SCOPES = 10_000
"""Of one tenant; the longest unwritten that is not frozen goes first."""
MAX_STATE_BYTES = 8192
"""A tenant's; a function version's has a kilobyte."""


@dataclass(frozen=True, slots=True)
class LearnedState:
    """A scope as it is kept. What is no plain form at all comes as the bytes that were found.

    `state` is None where nothing is known. `frozen` if the scope or its tenant is. `aside`: what
    was known could not be read, and was set aside. `token` names the write that made it.
    """

    revision: int = 0
    state: object = None
    frozen: bool = False
    aside: bool = False
    token: str = ""


@dataclass(frozen=True, slots=True)
class StateWrite:
    """A scope's next state, to be kept if its revision still is this one."""

    scope: Scope
    revision: int
    state: object
    token: str
    aside: bool = False


class LearnedStates(Protocol):
    """The states of all scopes, a tenant's all in one place, which may be away while others serve.

    Nothing here raises because a place is away: the answer is None.
    """

    async def load(self, scopes: Sequence[Scope]) -> list[LearnedState | None]:
        """The states, in the order of the scopes."""

    async def swap(self, writes: Sequence[StateWrite]) -> list[bool | None]:
        """Keeps each state whose scope nobody else wrote meanwhile; whether it did.

        A write whose token is that of the state which is there was made already. With None it may
        have been made, or not.
        """

    async def set_aside(self, scope: Scope, revision: int) -> bool | None:
        """Puts away what could not be read, if it is still there; the scope begins anew."""

    async def freeze(self, scope: Scope, *, frozen: bool) -> bool | None:
        """Keeps a scope as it is, or no more; of a tenant all of its scopes."""

    async def scopes(self, tenant: str) -> list[Scope] | None:
        """The scopes of a tenant that were written or frozen, in order."""
