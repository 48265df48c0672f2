"""What was learned of retries: what it looks like, every call about it, how answers are read."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx

from stockade_client import readers
from stockade_client.calls import Call, path_part
from stockade_client.fields import Fields

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class LearnedRate:
    """How often something succeeds: as reckoned, from so many fading trials.

    `changes` counts how often the world changed and the memory was void. `basis` names the class
    of failure; it is empty for first attempts.
    """

    basis: str
    success: float
    trials: float
    changes: int
    seen_ms: int


@dataclass(frozen=True, slots=True)
class LearnedOutage:
    """Whether a function or an upstream is out, and since when; times are Unix milliseconds."""

    is_out: bool
    failures: int
    since_ms: int | None
    remaining_ms: int | None
    outages_seen: float


@dataclass(frozen=True, slots=True)
class LearnedNeed:
    """How much of a limit runs needed: half of them at most `p50`, and so on."""

    seen: float
    p50: float | None
    p95: float | None
    p99: float | None


@dataclass(frozen=True, slots=True)
class RetryBudget:
    """Retries that a tenant's successes earned, and what is left of its allowance."""

    earned: float
    allowance: float


@dataclass(frozen=True, slots=True)
class RetryState:
    """What was learned of a function version, of an upstream, or (neither named) of the tenant.

    Without `readable` nothing else is told: it is about to be set aside. `set_aside`: an earlier
    one could not be read, and the fixed rules decide until enough is learned anew.
    """

    function: str | None
    version: int | None
    upstream: str | None
    known: bool
    frozen: bool
    set_aside: bool
    readable: bool
    size_bytes: int | None
    first_attempts: LearnedRate | None
    retries: tuple[LearnedRate, ...]
    outage: LearnedOutage | None
    needs: Mapping[str, LearnedNeed]
    budget: RetryBudget | None


class RetryStateMethods(ABC):
    """The part of `Client` that is about what was learned of retries."""

    @abstractmethod
    def _send(self, call: Call[_Answer]) -> _Answer:
        """Makes a call."""

    def retry_states(
        self, *, after: str | None = None, limit: int | None = None
    ) -> tuple[tuple[RetryState, ...], str | None]:
        """A page of the tenant's states, and where the next begins; None behind the last."""
        return self._send(retry_states(after, limit))

    def retry_state(self, name: str, version: int | None = None) -> RetryState:
        """What was learned of a function version; of the latest when none is given."""
        return self._send(retry_state(name, version))

    def freeze_retries(self, function: str | None = None, version: int | None = None) -> None:
        """Keeps what was learned as it is: of a function version, or of the whole tenant."""
        self._send(change_retries("freeze", function, version))

    def unfreeze_retries(self, function: str | None = None, version: int | None = None) -> None:
        """Lets a function version, or the tenant, learn again."""
        self._send(change_retries("unfreeze", function, version))

    def reset_retries(self, function: str | None = None, version: int | None = None) -> int:
        """Forgets what was learned; how many states knew something."""
        return self._send(reset_retries(function, version))

    def export_retries(
        self,
        function: str | None = None,
        version: int | None = None,
        *,
        after: str | None = None,
        limit: int | None = None,
    ) -> dict[str, Any]:
        """Takes out what was learned, a page of it; `next` in it says where the next begins."""
        return self._send(export_retries(function, version, after, limit))

    def import_retries(self, exported: Mapping[str, Any]) -> int:
        """Brings in what was exported, in the place of what is known; how many states."""
        return self._send(import_retries(exported))


class AsyncRetryStateMethods(ABC):
    """The part of `AsyncClient` that is about what was learned of retries."""

    @abstractmethod
    async def _send(self, call: Call[_Answer]) -> _Answer:
        """Makes a call."""

    async def retry_states(
        self, *, after: str | None = None, limit: int | None = None
    ) -> tuple[tuple[RetryState, ...], str | None]:
        """A page of the tenant's states, and where the next begins; None behind the last."""
        return await self._send(retry_states(after, limit))

    async def retry_state(self, name: str, version: int | None = None) -> RetryState:
        """What was learned of a function version; of the latest when none is given."""
        return await self._send(retry_state(name, version))

    async def freeze_retries(self, function: str | None = None, version: int | None = None) -> None:
        """Keeps what was learned as it is: of a function version, or of the whole tenant."""
        await self._send(change_retries("freeze", function, version))

    async def unfreeze_retries(
        self, function: str | None = None, version: int | None = None
    ) -> None:
        """Lets a function version, or the tenant, learn again."""
        await self._send(change_retries("unfreeze", function, version))

    async def reset_retries(self, function: str | None = None, version: int | None = None) -> int:
        """Forgets what was learned; how many states knew something."""
        return await self._send(reset_retries(function, version))

    async def export_retries(
        self,
        function: str | None = None,
        version: int | None = None,
        *,
        after: str | None = None,
        limit: int | None = None,
    ) -> dict[str, Any]:
        """Takes out what was learned, a page of it; `next` in it says where the next begins."""
        return await self._send(export_retries(function, version, after, limit))

    async def import_retries(self, exported: Mapping[str, Any]) -> int:
        """Brings in what was exported, in the place of what is known; how many states."""
        return await self._send(import_retries(exported))


