"""From totals that others keep to what came since the last look."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass


class Growth:
    """Remembers totals by name. One that fell began anew: then all of it is new."""

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}

    def of(self, name: str, total: int) -> int:
        """How much more than at the last look."""
        seen = self._seen.get(name, 0)
        self._seen[name] = total
        return total - seen if total >= seen else total


def drops_of(sink: object) -> Mapping[str, int]:
    """What a sink says in `counts.dropped_…` that it dropped, by reason; nothing if it is mute."""
    counts = getattr(sink, "counts", None)
    if counts is None or not is_dataclass(counts):
        return {}
    start = "dropped_"
    names = [field.name for field in fields(counts) if field.name.startswith(start)]
    return {name.removeprefix(start): getattr(counts, name) for name in names}
