"""What is being worked on, so that every line of a process's log can say it.

A task says it once, and the lines of that task and of those it starts bear it: the invocation and
its attempt, the tenant, the trace. Names and numbers only; an input or a secret has no place here.
"""

import re
from contextvars import ContextVar
from dataclasses import dataclass

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}.*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Work:
    """What one task works on; what is not known is empty, or 0."""

    tenant: str = ""
    invocation: str = ""
    attempt: int = 0
    traceparent: str = ""

    @property
    def fields(self) -> dict[str, str | int]:
        """What a line of the log says of it."""
        found = _TRACEPARENT.fullmatch(self.traceparent)
        told: dict[str, str | int] = {
            "tenant": self.tenant,
            "invocation": self.invocation,
            "attempt": self.attempt,
            "trace_id": found[1] if found else "",
        }
        return {name: value for name, value in told.items() if value}


_NOTHING = Work()
_work: ContextVar[Work] = ContextVar("work", default=_NOTHING)


def works_on(work: Work) -> None:
    """Says what the current task works on from here."""
    _work.set(work)


def current_work() -> Work:
    """What the current task works on."""
    return _work.get()
