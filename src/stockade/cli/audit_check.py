"""Verifies one chain for `stockade audit verify`, and keeps its checkpoint."""

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import typer

from stockade.cli.words import EXIT_BROKEN, print_json, safe, say
from stockade.core.audit import AuditHead
from stockade.core.audit_chain import head_statement
from stockade.core.audit_verify import Checkpoint, HeadCheck, Verified, Verifier
from stockade.core.errors import StockadeError

_KEY_DIGITS = 64


@dataclass(frozen=True, slots=True)
class Report:
    """What is said of one chain. `key_known`: the head's key was not just taken from the head."""

    name: str
    found: Verified
    key_known: bool

    @property
    def fault(self) -> str | None:
        """What is wrong, in words."""
        fault = self.found.fault
        if fault is not None:
            entry = "" if fault.sequence is None else f", entry {fault.sequence}"
            return f"line {fault.line}{entry}: {fault.what}"
        if self.found.head is None and self.found.entries:
            return "the signed head is missing: the end may have been cut off"
        return None


@dataclass(frozen=True, slots=True)
class _Known:
    chain: str
    sequence: int
    hash: str
    public_key: str


def check_chain(
    lines: Iterable[str],
    checkpoint: Path | None,
    public_key: str | None,
    name: str = "",
    head_check: HeadCheck | None = None,
) -> Report:
    """Verifies the lines of one chain; a checkpoint that fits goes on to the new head.

    Raises:
        StockadeError: `cli.checkpoint_invalid`, `cli.audit_key_invalid`.
    """
    known = None if checkpoint is None else _read(checkpoint)
    key = _checked_key(public_key) or (known.public_key if known else None)
    points = () if known is None else (Checkpoint(known.sequence, known.hash),)
    verifier = Verifier(head_check or (lambda head: _signed(head, key)), checkpoints=points)
    found = verifier.verify(lines)
    report = Report(name or found.chain or "-", found, bool(key or head_check))
    if checkpoint is not None and report.fault is None and found.head is not None:
        _check_chain_name(checkpoint, known, found.head)
        _write(checkpoint, found.head)
    return report


def print_reports(reports: list[Report], *, as_json: bool) -> None:
    """Says what was found of each chain.

    Raises:
        typer.Exit: With `EXIT_BROKEN` when something is wrong.
    """
    if as_json:
        print_json([_shown(report) for report in reports])
    else:
        for report in reports:
            _say(report)
    if any(report.fault for report in reports):
        raise typer.Exit(EXIT_BROKEN)


def _say(report: Report) -> None:
    head = report.found.head
    if report.fault is not None:
        typer.echo(f"{safe(report.name)}: BROKEN. {safe(report.fault)}")
        return
    if head is None:
        typer.echo(f"{safe(report.name)}: no entries")
        return
    begin = report.found.first_sequence
    typer.echo(f"{safe(report.name)}: sound, entries {begin} to {head.sequence}, {head.hash}")
    for sequence in report.found.unchecked:
        say(f"Entry {sequence}, of the checkpoint, was pruned: the log cannot be held against it.")
    if not report.key_known:
        say(f"The key is the head's own word: {head.public_key}. Ask the operator for it once;")
        say("then give it with --public-key, or keep a --checkpoint, which holds it.")


def _shown(report: Report) -> dict[str, object]:
    head = report.found.head
    return {
        "chain": report.name,
        "sound": report.fault is None,
        "fault": None if report.found.fault is None else asdict(report.found.fault),
        "message": report.fault,
        "entries": report.found.entries,
        "head": None if head is None else asdict(head),
        "unchecked": list(report.found.unchecked),
        "key_known": report.key_known,
    }


def _signed(head: AuditHead, key: str | None) -> bool:
    from registry.ed25519 import PUBLIC_KEY_BYTES, verifies  # noqa: PLC0415 - keeps --help fast

    if key is not None and head.public_key != key:
        return False
    try:
        public, signature = bytes.fromhex(head.public_key), bytes.fromhex(head.signature)
    except ValueError:
        return False
    sound = len(public) == PUBLIC_KEY_BYTES
    return sound and verifies(public, signature, head_statement(head))


def _checked_key(text: str | None) -> str | None:
    if text is None:
        return None
    key = text.strip().lower()
    if len(key) != _KEY_DIGITS or not set(key) <= set("0123456789abcdef"):
        raise StockadeError("cli.audit_key_invalid", "The key must be 64 hexadecimal digits.")
    return key


def _read(path: Path) -> _Known | None:
    try:
        told = json.loads(path.read_bytes())
        known = _Known(told["chain"], told["sequence"], told["hash"], told["public_key"])
        sound = type(known.sequence) is int and all(
            isinstance(text, str) for text in (known.chain, known.hash, known.public_key)
        )
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        sound = False
    if not sound:
        raise StockadeError(
            "cli.checkpoint_invalid", f"{str(path)!r} is no checkpoint of an audit log."
        )
    return known


def _check_chain_name(path: Path, known: _Known | None, head: AuditHead) -> None:
    if known is not None and known.chain != head.chain:
        raise StockadeError(
            "cli.checkpoint_invalid",
            f"{str(path)!r} is of the chain {known.chain!a}, the log of {head.chain!a}.",
        )


def _write(path: Path, head: AuditHead) -> None:
    """Written aside and renamed: a checkpoint is whole or the old one."""
    known = asdict(_Known(head.chain, head.sequence, head.hash, head.public_key))
    aside = path.with_name(f"{path.name}.{os.getpid()}.new")
    aside.write_text(json.dumps(known) + "\n", encoding="ascii")
    aside.replace(path)