def retry_states(
    after: str | None, limit: int | None
) -> Call[tuple[tuple[RetryState, ...], str | None]]:
    """GET /v1/retries."""
    return Call("GET", "/v1/retries", _read_page, params=_given(after=after, limit=limit))


def retry_state(name: str, version: int | None) -> Call[RetryState]:
    """GET /v1/functions/{name}/retries."""
    path = f"/v1/functions/{path_part(name)}/retries"
    params = _given(version=version)
    return Call("GET", path, lambda answer: _read(Fields(answer.json())), params=params)


def change_retries(what: str, function: str | None, version: int | None) -> Call[None]:
    """POST /v1/retries/freeze and unfreeze."""
    params = _given(function=function, version=version)
    return Call("POST", f"/v1/retries/{what}", readers.nothing, params=params)


def reset_retries(function: str | None, version: int | None) -> Call[int]:
    """POST /v1/retries/reset."""
    params = _given(function=function, version=version)
    return Call("POST", "/v1/retries/reset", _counted("forgotten"), params=params)


def export_retries(
    function: str | None, version: int | None, after: str | None, limit: int | None
) -> Call[dict[str, Any]]:
    """GET /v1/retries/export."""
    params = _given(function=function, version=version, after=after, limit=limit)
    return Call("GET", "/v1/retries/export", lambda answer: dict(answer.json()), params=params)


def import_retries(exported: Mapping[str, Any]) -> Call[int]:
    """POST /v1/retries/import. An export is sent as it came, but for where its next page begins."""
    body = {name: value for name, value in exported.items() if name != "next"}
    return Call("POST", "/v1/retries/import", _counted("imported"), json=body)


def _given(**values: str | int | None) -> dict[str, str]:
    return {name: str(value) for name, value in values.items() if value is not None}


def _counted(name: str) -> Callable[[httpx.Response], int]:
    return lambda answer: Fields(answer.json()).count(name)


def _read_page(response: httpx.Response) -> tuple[tuple[RetryState, ...], str | None]:
    fields = Fields(response.json())
    return tuple(map(_read, fields.objects("states"))), fields.maybe_text("next")


def _read(fields: Fields) -> RetryState:
    readable = fields.flag("readable")
    budget = fields.nested("budget")
    return RetryState(
        function=fields.maybe_text("function"),
        version=fields.maybe_count("version"),
        upstream=fields.maybe_text("upstream"),
        known=fields.flag("known"),
        frozen=fields.flag("frozen"),
        set_aside=fields.flag("set_aside"),
        readable=readable,
        size_bytes=fields.maybe_count("size_bytes"),
        first_attempts=_rate(fields.nested("first_attempts")) if readable else None,
        retries=tuple(map(_rate, fields.objects("retries"))),
        outage=_outage(fields.nested("outage")) if readable else None,
        needs=fields.pairs("needs", _need),
        budget=RetryBudget(budget.number("earned"), budget.number("allowance"))
        if budget.names()
        else None,
    )


def _rate(fields: Fields) -> LearnedRate:
    return LearnedRate(
        basis=fields.maybe_text("basis") or "",
        success=fields.number("success"),
        trials=fields.number("trials"),
        changes=fields.count("changes"),
        seen_ms=fields.count("seen_ms"),
    )


def _outage(fields: Fields) -> LearnedOutage:
    return LearnedOutage(
        is_out=fields.flag("is_out"),
        failures=fields.count("failures"),
        since_ms=fields.maybe_count("since_ms"),
        remaining_ms=fields.maybe_count("remaining_ms"),
        outages_seen=fields.number("outages_seen"),
    )


def _need(needs: Fields, limit: str) -> LearnedNeed:
    fields = needs.nested(limit)
    return LearnedNeed(
        seen=fields.number("seen"),
        p50=fields.maybe_number("p50"),
        p95=fields.maybe_number("p95"),
        p99=fields.maybe_number("p99"),
    )
