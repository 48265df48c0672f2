"""Upstreams: what they look like, every call about them, and how its answer is read."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TypeVar

import httpx

from stockade_client import readers
from stockade_client.calls import Call, path_part
from stockade_client.fields import Fields

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class Upstream:
    """A server that guests call and that failed lately. Times are Unix milliseconds.

    `upstream` is `http_fetch:HOST[:PORT]`; `state` is `closed`, `open` (calls are refused until
    `next_probe_ms`) or `half_open` (a probe is under way). `failures` are those in a row since
    `since_ms`, `cause` is that of the last, `failed_probes` counts those since it opened.
    """

    upstream: str
    state: str
    failures: int
    cause: str
    since_ms: int
    next_probe_ms: int | None
    failed_probes: int


class UpstreamMethods(ABC):
    """The part of `Client` that is about upstreams."""

    @abstractmethod
    def _send(self, call: Call[_Answer]) -> _Answer:
        """Makes a call."""

    def upstreams(self) -> tuple[Upstream, ...]:
        """The tenant's upstreams of which a call failed lately, by name."""
        return self._send(upstreams())

    def reset_upstream(self, upstream: str) -> None:
        """Lets calls to an upstream out again, and counts its failures anew."""
        self._send(reset_upstream(upstream))


class AsyncUpstreamMethods(ABC):
    """The part of `AsyncClient` that is about upstreams."""

    @abstractmethod
    async def _send(self, call: Call[_Answer]) -> _Answer:
        """Makes a call."""

    async def upstreams(self) -> tuple[Upstream, ...]:
        """The tenant's upstreams of which a call failed lately, by name."""
        return await self._send(upstreams())

    async def reset_upstream(self, upstream: str) -> None:
        """Lets calls to an upstream out again, and counts its failures anew."""
        await self._send(reset_upstream(upstream))


def upstreams() -> Call[tuple[Upstream, ...]]:
    """GET /v1/upstreams."""
    return Call("GET", "/v1/upstreams", _read_all)


def reset_upstream(upstream: str) -> Call[None]:
    """DELETE /v1/upstreams/{upstream}."""
    return Call("DELETE", f"/v1/upstreams/{path_part(upstream)}", readers.nothing)


def _read_all(response: httpx.Response) -> tuple[Upstream, ...]:
    return tuple(map(_read, Fields(response.json()).objects("upstreams")))


def _read(fields: Fields) -> Upstream:
    return Upstream(
        upstream=fields.text("upstream"),
        state=fields.text("state"),
        failures=fields.count("failures"),
        cause=fields.text("cause"),
        since_ms=fields.count("since_ms"),
        next_probe_ms=fields.maybe_count("next_probe_ms"),
        failed_probes=fields.count("failed_probes"),
    )
