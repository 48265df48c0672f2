"""What ended on this worker in the last minutes, by tenant: for `stockade status`, not for ever."""

import time
from collections import Counter, deque
from collections.abc import Callable

from stockade.core.installation_status import MOST_TOLD, RecentEnds
from stockade.core.outcomes import Outcome

MINUTES = 5
OTHERS = ""
"""Stands for tenants beyond the bound; no tenant is named so."""
_FAILED = (Outcome.TRAPPED, Outcome.LIMIT_EXCEEDED, Outcome.CRASHED, Outcome.LOST, Outcome.EXPIRED)
_MINUTE_SECONDS = 60


class RecentRuns:
    """Counts by minute; a minute that is over for `MINUTES` is forgotten.

    Args:
        now: Seconds that only grow.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._minutes: deque[tuple[int, Counter[str], Counter[str]]] = deque(maxlen=MINUTES)

    def ended(self, tenant: str, outcome: Outcome) -> None:
        """Counts an invocation that ended for good."""
        minute = int(self._now()) // _MINUTE_SECONDS
        if not self._minutes or self._minutes[-1][0] != minute:
            self._minutes.append((minute, Counter(), Counter()))
        _, ended, failed = self._minutes[-1]
        name = tenant if tenant in ended or len(ended) < 2 * MOST_TOLD else OTHERS
        ended[name] += 1
        if outcome in _FAILED:
            failed[name] += 1

    def told(self) -> tuple[RecentEnds, ...]:
        """Those with the most ends; the rest together under `OTHERS`."""
        oldest = int(self._now()) // _MINUTE_SECONDS - MINUTES
        ended: Counter[str] = Counter()
        failed: Counter[str] = Counter()
        for minute, ends, failures in self._minutes:
            if minute > oldest:
                ended += ends
                failed += failures
        named = [name for name, _ in ended.most_common(MOST_TOLD + 1) if name != OTHERS]
        told = [RecentEnds(name, ended[name], failed[name]) for name in named[:MOST_TOLD]]
        rest = ended.total() - sum(one.ended for one in told)
        if rest:
            lost = failed.total() - sum(one.failed for one in told)
            told.append(RecentEnds(OTHERS, rest, lost))
        return tuple(told)
