"""Reads JSON answers strictly by type and tolerantly by name, so that new fields break nothing."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

_Value = TypeVar("_Value")


class UnexpectedAnswer(Exception):
    """The answer is no Stockade gateway's; something else may stand in between."""


class Fields:
    """One JSON object of an answer.

    Args:
        value: What was decoded; anything but an object is refused.

    Raises:
        UnexpectedAnswer: Here and in every method, when the answer has another shape.
    """

    def __init__(self, value: object) -> None:
        if not isinstance(value, Mapping):
            raise UnexpectedAnswer("an object was expected")
        self._values: Mapping[str, object] = value

    def text(self, name: str) -> str:
        """A string that must be there."""
        return _checked(self._values.get(name), str, name)

    def maybe_text(self, name: str) -> str | None:
        """A string, or None when absent or null."""
        return _maybe(self._values.get(name), str, name)

    def count(self, name: str) -> int:
        """A whole number that must be there."""
        return _checked(self._values.get(name), int, name)

    def maybe_count(self, name: str) -> int | None:
        """A whole number, or None when absent or null."""
        return _maybe(self._values.get(name), int, name)

    def number(self, name: str) -> float:
        """A number, 0 when absent."""
        value = self._values.get(name, 0)
        return value if isinstance(value, int) else _checked(value, float, name)

    def maybe_number(self, name: str) -> float | None:
        """A number, or None when absent or null."""
        return None if self._values.get(name) is None else self.number(name)

    def flag(self, name: str) -> bool:
        """A boolean, False when absent."""
        return _checked(self._values.get(name, False), bool, name)

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of strings, empty when absent."""
        return tuple(_checked(item, str, name) for item in self._items(name))

    def objects(self, name: str) -> tuple["Fields", ...]:
        """A list of objects, empty when absent."""
        return tuple(Fields(item) for item in self._items(name))

    def nested(self, name: str) -> "Fields":
        """An object, empty when absent or null."""
        return Fields(self._values.get(name) or {})

    def pairs(self, name: str, read: Callable[["Fields", str], _Value]) -> dict[str, _Value]:
        """An object whose values are all of one kind, such as limits."""
        nested = self.nested(name)
        return {key: read(nested, key) for key in nested.names()}

    def names(self) -> Sequence[str]:
        """The names of all fields."""
        return tuple(self._values)

    def rest(self, *known: str) -> dict[str, object]:
        """Every field but these."""
        return {name: value for name, value in self._values.items() if name not in known}

    def _items(self, name: str) -> list[object]:
        return _checked(self._values.get(name, []), list, name)


def _checked(value: object, kind: type[_Value], name: str) -> _Value:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise UnexpectedAnswer(f"the field {name!r} is missing or no {kind.__name__}")
    return value


def _maybe(value: object, kind: type[_Value], name: str) -> _Value | None:
    return None if value is None else _checked(value, kind, name)
