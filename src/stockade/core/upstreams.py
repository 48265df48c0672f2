"""Upstreams of host calls, and what is shared about one that is out.

An upstream is `capability:host pattern` of a grant, such as `http_fetch:api.example.org`. Its
breaker is the tenant's own: what one tenant's guests meet changes nothing for another's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import Protocol, Self

from stockade.core.errors import StockadeError
from stockade.core.outcomes import Outcome

MAX_UPSTREAM_CHARACTERS = 300
UPSTREAM_OUT = "upstream_out"
"""The cause of a call that was refused because its upstream is out."""
_CAUSES = {
    "http_fetch.timeout": "timeout",
    "http_fetch.unreachable": "connect",
    "http_fetch.unresolvable": "dns",
    "http_fetch.tls_failed": "tls",
    "http_fetch.protocol": "protocol",
    "http_fetch.upstream_out": UPSTREAM_OUT,
}
_TOO_MANY_REQUESTS = 429
_RETRY_AFTER_DIGITS = 6
_SERVER_ERRORS = range(500, 600)


class UpstreamState(StrEnum):
    """Calls go out; are refused; are refused but for one that looks whether it is back."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """When a breaker opens, and when it looks whether the upstream is back.

    Args:
        failures: In a row, of an upstream of which little is known yet; 0 is no breaker at all.
        window_ms: Failures further apart are not in a row.
        probe_ms: From the opening to the first probe; twice as long after each that fails.
        max_probe_ms: The longest time between two probes.
        max_upstreams: So many breakers of one tenant at most.
    """

    failures: int = 5
    window_ms: int = 60_000
    probe_ms: int = 1000
    max_probe_ms: int = 30_000
    max_upstreams: int = 64


@dataclass(frozen=True, slots=True)
class CallFailure:
    """One failed call, as its worker tells the others of it.

    Args:
        cause: See `cause_of_code` and `cause_of_status`.
        weight: What it counts, in quarters of a failure.
        needed: The sum, in quarters, at which the worker takes a run of failures for an outage.
        well_ms_ago: When a call of this worker succeeded, if one did since the failure before.
        probe: The number of the probe that it was, 0 for none.
        after_ms: For how long the upstream asked to be left alone, 0 when it did not say.
    """

    cause: str
    weight: int
    needed: int
    well_ms_ago: int | None = None
    probe: int = 0
    after_ms: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether calls may go out: at once when `wait_ms` is 0.

    `probe` is the number under which the asker may make one call all the same. `changed` says that
    the breaker opened, or closed, by what was told.
    """

    wait_ms: int = 0
    probe: int = 0
    changed: bool = False


@dataclass(frozen=True, slots=True)
class UpstreamView:
    """One breaker, for its tenant to see. Times are Unix milliseconds."""

    upstream: str
    state: UpstreamState
    failures: int
    cause: str
    since_ms: int
    next_probe_ms: int | None
    failed_probes: int


class UpstreamStore(Protocol):
    """The breakers of all tenants, shared by all workers.

    Whoever asks may meet `queue.unavailable`, a `StockadeError`; the worker's own counts do then.
    """

    async def fail(self, tenant: str, upstream: str, failure: CallFailure) -> Verdict | None:
        """Tells of a failed call; None when so many upstreams are out that it is not counted."""

    async def close(self, tenant: str, upstream: str) -> Verdict:
        """Tells that a probe succeeded: calls go out again."""

    async def ask(self, tenant: str, upstream: str, lease_ms: int) -> Verdict:
        """Whether calls may go out; gives the probe that is due to one asker, for the lease."""

    async def views(self, tenant: str) -> Sequence[UpstreamView]:
        """What is known of a tenant's upstreams, by name."""

    async def reset(self, tenant: str, upstream: str) -> bool:
        """Forgets what is known of an upstream, so that calls go out; False when it was nothing."""


class UpstreamNews(Protocol):
    """Tells workers at once that a breaker opened or closed; a hint, whose loss is no error."""

    async def tell(self, tenant: str, upstream: str) -> None:
        """Says that it did; trouble is nobody's."""

    async def hear(self, timeout_seconds: float) -> Sequence[tuple[str, str]] | None:
        """Tenants and upstreams since the last look; None when it could be any.

        Raises:
            StockadeError: `queue.unavailable`.
        """


class Passage(Protocol):
    """One call that was let out: what comes of it, and whether it is waited for, tells its exit."""

    def answered(self, status: int, after_ms: int = 0) -> None:
        """An answer came, which perhaps asks to be left alone for some time."""

    def __enter__(self) -> Self:
        """Itself."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Counts the call's end."""


class UpstreamGate(Protocol):
    """Stands before every call to an upstream."""

    async def enter(self, tenant: str, upstream: str) -> Passage:
        """Lets a call out.

        Raises:
            StockadeError: `http_fetch.upstream_out`.
        """


class OpenGate:
    """An `UpstreamGate` without breakers: every call goes out."""

    async def enter(self, tenant: str, upstream: str) -> "OpenPassage":
        """Lets the call out."""
        return OpenPassage(tenant, upstream)


@dataclass(frozen=True, slots=True)
class OpenPassage:
    """A `Passage` that counts nothing."""

    tenant: str
    upstream: str

    def answered(self, status: int, after_ms: int = 0) -> None:
        """An answer came."""

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Counts nothing."""


@dataclass(frozen=True, slots=True)
class Met:
    """The last upstream that a run called, and why the call failed; no cause: it did not."""

    upstream: str
    cause: str = ""


def cause_of_code(code: str) -> str:
    """The class of a failed call; empty where the upstream is not to blame."""
    return _CAUSES.get(code, "")


def cause_of_status(status: int) -> str:
    """The class of an answer that tells of trouble; empty for any other."""
    if status == _TOO_MANY_REQUESTS:
        return "429"
    return "5xx" if status in _SERVER_ERRORS else ""


def retry_after_ms(headers: Sequence[tuple[str, str]]) -> int:
    """What `Retry-After` asks for in seconds; 0 where it is absent, a date or no number."""
    text = dict(headers).get("retry-after", "")
    short = len(text) <= _RETRY_AFTER_DIGITS
    return int(text) * 1000 if short and text.isascii() and text.isdecimal() else 0


def met_by_error(error: StockadeError) -> Met | None:
    """What a failed call met; None where the upstream is not to blame."""
    cause, upstream = cause_of_code(error.code), error.detail.get("upstream")
    return Met(str(upstream), cause) if cause and upstream else None


def teaching(outcome: Outcome, *, retry_hint: bool, met: Met | None) -> Met:
    """What the end of a run says about the upstream that it met last.

    A run that completed with its last call says that it is well. One that failed, and may be
    tried again or trapped, right after a failed call says that it is out. Any other says nothing.
    """
    if met is None:
        return Met("")
    failed = outcome is Outcome.TRAPPED or (outcome is Outcome.REJECTED and retry_hint)
    well = outcome is Outcome.COMPLETED and not met.cause
    return met if well or (failed and met.cause) else Met("")


def upstream_out(upstream: str, wait_ms: int) -> StockadeError:
    """The refusal of a call that is not sent."""
    _, _, host = upstream.partition(":")
    return StockadeError(
        "http_fetch.upstream_out",
        f"{host} has been failing, so nothing is sent to it: the next look at it is in {wait_ms}"
        " ms. Try again later.",
        retryable=True,
        detail={"upstream": upstream, "next_probe_in_ms": wait_ms},
    )
