"""Verifies an exported audit log line by line, without the installation that wrote it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from stockade.core.audit import AuditEntry, AuditHead
from stockade.core.audit_chain import NO_HASH, ChainWalk, parse_entry, parse_head

HeadCheck = Callable[[AuditHead], bool]
"""Whether the head's signature is the operator's."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A place in a chain that somebody noted elsewhere: the number of an entry, and its hash."""

    sequence: int
    hash: str


@dataclass(frozen=True, slots=True)
class Fault:
    """The first thing that is wrong: on which line (from 1), in which entry if any, and what."""

    line: int
    sequence: int | None
    what: str


@dataclass(frozen=True, slots=True)
class Verified:
    """What was found.

    `head` is the last head that fitted; None when the export had none. `unchecked` are the numbers
    of checkpoints whose entries were pruned: the log cannot be held against them.
    """

    chain: str | None
    first_sequence: int | None
    entries: int
    head: AuditHead | None
    fault: Fault | None
    unchecked: tuple[int, ...] = ()


class Verifier:
    """Follows one chain from its oldest entry, or from a place that is known.

    Args:
        head_check: None leaves signatures aside.
        start: The export goes on from here; without it, it begins where its head says.
        checkpoints: Places that the chain must pass.
    """

    def __init__(
        self,
        head_check: HeadCheck | None = None,
        start: Checkpoint | None = None,
        checkpoints: Iterable[Checkpoint] = (),
    ) -> None:
        self._head_check = head_check
        self._start = start
        self._checkpoints = {point.sequence: point.hash for point in checkpoints}
        self._walk: ChainWalk | None = None
        if start is not None:
            self._walk = ChainWalk(None, start.sequence, start.hash)
        self._first: AuditEntry | None = None
        self._head: AuditHead | None = None
        self._entries = 0
        self._line = 0

    def verify(self, lines: Iterable[str]) -> Verified:
        """Reads the lines of an export, without their line ends, up to the first fault."""
        fault = None
        for line in lines:
            self._line += 1
            fault = self._fault_of(line)
            if fault is not None:
                break
        return self._verified(fault or self._fault_at_end())

    def _fault_of(self, line: str) -> Fault | None:
        try:
            head = parse_head(line)
            if head is not None:
                what = self._head_fault(head)
                return None if what is None else self._fault(what, head.sequence)
            entry = parse_entry(line)
        except ValueError as error:
            expected = None if self._walk is None else self._walk.sequence + 1
            return self._fault(f"the line cannot be read: {error}", expected)
        what = self._entry_fault(entry)
        return None if what is None else self._fault(what, entry.sequence)

    def _entry_fault(self, entry: AuditEntry) -> str | None:
        if self._walk is None:
            # An export may begin behind pruned entries; its head must say the same.
            known = NO_HASH if entry.sequence == 1 else None
            self._walk = ChainWalk(None, entry.sequence - 1, known)
        what = self._walk.fault(entry)
        if what is not None:
            return what
        self._entries += 1
        self._first = self._first or entry
        before, here = entry.sequence - 1, entry.sequence
        fits = self._checkpoints.pop(before, entry.previous) == entry.previous
        if not fits or self._checkpoints.pop(here, entry.hash) != entry.hash:
            return "the chain does not pass the entry that the checkpoint was made of"
        return None

    def _head_fault(self, head: AuditHead) -> str | None:
        if self._head_check is not None and not self._head_check(head):
            return "the head is not signed with the operator's key"
        if self._walk is None:
            return f"entries {head.first_sequence} to {head.sequence} are missing"
        what = self._walk.head_fault(head) or self._begin_fault(head)
        if what is None:
            self._head = head
        return what

    def _begin_fault(self, head: AuditHead) -> str | None:
        if self._start is not None or self._first is None:
            return None
        begin = (self._first.sequence, self._first.previous)
        if begin != (head.first_sequence, head.first_previous):
            return f"the log begins with entry {head.first_sequence}, the export with another"
        return None

    def _fault_at_end(self) -> Fault | None:
        reached = 0 if self._walk is None else self._walk.sequence
        missed = [sequence for sequence in self._checkpoints if sequence > reached]
        if not missed:
            return None
        return self._fault(f"the chain ends with entry {reached}: the rest is missing", min(missed))

    def _fault(self, what: str, sequence: int | None) -> Fault:
        return Fault(self._line, sequence, what)

    def _verified(self, fault: Fault | None) -> Verified:
        first = None if self._first is None else self._first.sequence
        chain = None if self._walk is None else self._walk.chain
        unchecked = tuple(sorted(self._checkpoints)) if fault is None else ()
        return Verified(chain, first, self._entries, self._head, fault, unchecked)
