"""Breakers: closed, open after too many failures in a row, half open for one probe at a time.

How many are too many follows `stockade.retry.outages`: so many that the upstream's usual rate of
success makes them all but impossible. Redis runs the same rules (`upstreams.lua`) for all workers
together; each worker runs these for itself, and goes by them while Redis is away.
"""

from dataclasses import dataclass

from stockade.core.upstreams import (
    BreakerPolicy,
    CallFailure,
    UpstreamState,
    UpstreamView,
    Verdict,
)
from stockade.retry.outages import Outage
from stockade.retry.rates import Rate

WHOLE = 4
"""The weight of a failure."""
SLOW_DOWN = 1
"""The weight of an answer that asks to slow down (429): the upstream is there."""
_FLAKY = 4
"""So many times the failures of an unknown upstream tell any other's outage."""
_KNOWN_SUCCESSES = 3.0
_MOST_DOUBLINGS = 20


def weight_of(cause: str) -> int:
    """What a failure counts, in quarters."""
    return SLOW_DOWN if cause == "429" else WHOLE


def needed(health: Rate, policy: BreakerPolicy) -> int:
    """The weight of failures in a row that chance does not explain."""
    if health.successes < _KNOWN_SUCCESSES:
        return WHOLE * policy.failures
    most = _FLAKY * policy.failures
    return WHOLE * next((n for n in range(1, most) if Outage(health, n).is_out), most)


@dataclass(slots=True)
class Breaker:
    """One upstream's. Times are milliseconds of whatever clock the caller has.

    `weight` is that of the failures in a row, the first at `since_ms`, the last at `seen_ms`. Open
    while `until_ms` is not 0: then a probe is due. `probe` is the number of the one under way.
    """

    cause: str = ""
    weight: int = 0
    since_ms: int = 0
    seen_ms: int = 0
    until_ms: int = 0
    failed_probes: int = 0
    probe: int = 0
    serial: int = 0

    def fail(self, failure: CallFailure, policy: BreakerPolicy, now_ms: int, share: float) -> bool:
        """A call failed; True when that opens the breaker. `share` of a delay is waited."""
        if self.until_ms:
            if failure.probe == self.probe:
                self._reopen(failure, policy, now_ms, share)
            return False
        well = failure.well_ms_ago is not None and now_ms - failure.well_ms_ago >= self.since_ms
        if well or not 0 <= now_ms - self.seen_ms <= policy.window_ms:
            self.weight = 0
        if self.weight == 0:
            self.since_ms = now_ms
        self.weight += failure.weight
        self.seen_ms, self.cause = now_ms, failure.cause
        if self.weight < failure.needed:
            return False
        self.failed_probes = 0
        self.until_ms = now_ms + _delay_ms(policy, 0, share, failure.after_ms)
        return True

    def ask(self, now_ms: int, lease_ms: int) -> Verdict:
        """Whether calls may go out; the asker may probe when it is time."""
        if not self.until_ms:
            return Verdict()
        if now_ms < self.until_ms:
            return Verdict(self.until_ms - now_ms)
        self.serial += 1
        self.probe, self.until_ms = self.serial, now_ms + lease_ms
        return Verdict(lease_ms, self.probe)

    def close(self) -> bool:
        """A probe succeeded; True when it was open."""
        was_open = self.until_ms > 0
        self.weight = self.until_ms = self.failed_probes = self.probe = 0
        return was_open

    def adopt(self, verdict: Verdict, now_ms: int) -> None:
        """Goes by what is shared."""
        if verdict.wait_ms == 0:
            if self.until_ms:
                self.close()
            return
        self.until_ms = now_ms + verdict.wait_ms
        self.probe = verdict.probe

    def view(self, upstream: str, now_ms: int) -> UpstreamView:
        """How it stands."""
        state = UpstreamState.OPEN if self.until_ms else UpstreamState.CLOSED
        if self.probe and now_ms < self.until_ms:
            state = UpstreamState.HALF_OPEN
        return UpstreamView(
            upstream=upstream,
            state=state,
            failures=-(-self.weight // WHOLE),
            cause=self.cause,
            since_ms=self.since_ms,
            next_probe_ms=self.until_ms or None,
            failed_probes=self.failed_probes,
        )

    def _reopen(
        self, failure: CallFailure, policy: BreakerPolicy, now_ms: int, share: float
    ) -> None:
        if failure.probe == 0:
            return
        self.failed_probes += 1
        self.probe, self.seen_ms, self.cause = 0, now_ms, failure.cause
        self.weight += failure.weight
        self.until_ms = now_ms + _delay_ms(policy, self.failed_probes, share, failure.after_ms)


def _delay_ms(policy: BreakerPolicy, failed_probes: int, share: float, after_ms: int) -> int:
    """Until the next probe; what the upstream asks for counts up to the longest delay."""
    longest = policy.probe_ms * 2 ** min(failed_probes, _MOST_DOUBLINGS)
    own_ms = int(min(longest, policy.max_probe_ms) * share)
    return max(1, own_ms, min(after_ms, policy.max_probe_ms))
