"""The `AuditLog` port in this process's memory.

No method awaits anything, so each one is atomic to the others.
"""

from collections.abc import Sequence
from itertools import takewhile

from stockade.core.audit import (
    AuditEntry,
    AuditFacts,
    AuditHead,
    AuditQuery,
    HeadSigner,
)
from stockade.core.audit_chain import check_head, extended, signed_head
from stockade.infra.audit_values import by_chain, pruned


class MemoryAuditLog:
    """Chains in dictionaries."""

    def __init__(self, signer: HeadSigner) -> None:
        self._signer = signer
        self._entries: dict[str, list[AuditEntry]] = {}
        self._heads: dict[str, AuditHead] = {}

    async def append(self, entries: Sequence[tuple[str, AuditFacts]]) -> None:
        """Adds to chains, each named beside its facts: all or none."""
        grouped = by_chain(entries)
        for chain in grouped:
            self._check(chain)
        for chain, facts in grouped.items():
            self._extend(chain, facts)

    async def find(self, chain: str, query: AuditQuery) -> Sequence[AuditEntry]:
        """Entries that the query asks for, newest first."""
        found = [entry for entry in self._entries.get(chain, ()) if _wanted(entry, query)]
        return tuple(reversed(found))[: query.most]

    async def walk(self, chain: str, after: int, most: int) -> Sequence[AuditEntry]:
        """Entries with higher numbers than `after`, oldest first."""
        return tuple(e for e in self._entries.get(chain, ()) if e.sequence > after)[:most]

    async def head(self, chain: str) -> AuditHead | None:
        """The head; None of an empty chain."""
        return self._heads.get(chain)

    async def chains(self) -> Sequence[str]:
        """The names of all chains, in order."""
        return tuple(sorted(self._heads))

    async def prune(self, chain: str, before_ms: int, most: int, now_ms: int) -> int:
        """Deletes entries from the old end on, up to the first that is not older than this."""
        head = self._check(chain)
        kept = self._entries.get(chain, [])
        old = list(takewhile(lambda entry: entry.facts.time_ms < before_ms, kept[:-1]))[:most]
        if head is None or not old:
            return 0
        first = (old[-1].sequence + 1, old[-1].hash)
        self._entries[chain] = kept[len(old) :]
        last = (head.sequence, head.hash)
        self._heads[chain] = signed_head(chain, first, last, now_ms, self._signer)
        self._extend(chain, [pruned(head.first_sequence, len(old), now_ms)])
        return len(old)

    def _check(self, chain: str) -> AuditHead | None:
        head, stored = self._heads.get(chain), self._entries.get(chain)
        check_head(
            chain, head, (stored[-1].sequence, stored[-1].hash) if stored else None, self._signer
        )
        return head

    def _extend(self, chain: str, facts: Sequence[AuditFacts]) -> None:
        made, self._heads[chain] = extended(chain, self._heads.get(chain), facts, self._signer)
        self._entries.setdefault(chain, []).extend(made)


def _wanted(entry: AuditEntry, query: AuditQuery) -> bool:
    facts = entry.facts
    texts = (
        (query.action, facts.action),
        (query.principal, facts.principal),
        (query.object, facts.object),
    )
    return (
        all(not asked or asked == told for asked, told in texts)
        and (query.since_ms is None or facts.time_ms >= query.since_ms)
        and (query.until_ms is None or facts.time_ms < query.until_ms)
        and (query.before is None or entry.sequence < query.before)
    )
