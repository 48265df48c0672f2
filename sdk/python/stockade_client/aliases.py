"""Aliases: what they look like, every call about them, and how its answer is read."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import httpx

from stockade_client import readers
from stockade_client.calls import Call, path_part
from stockade_client.fields import Fields
from stockade_client.functions import path


@dataclass(frozen=True, slots=True)
class Alias:
    """Where an alias points: versions and their shares, also in percent.

    `revision` counts its changes: give it back as `expected_revision` to change only what you saw.
    `changed` is False when a call found it already as asked. Times are Unix milliseconds.
    """

    function: str
    name: str
    weights: Mapping[int, int]
    percent: Mapping[int, float] = field(default_factory=dict)
    revision: int = 1
    changed_ms: int = 0
    changed_by: str = ""
    changed: bool = False


@dataclass(frozen=True, slots=True)
class AliasChange:
    """One change: `set`, `promote`, `rollback` or `delete`, from what to what, by whom and when.

    `restored` is the revision that a rollback went back to.
    """

    revision: int
    verb: str
    before: Mapping[int, int] | None
    after: Mapping[int, int] | None
    at_ms: int
    by: str
    restored: int | None = None


def put_alias(
    function: str,
    alias: str,
    version: int | None,
    weights: Mapping[int, int] | None,
    percent: Mapping[int, float] | None,
    expected_revision: int | None,
) -> Call[Alias]:
    """PUT /v1/functions/{name}/aliases/{alias}.

    Raises:
        ValueError: Unless exactly one of version, weights and percent is given.
    """
    asked = {"version": version, "weights": weights, "percent": percent}
    given = {key: value for key, value in asked.items() if value is not None}
    if len(given) != 1:
        raise ValueError("give either a version, weights or percent")
    content = {
        key: value
        if isinstance(value, int)
        else {str(number): share for number, share in value.items()}
        for key, value in given.items()
    }
    headers = _expected(expected_revision)
    return Call("PUT", _path(function, alias), _read_one, headers=headers, json=content)


def alias(function: str, name: str) -> Call[Alias]:
    """GET /v1/functions/{name}/aliases/{alias}."""
    return Call("GET", _path(function, name), _read_one)


def aliases(function: str) -> Call[tuple[Alias, ...]]:
    """GET /v1/functions/{name}/aliases."""
    return Call("GET", f"{path(function)}/aliases", _read_all)


def delete_alias(function: str, name: str, expected_revision: int | None) -> Call[None]:
    """DELETE /v1/functions/{name}/aliases/{alias}."""
    headers = _expected(expected_revision)
    return Call("DELETE", _path(function, name), readers.nothing, headers=headers)


def alias_history(function: str, name: str) -> Call[tuple[AliasChange, ...]]:
    """GET /v1/functions/{name}/aliases/{alias}/history."""
    return Call("GET", f"{_path(function, name)}/history", _read_changes)


def promote(
    function: str,
    name: str,
    source: int | str,
    percent: float | None,
    expected_revision: int | None,
) -> Call[Alias]:
    """POST /v1/functions/{name}/aliases/{alias}/promote; twice does no more than once."""
    content: dict[str, object] = {"version" if isinstance(source, int) else "from": source}
    if percent is not None:
        content["percent"] = percent
    headers = _expected(expected_revision)
    where = f"{_path(function, name)}/promote"
    return Call("POST", where, _read_one, headers=headers, json=content)


def rollback(
    function: str, name: str, revision: int | None, expected_revision: int | None
) -> Call[Alias]:
    """POST /v1/functions/{name}/aliases/{alias}/rollback; each goes further back."""
    return Call(
        "POST",
        f"{_path(function, name)}/rollback",
        _read_one,
        repeatable=expected_revision is not None or revision is not None,
        params={} if revision is None else {"revision": str(revision)},
        headers=_expected(expected_revision),
    )


def _path(function: str, alias: str) -> str:
    return f"{path(function)}/aliases/{path_part(alias)}"


def _expected(revision: int | None) -> dict[str, str]:
    if revision is None:
        return {}
    return {"If-None-Match": "*"} if revision == 0 else {"If-Match": f'"{revision}"'}


def _read_one(response: httpx.Response) -> Alias:
    return _alias(Fields(response.json()))


def _read_all(response: httpx.Response) -> tuple[Alias, ...]:
    return tuple(map(_alias, Fields(response.json()).objects("aliases")))


def _read_changes(response: httpx.Response) -> tuple[AliasChange, ...]:
    return tuple(map(_change, Fields(response.json()).objects("changes")))


def _alias(fields: Fields) -> Alias:
    percent = fields.pairs("percent", Fields.number)
    return Alias(
        function=fields.text("function"),
        name=fields.text("alias"),
        weights=_weights(fields, "weights"),
        percent={int(version): share for version, share in percent.items()},
        revision=fields.count("revision"),
        changed_ms=fields.count("changed_ms"),
        changed_by=fields.text("changed_by"),
        changed=fields.flag("changed"),
    )


def _change(fields: Fields) -> AliasChange:
    return AliasChange(
        revision=fields.count("revision"),
        verb=fields.text("verb"),
        before=_weights(fields, "from") or None,
        after=_weights(fields, "to") or None,
        at_ms=fields.count("at_ms"),
        by=fields.text("by"),
        restored=fields.maybe_count("restored"),
    )


def _weights(fields: Fields, name: str) -> dict[int, int]:
    return {int(version): share for version, share in fields.pairs(name, Fields.count).items()}
