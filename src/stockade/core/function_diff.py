"""What differs between two versions of a function, JSON-ready: only what differs stands there.

Values of the environment are left out: they are settings, no secrets, but a diff goes where nobody
expects them. Their names, and which of them changed, are enough to review.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict

from stockade.core.modules import FunctionContent, ModuleFacts

Diff = dict[str, object]
_WHOLE = ("abi", "deterministic", "concurrency", "record")
_PARTS = ("limits", "retry")


def content_diff(before: FunctionContent, after: FunctionContent) -> Diff:
    """By `module` and `env`, each of `_WHOLE` and `_PARTS`, and `grants`.

    `auto_limits` are the names of limits that follow what runs needed.
    """
    found: Diff = {"module": _moved(before.digest, after.digest)}
    found |= {name: _moved(getattr(before, name), getattr(after, name)) for name in _WHOLE}
    for name in _PARTS:
        old, new = asdict(getattr(before, name)), asdict(getattr(after, name))
        moves = {key: _moved(old[key], new[key]) for key in old}
        found[name] = {key: move for key, move in moves.items() if move}
    found["auto_limits"] = _sets(before.auto_limits, after.auto_limits)
    found["grants"] = _sets(before.grants, after.grants)
    found["env"] = _environment(dict(before.env), dict(after.env))
    return {name: part for name, part in found.items() if part}


def facts_diff(before: ModuleFacts, after: ModuleFacts) -> Diff:
    """By `imports`, `exports`, `size_bytes`. Names are guests' own text."""
    found: Diff = {
        "imports": _sets(before.imports, after.imports),
        "exports": _sets(before.exports, after.exports),
        "size_bytes": _moved(before.size_bytes, after.size_bytes),
    }
    return {name: part for name, part in found.items() if part}


def _moved(before: object, after: object) -> Diff:
    return {} if before == after else {"from": before, "to": after}


def _sets(before: Iterable[str], after: Iterable[str]) -> Diff:
    old, new = set(before), set(after)
    found = {"added": sorted(new - old), "removed": sorted(old - new)}
    return {name: part for name, part in found.items() if part}


def _environment(before: Mapping[str, str], after: Mapping[str, str]) -> Diff:
    changed = sorted(name for name in before if name in after and before[name] != after[name])
    return _sets(before, after) | ({"changed": changed} if changed else {})
