"""From totals that others keep to what came since the last look."""


class Growth:
    """Remembers totals by name. One that fell began anew: then all of it is new."""

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}

    def of(self, name: str, total: int) -> int:
        """How much more than at the last look."""
        seen = self._seen.get(name, 0)
        self._seen[name] = total
        return total - seen if total >= seen else total
