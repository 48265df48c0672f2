"""Which of endlessly many names get a label of their own: the busiest, within a bound."""

from collections.abc import Hashable, Sequence
from typing import Generic, TypeVar

Name = TypeVar("Name", bound=Hashable)
_COUNTED_FOR_EACH_NAMED = 8
_AHEAD = 2


class TopNames(Generic[Name]):
    """The busiest names of late; what is kept is bounded however many there are.

    A name that comes while there is room is named at once. Later ones are, at a `review`, when they
    were noted more than twice as often as the least busy of those that are, which gives way.
    Counts are approximate (Misra and Gries, Finding repeated elements, 1982) and halved at each
    review, so that they are about the last few of them.

    Args:
        most: How many names are named at once; none for 0.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._room = most * _COUNTED_FOR_EACH_NAMED
        self._counts: dict[Name, int] = {}
        self._named: set[Name] = set()

    def note(self, name: Name) -> bool:
        """Counts a name; whether it is one of those that are named."""
        count = self._counts.get(name)
        if count is not None:
            self._counts[name] = count + 1
            return name in self._named
        if len(self._counts) >= self._room:
            self._decrement()
            return False
        self._counts[name] = 1
        if len(self._named) >= self._most:
            return False
        self._named.add(name)
        return True

    def review(self) -> Sequence[Name]:
        """Lets busier names take the places of idler ones; those that lost theirs."""
        dropped = []
        others = [name for name in self._counts if name not in self._named]
        for busy in sorted(others, key=self._counts.__getitem__, reverse=True):
            least = min(self._named, key=self._counts.__getitem__)
            if self._counts[busy] <= _AHEAD * self._counts[least]:
                break
            self._named.remove(least)
            self._named.add(busy)
            dropped.append(least)
        self._keep({name: count // 2 for name, count in self._counts.items()})
        return dropped

    def _decrement(self) -> None:
        # Each costs as many steps as counts that earlier ones put in: constant on the average.
        self._keep({name: max(0, count - 1) for name, count in self._counts.items()})

    def _keep(self, counts: dict[Name, int]) -> None:
        named = self._named
        self._counts = {name: count for name, count in counts.items() if count or name in named}
