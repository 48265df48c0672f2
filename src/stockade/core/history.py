"""The history: runs that ended, their attempts, and what they cost, kept longer than records are.

A *run* is an invocation from its submission, or its last redrive, to its outcome. A record says all
that the history keeps of it, and only ever says more: so the history takes over whole records, as
often as it likes, and counts a row when it was not there before. Money is reckoned in whole numbers
alone, made of each attempt by one rule (`stockade.core.history_rows`): sums are those of attempts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from operator import add, attrgetter
from typing import Protocol

from stockade.core.limits import Limits
from stockade.core.outcomes import Attempt, Outcome

DAY_MS = 24 * 3600 * 1000


@dataclass(frozen=True, slots=True)
class Amounts:
    """What attempts cost, in whole numbers that add up.

    `memory_kib_ms` is peak memory in KiB times wall time in milliseconds, to the nearest whole one
    of each attempt; 976,562,500 of them are a GB-second (10^9 bytes).
    """

    fuel: int = 0
    memory_kib_ms: int = 0
    wall_us: int = 0
    queue_us: int = 0
    input_bytes: int = 0
    output_bytes: int = 0
    log_bytes: int = 0
    host_calls: int = 0

    def __add__(self, other: "Amounts") -> "Amounts":
        """The sum, each for itself."""
        return Amounts(*map(add, _amounts_in(self), _amounts_in(other)))


AMOUNTS = tuple(one.name for one in fields(Amounts))
_amounts_in = attrgetter(*AMOUNTS)


@dataclass(frozen=True, slots=True)
class EarlierEnd:
    """How a run ended before it was redriven; `attempts_count` are all attempts up to there."""

    outcome: Outcome
    finished_ms: int
    attempts_count: int
    redriven_ms: int
    limit: str | None = None
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class InvocationHistory:
    """What a record says about the past. `outcome` and `finished_ms` are set when it is done.

    `module` is the digest; `trace_id` is empty without a trace.
    """

    tenant: str
    id: str
    function: str
    version: int
    module: str
    submitted_ms: int
    trace_id: str = ""
    attempts: tuple[Attempt, ...] = ()
    earlier: tuple[EarlierEnd, ...] = ()
    outcome: Outcome | None = None
    finished_ms: int | None = None
    limit: str | None = None
    detail: str | None = None
    started_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """A run that ended. `redrive` counts from 0; `attempts` is how many this run took.

    `started_ms` is the first attempt's beginning, where it is known. Times are Unix milliseconds.
    """

    tenant: str
    invocation: str
    redrive: int
    function: str
    version: int
    module: str
    outcome: Outcome
    limit: str | None
    detail: str | None
    submitted_ms: int
    started_ms: int | None
    finished_ms: int
    attempts: int
    peak_memory_bytes: int
    amounts: Amounts
    trace_id: str


@dataclass(frozen=True, slots=True)
class PastAttempt:
    """An attempt that ended: the `position`-th (from 1) of its invocation, in this run of it.

    `code` is the reason's class, empty where nothing was decided.
    """

    tenant: str
    invocation: str
    position: int
    redrive: int
    function: str
    number: int
    outcome: Outcome
    code: str
    reason: str
    limit: str | None
    detail: str | None
    policy: str
    success: float | None
    limits: Limits | None
    ended_ms: int
    peak_memory_bytes: int
    amounts: Amounts


@dataclass(frozen=True, slots=True)
class UsageDay:
    """What a tenant's function used on a UTC day (`day` counts from 1970-01-01).

    A run counts on the day it ended, an attempt and its cost on the day the attempt ended.
    """

    tenant: str
    function: str
    day: int
    runs: Mapping[Outcome, int] = field(default_factory=dict)
    attempts: int = 0
    amounts: Amounts = field(default_factory=Amounts)


RunPlace = tuple[int, str, int]
"""Where a run stands in a list: when it ended, its invocation, its redrive."""
UsagePlace = tuple[int, str]
"""Where usage stands in a list: its day, its function."""


@dataclass(frozen=True, slots=True)
class RunQuery:
    """Which runs, newest end first, or oldest. Empty texts and None leave open.

    `after` is the place that the list goes on behind.
    """

    function: str = ""
    version: int | None = None
    outcome: Outcome | None = None
    limit: str = ""
    since_ms: int | None = None
    until_ms: int | None = None
    after: RunPlace | None = None
    most: int = 100
    oldest_first: bool = False


@dataclass(frozen=True, slots=True)
class UsageQuery:
    """Which usage, newest day first, functions by name; both days count."""

    function: str = ""
    first_day: int | None = None
    last_day: int | None = None
    after: UsagePlace | None = None
    most: int = 100


@dataclass(frozen=True, slots=True)
class Recorded:
    """How many rows were new."""

    runs: int = 0
    attempts: int = 0


class HistoryStore(Protocol):
    """Runs, attempts and usage. Every question is about one tenant."""

    async def record(self, histories: Sequence[InvocationHistory]) -> Recorded:
        """Takes over what is new in them, and counts it, in one step; twice is no harm.

        Raises:
            StockadeError: `catalog.value_invalid` when one of them can never be kept: none was.
        """

    async def runs(self, tenant: str, query: RunQuery) -> Sequence[Run]:
        """Runs that the query asks for."""

    async def runs_of(self, tenant: str, invocation: str) -> Sequence[Run]:
        """All runs of an invocation, the first one first."""

    async def attempts_of(
        self, tenant: str, invocations: Sequence[str]
    ) -> Mapping[str, Sequence[PastAttempt]]:
        """The attempts of these invocations by their ids, the first one first."""

    async def usage(self, tenant: str, query: UsageQuery) -> Sequence[UsageDay]:
        """Usage that the query asks for."""

    async def prune(self, before_ms: int, most: int) -> int:
        """Deletes runs and attempts that ended before this time; how many, about `most` at once.

        What is older is never recorded again, so that nothing counts twice: time never goes back.
        """

    async def prune_usage(self, before_day: int, most: int) -> int:
        """Deletes usage of days before this one; how many, about `most` at once."""


@dataclass(frozen=True, slots=True)
class FeedEntry:
    """A word that a record says something new; `handle` is the feed's own."""

    handle: str
    invocation: str


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A record that nobody can read; `why` names the fault, not what stands there."""

    invocation: str
    why: str


@dataclass(frozen=True, slots=True)
class WalkStep:
    """Part of a walk over all records; `cursor` is empty at its end."""

    cursor: str
    histories: Sequence[InvocationHistory | Unreadable]


@dataclass(frozen=True, slots=True)
class FeedStatus:
    """What waits: how many entries and since when (None: nothing); how many were set aside.

    `missed` counts entries that found no room since the last walk; any asks for one.
    """

    waiting: int = 0
    oldest_ms: int | None = None
    set_aside: int = 0
    missed: int = 0


class HistoryFeed(Protocol):
    """One partition's words of what ended. Several recorders share them; each gets others."""

    async def take(self, most: int, timeout_seconds: float) -> Sequence[FeedEntry]:
        """New entries, waiting for the first up to the timeout. They stay until `confirm`."""

    async def take_over(self, most: int) -> Sequence[FeedEntry]:
        """Entries that some recorder took a while ago and did not confirm."""

    async def histories(
        self, invocations: Sequence[str]
    ) -> Sequence[InvocationHistory | Unreadable | None]:
        """What the records of these ids say, in their order; None when a record has gone."""

    async def confirm(self, handles: Sequence[str]) -> None:
        """Removes entries whose records the history has."""

    async def set_aside(self, handle: str, why: str) -> None:
        """Removes an entry and keeps it apart."""

    async def retry_aside(self) -> int:
        """Puts back what was set aside; how many entries."""

    async def walk_due(self, walked: int | None = None) -> int:
        """How many entries were missed, when this recorder may walk, else 0.

        `walked` ends a walk that began with so many; what was missed meanwhile asks for another.
        """

    async def walk(self, cursor: str, most: int) -> WalkStep:
        """A step over about `most` records, from the beginning with an empty cursor."""

    async def status(self) -> FeedStatus:
        """What waits."""

    async def time_ms(self) -> int:
        """Unix time by the feed's server."""
