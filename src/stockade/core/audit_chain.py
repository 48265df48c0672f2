"""Canonical entries, their hashes, and the search for the first that is not as it was written.

The canonical form is one JSON object in ASCII: keys in order, no space, integers without fraction,
everything beyond ASCII escaped. An entry's hash is SHA-256 over `ENTRY_DOMAIN` and the canonical
form without `hash`; a head's signature is over `HEAD_DOMAIN` and the canonical form without
`signature`.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any

from stockade.core.audit import AuditEntry, AuditFacts, AuditHead, HeadSigner
from stockade.core.errors import StockadeError

VERSION = 1
ENTRY_DOMAIN = b"stockade-audit-entry-v1\n"
HEAD_DOMAIN = b"stockade-audit-head-v1\n"
NO_HASH = "0" * 64
"""Stands for the hash before the first entry."""

_FACTS = tuple(field.name for field in fields(AuditFacts))
_HEAD_FIELDS = tuple(field.name for field in fields(AuditHead))


def entry_line(entry: AuditEntry) -> str:
    """The entry in canonical form, as exports have it."""
    return _canonical(_unhashed(entry) | {"hash": entry.hash})


def entry_hash(entry: AuditEntry) -> str:
    """The hash that the entry must have."""
    return hashlib.sha256(ENTRY_DOMAIN + _canonical(_unhashed(entry)).encode()).hexdigest()


def parse_entry(line: str) -> AuditEntry:
    """The entry of an export's line.

    Raises:
        ValueError: When the line is not exactly an entry's canonical form.
    """
    entry = _entry(_object(line))
    if entry_line(entry) != line:
        raise ValueError("not in canonical form")
    return entry


def head_line(head: AuditHead) -> str:
    """The head in canonical form, as exports end with it."""
    return _canonical({"head": asdict(head), "v": VERSION})


def head_statement(head: AuditHead) -> bytes:
    """What a head's signature is over."""
    signed = asdict(head)
    del signed["signature"]
    return HEAD_DOMAIN + _canonical(signed | {"v": VERSION}).encode()


def parse_head(line: str) -> AuditHead | None:
    """The head of an export's line; None when it is no head.

    Raises:
        ValueError: When it is not exactly a head's canonical form.
    """
    found = _object(line)
    if "head" not in found:
        return None
    told = found["head"]
    if not isinstance(told, dict) or set(told) != set(_HEAD_FIELDS):
        raise ValueError("not a head")
    head = AuditHead(**told)
    if head_line(head) != line or not _head_types(head):
        raise ValueError("not in canonical form")
    return head


def signed_head(
    chain: str, first: tuple[int, str], last: tuple[int, str], time_ms: int, signer: HeadSigner
) -> AuditHead:
    """A head over these numbers and hashes."""
    public_key = signer.public_key.hex()
    head = AuditHead(chain, *first, *last, time_ms, public_key, "")
    signature = signer.sign(head_statement(head)).hex()
    return AuditHead(chain, *first, *last, time_ms, public_key, signature)


def extended(
    chain: str, head: AuditHead | None, facts: Sequence[AuditFacts], signer: HeadSigner
) -> tuple[tuple[AuditEntry, ...], AuditHead]:
    """The next entries of a chain, and its head behind them. `facts` are one or more."""
    sequence, previous = (0, NO_HASH) if head is None else (head.sequence, head.hash)
    first = (1, NO_HASH) if head is None else (head.first_sequence, head.first_previous)
    entries = []
    for said in facts:
        sequence += 1
        bare = AuditEntry(chain, sequence, previous, said, "")
        previous = entry_hash(bare)
        entries.append(AuditEntry(chain, sequence, bare.previous, said, previous))
    last = (sequence, previous)
    return tuple(entries), signed_head(chain, first, last, facts[-1].time_ms, signer)


def check_head(
    chain: str, head: AuditHead | None, tail: tuple[int, str] | None, signer: HeadSigner
) -> None:
    """Checks a stored head against its signature and the chain's last entry.

    Raises:
        StockadeError: `audit.chain_broken`.
    """
    if head is None:
        sound = tail is None
    else:
        meets = head.chain == chain and tail == (head.sequence, head.hash)
        sound = meets and head_is_signed(head, signer)
    if not sound:
        raise chain_broken(chain)


