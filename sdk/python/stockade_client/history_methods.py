"""What both clients say about runs that ended, and usage."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator
from typing import TypeVar

from stockade_client import history as calls
from stockade_client.calls import Call
from stockade_client.history import (
    PAGE,
    Run,
    RunFilter,
    RunPage,
    UsageFilter,
    UsageOfDay,
    UsagePage,
    place_of,
)

_Answer = TypeVar("_Answer")
_EVERY_RUN, _ALL_USAGE = RunFilter(), UsageFilter()


class HistoryMethods(ABC):
    """The part of `Client` that is about the history."""

    @abstractmethod
    def _send(self, call: Call[_Answer]) -> _Answer:
        """Makes a call."""

    def runs(
        self,
        wanted: RunFilter = _EVERY_RUN,
        *,
        limit: int | None = None,
        after: str | None = None,
    ) -> RunPage:
        """A page of runs, newest end first; `after` is the `next` of the page before."""
        return self._send(calls.runs(wanted, limit, after))

    def all_runs(self, wanted: RunFilter = _EVERY_RUN) -> Iterator[Run]:
        """All runs, newest end first, a page in memory at a time."""
        page = self.runs(wanted, limit=PAGE)
        yield from page.runs
        while page.next is not None:
            page = self.runs(wanted, limit=PAGE, after=page.next)
            yield from page.runs

    def run_lines(
        self, wanted: RunFilter = _EVERY_RUN, *, after: str | None = None
    ) -> Iterator[str]:
        """Runs with their attempts as lines of JSON, oldest end first, a page in memory at a time.

        Args:
            wanted: Which.
            after: Goes on after the line with this `place`.
        """
        while lines := self._send(calls.run_lines(wanted, PAGE, after)):
            yield from lines
            after = place_of(lines[-1])

    def usage(
        self,
        wanted: UsageFilter = _ALL_USAGE,
        *,
        limit: int | None = None,
        after: str | None = None,
    ) -> UsagePage:
        """A page of usage, newest day first; `after` is the `next` of the page before."""
        return self._send(calls.usage(wanted, limit, after))

    def all_usage(self, wanted: UsageFilter = _ALL_USAGE) -> Iterator[UsageOfDay]:
        """All usage, newest day first, a page in memory at a time."""
        page = self.usage(wanted, limit=PAGE)
        yield from page.usage
        while page.next is not None:
            page = self.usage(wanted, limit=PAGE, after=page.next)
            yield from page.usage


class AsyncHistoryMethods(ABC):
    """The part of `AsyncClient` that is about the history."""

    @abstractmethod
    async def _send(self, call: Call[_Answer]) -> _Answer:
        """Makes a call."""

    async def runs(
        self,
        wanted: RunFilter = _EVERY_RUN,
        *,
        limit: int | None = None,
        after: str | None = None,
    ) -> RunPage:
        """A page of runs, newest end first; `after` is the `next` of the page before."""
        return await self._send(calls.runs(wanted, limit, after))

    async def all_runs(self, wanted: RunFilter = _EVERY_RUN) -> AsyncIterator[Run]:
        """All runs, newest end first, a page in memory at a time."""
        page = await self.runs(wanted, limit=PAGE)
        for run in page.runs:
            yield run
        while page.next is not None:
            page = await self.runs(wanted, limit=PAGE, after=page.next)
            for run in page.runs:
                yield run

    async def run_lines(
        self, wanted: RunFilter = _EVERY_RUN, *, after: str | None = None
    ) -> AsyncIterator[str]:
        """Runs with their attempts as lines of JSON, oldest end first, a page in memory at a time.

        Args:
            wanted: Which.
            after: Goes on after the line with this `place`.
        """
        while lines := await self._send(calls.run_lines(wanted, PAGE, after)):
            for line in lines:
                yield line
            after = place_of(lines[-1])

    async def usage(
        self,
        wanted: UsageFilter = _ALL_USAGE,
        *,
        limit: int | None = None,
        after: str | None = None,
    ) -> UsagePage:
        """A page of usage, newest day first; `after` is the `next` of the page before."""
        return await self._send(calls.usage(wanted, limit, after))

    async def all_usage(self, wanted: UsageFilter = _ALL_USAGE) -> AsyncIterator[UsageOfDay]:
        """All usage, newest day first, a page in memory at a time."""
        page = await self.usage(wanted, limit=PAGE)
        for one in page.usage:
            yield one
        while page.next is not None:
            page = await self.usage(wanted, limit=PAGE, after=page.next)
            for one in page.usage:
                yield one
