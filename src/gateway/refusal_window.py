"""How many refusals of whom the audit log takes in a minute; the rest is counted in one entry.

Whoever floods us with wrong keys fills neither the database nor this process' memory.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from stockade.core.audit import AuditFacts, EntryKind

WINDOW_MS = 60_000
OF_ONE = 10
"""Entries that one principal, or one source without a principal, gets in a window."""
OF_CHAIN = 200
"""Entries that a chain gets in a window."""
_NAMED = 20
_MAX_COUNTED = 10_000

_Whom = tuple[str, str]


class RefusalWindow:
    """Counts the refusals of one window."""

    def __init__(self, since_ms: int = 0) -> None:
        self._since_ms = since_ms
        self._of_chain: Counter[str] = Counter()
        self._of_one: Counter[_Whom] = Counter()
        self._suppressed: Counter[_Whom] = Counter()
        self._unnamed: Counter[str] = Counter()
        self._last: dict[_Whom, AuditFacts] = {}

    def takes(self, chain: str, facts: AuditFacts) -> bool:
        """Whether the refusal gets an entry of its own; else it is counted."""
        whom = (chain, facts.principal or facts.source)
        taken = self._of_chain[chain] < OF_CHAIN and self._of_one.get(whom, 0) < OF_ONE
        if taken:
            self._of_chain[chain] += 1
            self._of_one[whom] += 1
        else:
            self.suppress(chain, facts)
        return taken

    def suppress(self, chain: str, facts: AuditFacts) -> None:
        """Counts what gets no entry of its own, be it one refusal or a count of many."""
        whom = (chain, facts.principal or facts.source)
        if whom not in self._suppressed and len(self._suppressed) >= _MAX_COUNTED:
            self._unnamed[chain] += facts.count
            return
        self._suppressed[whom] += facts.count
        self._last[whom] = facts

    def is_over(self, now_ms: int) -> bool:
        """Whether it is time for the next window; also when the clock went back."""
        return not 0 <= now_ms - self._since_ms < WINDOW_MS

    def counted(self, now_ms: int) -> Sequence[tuple[str, AuditFacts]]:
        """What was counted: of each chain those with the most by name, the rest as one entry."""
        found: list[tuple[str, AuditFacts]] = []
        named: Counter[str] = Counter()
        unnamed = self._unnamed.copy()
        for (chain, whom), count in self._suppressed.most_common():
            if named[chain] >= _NAMED:
                unnamed[chain] += count
                continue
            named[chain] += 1
            found.append((chain, _counted(self._last[chain, whom], now_ms, count)))
        rest = [
            (chain, AuditFacts(now_ms, EntryKind.SUPPRESSED, count=count))
            for chain, count in sorted(unnamed.items())
        ]
        return [*found, *rest]


def _counted(last: AuditFacts, now_ms: int, count: int) -> AuditFacts:
    """One entry for refusals of one principal or source; the last code stands for all."""
    return replace(
        last,
        time_ms=now_ms,
        kind=EntryKind.SUPPRESSED,
        request="",
        call="",
        object_kind="",
        object="",
        policies=(),
        reason="",
        count=count,
    )
