"""How a process traces, as its settings say it."""

from dataclasses import dataclass, field

from stockade.core.spans import TraceBounds


@dataclass(frozen=True, slots=True)
class TraceOptions:
    """Whether and how much is recorded, and what is kept of it beside the records."""

    on: bool = True
    ratio: float = 1.0
    bounds: TraceBounds = field(default_factory=TraceBounds)