def head_is_signed(head: AuditHead, signer: HeadSigner) -> bool:
    """Whether one of the signer's keys signed the head."""
    try:
        key, signature = bytes.fromhex(head.public_key), bytes.fromhex(head.signature)
    except ValueError:
        return False
    return signer.verifies(key, head_statement(head), signature)


def chain_broken(chain: str) -> StockadeError:
    """The failure to go on from a chain that somebody touched."""
    return StockadeError(
        "audit.chain_broken",
        "The audit log is not as it was left, so nothing that it must tell of is done. Tell the"
        " operator: 'stockade audit verify' names what is wrong.",
        detail={"chain": chain},
    )


class ChainWalk:
    """Follows a chain entry by entry, from a known place on.

    Args:
        chain: Its name; None takes that of the first entry.
        sequence: The number of the entry before the first.
        previous: That entry's hash; None takes what the first entry says.
    """

    def __init__(
        self, chain: str | None, sequence: int = 0, previous: str | None = NO_HASH
    ) -> None:
        self.chain = chain
        self.sequence = sequence
        self.hash = previous

    def fault(self, entry: AuditEntry) -> str | None:
        """What is wrong with the next entry; None when it is the one that must follow."""
        if self.chain is not None and entry.chain != self.chain:
            return f"it belongs to the chain {entry.chain!a}"
        if entry.sequence != self.sequence + 1:
            return f"entry {self.sequence + 1} is missing: this is {entry.sequence}"
        if self.hash is not None and entry.previous != self.hash:
            return "the entry before it is not the one that it was written after"
        if entry.hash != entry_hash(entry):
            return "its content was changed"
        self.chain, self.sequence, self.hash = entry.chain, entry.sequence, entry.hash
        return None

    def head_fault(self, head: AuditHead) -> str | None:
        """What is wrong with a head at this place, its signature aside."""
        if self.chain is not None and head.chain != self.chain:
            return f"the head belongs to the chain {head.chain!a}"
        if head.sequence > self.sequence:
            return f"entries {self.sequence + 1} to {head.sequence} are missing at the end"
        if (head.sequence, head.hash) != (self.sequence, self.hash):
            return "the head is not that of this chain"
        return None


def _unhashed(entry: AuditEntry) -> dict[str, object]:
    told: dict[str, object] = {name: getattr(entry.facts, name) for name in _FACTS}
    place = {"chain": entry.chain, "sequence": entry.sequence, "previous": entry.previous}
    return told | place | {"v": VERSION}


def _canonical(value: dict[str, Any]) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _object(line: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except RecursionError:
        raise ValueError("nested too deep") from None
    if not isinstance(found, dict):
        raise ValueError("not an object")  # noqa: TRY004 - all that is wrong with a line is one error
    return found


def _entry(found: dict[str, Any]) -> AuditEntry:
    try:
        told = {name: found[name] for name in _FACTS}
        facts = AuditFacts(**told | {"policies": tuple(told["policies"])})
        place = (found["chain"], found["sequence"], found["previous"])
        entry = AuditEntry(*place, facts, found["hash"])
    except (KeyError, TypeError):
        raise ValueError("not an entry") from None
    if not _entry_types(entry):
        raise ValueError("not an entry")
    return entry


def _entry_types(entry: AuditEntry) -> bool:
    facts = entry.facts
    numbers = (entry.sequence, facts.time_ms, facts.count)
    apart = {"time_ms", "count", "policies"}
    texts = [getattr(facts, name) for name in _FACTS if name not in apart]
    texts += [entry.chain, entry.previous, entry.hash, *facts.policies]
    return _numbers(numbers) and all(isinstance(text, str) for text in texts)


def _head_types(head: AuditHead) -> bool:
    texts = (head.chain, head.first_previous, head.hash, head.public_key, head.signature)
    return _numbers((head.first_sequence, head.sequence, head.time_ms)) and all(
        isinstance(text, str) for text in texts
    )


def _numbers(values: Sequence[object]) -> bool:
    return all(type(value) is int for value in values)
