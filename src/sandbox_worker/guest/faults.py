"""How a run ends early. Raised by host functions, turned into a value by the runner."""


class GuestFault(Exception):
    """The guest broke the ABI: a wrong pointer, length or text. It traps; the host is unharmed."""


class LimitHit(Exception):
    """A bound of the run was passed; `limit` names it."""

    def __init__(self, limit: str) -> None:
        super().__init__(limit)
        self.limit = limit
