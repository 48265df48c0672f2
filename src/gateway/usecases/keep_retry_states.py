"""What workers learned of retries: shown, frozen, forgotten, taken out and brought in."""

import secrets
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import msgspec

from gateway.services import Services
from stockade.core.errors import StockadeError
from stockade.core.learned_states import LearnedState, LearnedStates, Scope, StateWrite
from stockade.core.modules import FunctionVersion
from stockade.core.names import check_name
from stockade.retry.parts import Part
from stockade.retry.restoring import check_portable, portable, restored
from stockade.retry.state import UnknownVersionError, part_of, plain

FORMAT = "stockade.learned-retries.1"
MOST_IMPORTED = 500
"""States in one request."""
MAX_FUNCTION_BYTES, MAX_TENANT_BYTES = 1024, 8192
_MAX_UPSTREAM_CHARACTERS = 300
_TRIES = 8
_CHUNK = 64
_MOST_NAMED, _MAX_NAMED_CHARACTERS = 50, 80

_T = TypeVar("_T")
Resolve = Callable[[str, int], Awaitable[FunctionVersion]]


class StateEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One state: of a function version, of an upstream, or (neither named) of the tenant."""

    state: list[Any]
    function: str | None = None
    version: int | None = None
    upstream: str | None = None


class ImportRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """States that were exported, of this tenant."""

    format: str
    tenant: str
    states: list[StateEntry]


@dataclass(frozen=True, slots=True)
class Found:
    """A scope, how it is kept, and what it says; no part if that cannot be read."""

    scope: Scope
    kept: LearnedState
    part: Part | None


async def look(states: LearnedStates, scopes: Sequence[Scope]) -> list[Found]:
    """What is known of these scopes.

    Raises:
        StockadeError: `queue.unavailable`.
    """
    found = await states.load(scopes)
    return [_found(scope, _there(kept)) for scope, kept in zip(scopes, found, strict=True)]


async def scopes_after(
    states: LearnedStates, tenant: str, after: str | None, limit: int
) -> tuple[list[Scope], str | None]:
    """A page of the tenant's scopes by name, and the last name of it if there are more.

    Raises:
        StockadeError: `queue.unavailable`.
    """
    scopes = _there(await states.scopes(tenant))
    later = [scope for scope in scopes if after is None or cursor_of(scope) > after]
    later.sort(key=cursor_of)
    page = later[:limit]
    return page, cursor_of(page[-1]) if len(later) > limit else None


def cursor_of(scope: Scope) -> str:
    """A scope's name within its tenant."""
    return "/".join(scope[1:])


async def freeze(states: LearnedStates, scope: Scope, *, frozen: bool) -> None:
    """Keeps a scope as it is, or lets it learn again.

    Raises:
        StockadeError: `queue.unavailable`.
    """
    _there(await states.freeze(scope, frozen=frozen))


async def forget(services: Services, scope: Scope) -> int:
    """Forgets what a scope knows, a tenant's all; how many did know something.

    Raises:
        StockadeError: `queue.unavailable`, `retries.busy`.
    """
    known = [scope] if len(scope) > 1 else _there(await services.learned.scopes(scope[0]))
    count, now_ms = 0, services.clock.now_ms()
    for i in range(0, len(known), _CHUNK):
        chunk = {one: Part() for one in known[i : i + _CHUNK]}
        found = await look(services.learned, list(chunk))
        count += sum(one.kept.state is not None for one in found)
        await _put(services.learned, chunk, now_ms)
    return count


def exported(found: Iterable[Found]) -> list[dict[str, object]]:
    """The states that can be read, as `StateEntry`."""
    return [
        {**named(one.scope), "state": plain(portable(one.part))}
        for one in found
        if one.part is not None and one.kept.state is not None
    ]


def named(scope: Scope) -> dict[str, object]:
    """How a scope is named to callers."""
    match scope[1:]:
        case ("", upstream):
            return {"upstream": upstream}
        case (function, version):
            return {"function": function, "version": int(version)}
        case _:
            return {}


def states_named(asked: ImportRequest) -> str:
    """Whose states these are, for the audit log: `f/1, upstream, tenant`, as the caller names them.

    Cut off where many are named.
    """
    return ", ".join(_named_by(entry) for entry in asked.states[:_MOST_NAMED])


def _named_by(entry: StateEntry) -> str:
    if entry.function is not None:
        return f"{entry.function[:_MAX_NAMED_CHARACTERS]}/{entry.version}"
    return (entry.upstream or "tenant")[:_MAX_NAMED_CHARACTERS]


