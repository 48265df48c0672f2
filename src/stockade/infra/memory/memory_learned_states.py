"""`LearnedStates` in memory, for tests: the rules of Redis, gone with the process."""

from collections.abc import Sequence
from dataclasses import dataclass

from stockade.core.learned_states import KEPT_MS, MOST_SCOPES, LearnedState, Scope, StateWrite
from stockade.core.ports import Clock
from stockade.infra.learned_values import packed, unpacked


@dataclass(slots=True)
class _Kept:
    revision: int = 0
    state: bytes = b""
    token: str = ""
    frozen: bool = False
    aside: bool = False
    written_ms: int = 0


class MemoryLearnedStates:
    """See `LearnedStates`."""

    def __init__(
        self, clock: Clock, kept_ms: int = KEPT_MS, most_scopes: int = MOST_SCOPES
    ) -> None:
        self._clock = clock
        self._kept_ms, self._most_scopes = kept_ms, most_scopes
        self._kept: dict[Scope, _Kept] = {}
        self.put_away: dict[Scope, bytes] = {}

    async def aclose(self) -> None:
        """Nothing to close."""

    async def load(self, scopes: Sequence[Scope]) -> list[LearnedState | None]:
        """The states, in the order of the scopes."""
        return [self._load(scope) for scope in scopes]

    async def swap(self, writes: Sequence[StateWrite]) -> list[bool | None]:
        """Keeps each state whose scope nobody else wrote meanwhile; whether it did."""
        return [self._swap(write) for write in writes]

    async def set_aside(self, scope: Scope, revision: int) -> bool | None:
        """Puts away what could not be read, if it is still there; the scope begins anew."""
        found = self._found(scope)
        if scope not in self._kept or found.revision != revision:
            return False
        self.put_away[scope] = found.state
        self._kept[scope] = _Kept(revision + 1, frozen=found.frozen, aside=True)
        self._touch(scope)
        return True

    async def freeze(self, scope: Scope, *, frozen: bool) -> bool | None:
        """Keeps a scope as it is, or no more; of a tenant all of its scopes."""
        if frozen or scope in self._kept:
            kept = self._kept[scope] = self._found(scope)
            kept.frozen = frozen
            self._touch(scope)
        if self._found(scope) == _Kept(written_ms=self._found(scope).written_ms):
            self._kept.pop(scope, None)
        return True

    async def scopes(self, tenant: str) -> list[Scope] | None:
        """The scopes of a tenant that were written or frozen, in order."""
        return sorted(scope for scope in list(self._kept) if self._is_of(scope, tenant))

    def _load(self, scope: Scope) -> LearnedState:
        found = self._found(scope)
        frozen = found.frozen or (len(scope) > 1 and self._found(scope[:1]).frozen)
        state = unpacked(found.state) if found.state else None
        return LearnedState(found.revision, state, frozen, found.aside, found.token)

    def _swap(self, write: StateWrite) -> bool:
        found = self._found(write.scope)
        if found.revision == write.revision + 1 and found.token == write.token:
            return True
        if found.revision != write.revision:
            return False
        self._kept[write.scope] = _Kept(
            write.revision + 1, packed(write.state), write.token, found.frozen, write.aside
        )
        self._touch(write.scope)
        self._bound(write.scope[:1])
        return True

    def _bound(self, tenant: Scope) -> None:
        own = [scope for scope in self._kept if scope[:1] == tenant]
        own.sort(key=lambda scope: (self._kept[scope].frozen, self._kept[scope].written_ms))
        for scope in own[: max(0, len(own) - self._most_scopes)]:
            del self._kept[scope]

    def _found(self, scope: Scope) -> _Kept:
        kept = self._kept.get(scope)
        ended = self._clock.now_ms() - self._kept_ms
        if kept is not None and not kept.frozen and kept.written_ms <= ended:
            del self._kept[scope]
            kept = None
        return kept or _Kept()

    def _touch(self, scope: Scope) -> None:
        self._kept[scope].written_ms = self._clock.now_ms()

    def _is_of(self, scope: Scope, tenant: str) -> bool:
        return scope[:1] == (tenant,) and self._found(scope) != _Kept()
