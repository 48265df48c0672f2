"""What the adapters of the audit log share."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from stockade.core.audit import AuditFacts, EntryKind
from stockade.infra.catalog_values import check_storable

_MAX_COUNT = 2**31 - 1


def by_chain(entries: Sequence[tuple[str, AuditFacts]]) -> Mapping[str, Sequence[AuditFacts]]:
    """The facts of each chain, chains in order: whoever locks them does so in one order.

    Raises:
        StockadeError: `catalog.value_invalid`.
    """
    grouped: defaultdict[str, list[AuditFacts]] = defaultdict(list)
    for chain, facts in entries:
        _check_facts_storable(chain, facts)
        grouped[chain].append(facts)
    return {chain: grouped[chain] for chain in sorted(grouped)}


def pruned(first_sequence: int, count: int, now_ms: int) -> AuditFacts:
    """The entry that tells of deleted ones."""
    numbers = f"{first_sequence}-{first_sequence + count - 1}"
    return AuditFacts(
        now_ms, EntryKind.PRUNED, object_kind="audit entries", object=numbers, count=count
    )


def _check_facts_storable(chain: str, facts: AuditFacts) -> None:
    """Refuses facts that no store could give back unchanged."""
    check_storable(chain, facts.time_ms, facts.request, facts.principal_kind, facts.principal)
    check_storable(facts.role, facts.action, facts.call, facts.object_kind, facts.object)
    check_storable(facts.code, facts.reason, facts.source, *facts.policies)
    if not 0 <= facts.count <= _MAX_COUNT:
        raise RuntimeError("no such count of entries")