async def bring(services: Services, resolve: Resolve, tenant: str, asked: ImportRequest) -> int:
    """Puts states in the place of what was learned; all of them, or none that is refused.

    Raises:
        StockadeError: `retries.…`, `function.…`, `version.not_found`, `queue.unavailable`.
    """
    _check(asked, tenant)
    now_ms, parts = services.clock.now_ms(), {}
    for i, entry in enumerate(asked.states):
        scope = await _scope_of(entry, tenant, resolve, i)
        parts[scope] = _part_of(entry, scope, now_ms, i)
    scopes = list(parts)
    for i in range(0, len(scopes), _CHUNK):
        chunk = {scope: parts[scope] for scope in scopes[i : i + _CHUNK]}
        await _put(services.learned, chunk, now_ms)
    return len(parts)


def _check(asked: ImportRequest, tenant: str) -> None:
    if asked.format != FORMAT:
        raise StockadeError(
            "retries.format_unknown", f"This is no export that is known here: 'format' is {FORMAT}."
        )
    if asked.tenant != tenant:
        raise StockadeError(
            "retries.tenant_differs", "This was exported by another tenant. Nothing was taken over."
        )
    if len(asked.states) > MOST_IMPORTED:
        raise StockadeError(
            "retries.too_many_states",
            f"At most {MOST_IMPORTED} states in one request. Send them in several.",
            detail={"most": MOST_IMPORTED},
        )


async def _scope_of(entry: StateEntry, tenant: str, resolve: Resolve, i: int) -> Scope:
    match entry:
        case StateEntry(function=None, version=None, upstream=None):
            return (tenant,)
        case StateEntry(function=None, version=None, upstream=str(upstream)):
            if not 0 < len(upstream) <= _MAX_UPSTREAM_CHARACTERS or not _is_plain(upstream):
                raise _invalid(i, "An upstream's name is missing, too long or not printable.")
            return (tenant, "", upstream)
        case StateEntry(function=str(function), version=int(version), upstream=None):
            check_name("function", function)
            if version < 1:
                raise _invalid(i, "Versions are counted from 1.")
            await resolve(function, version)
            return (tenant, function, str(version))
        case _:
            raise _invalid(i, "Name a function and its version, or an upstream, or none of them.")


def _part_of(entry: StateEntry, scope: Scope, now_ms: int, i: int) -> Part:
    try:
        part = part_of(entry.state)
        check_portable(scope, part, now_ms)
    except UnknownVersionError as error:
        raise StockadeError(
            "retries.version_unknown", f"State {i}: {error}", detail={"index": i}
        ) from None
    except ValueError as error:
        raise _invalid(i, str(error)) from None
    most = MAX_FUNCTION_BYTES if len(scope) > 1 else MAX_TENANT_BYTES
    if len(msgspec.msgpack.encode(plain(part))) > most:
        raise _invalid(i, f"It takes more than {most} bytes.")
    return part


def _invalid(i: int, reason: str) -> StockadeError:
    return StockadeError("retries.state_invalid", f"State {i}: {reason}", detail={"index": i})


def _is_plain(text: str) -> bool:
    return text.isascii() and text.isprintable()


async def _put(states: LearnedStates, parts: dict[Scope, Part], now_ms: int) -> None:
    """Keeps parts in the place of what is there; workers may write meanwhile."""
    left = list(parts)
    for _ in range(_TRIES):
        writes = []
        for found in await look(states, left):
            copy = part_of(plain(parts[found.scope]))
            part = restored(found.scope, copy, found.part or Part(), now_ms)
            state = None if part == Part() else plain(part)
            revision, token = found.kept.revision, secrets.token_hex(8)
            writes.append(StateWrite(found.scope, revision, state, token))
        done = map(_there, await states.swap(writes))
        left = [write.scope for write, kept in zip(writes, done, strict=True) if not kept]
        if not left:
            return
    raise StockadeError(
        "retries.busy", "Workers kept writing this meanwhile. Try again.", retryable=True
    )


def _found(scope: Scope, kept: LearnedState) -> Found:
    try:
        part = Part() if kept.state is None else part_of(kept.state)
    except ValueError:
        return Found(scope, kept, None)
    return Found(scope, kept, replace(part, frozen=kept.frozen, aside=kept.aside))


def _there(found: _T | None) -> _T:
    if found is None:
        raise StockadeError(
            "queue.unavailable", "The queue cannot be reached at the moment. Try again.",
            retryable=True,
        )  # fmt: skip
    return found
