"""What both clients say about runs while they go on."""

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager

import httpx

from stockade_client.attempts import RetryRule
from stockade_client.run_events import Course, EventReader, RunEvent


class EventMethods(ABC):
    """The part of `Client` that listens."""

    _retries: RetryRule

    @abstractmethod
    def _open(self, course: Course) -> AbstractContextManager[httpx.Response]:
        """A connection that goes on."""

    def events(self, invocation_id: str, *, last_event_id: str = "") -> Iterator[RunEvent]:
        """What happens in an invocation, as it happens, up to its end: from the beginning.

        A connection that breaks is made again, and nothing is told twice.

        Args:
            invocation_id: Whose.
            last_event_id: Goes on behind the event with this id instead.

        Raises:
            StockadeApiError: The gateway refuses, or goes on no more.
            ConnectionFailed: It cannot be reached.
        """
        course = Course(invocation_id, last_event_id, self._retries)
        while not course.over:
            broke, reader = None, EventReader()
            try:
                with self._open(course) as response:
                    if response.status_code != httpx.codes.OK:
                        response.read()
                        course.refused(response)
                    else:
                        for more in response.iter_bytes():
                            yield from course.take(reader, more)
            except httpx.TransportError as error:
                broke = error
            if not course.over:
                time.sleep(course.pause(broke))


class AsyncEventMethods(ABC):
    """The part of `AsyncClient` that listens."""

    _retries: RetryRule

    @abstractmethod
    def _open(self, course: Course) -> AbstractAsyncContextManager[httpx.Response]:
        """A connection that goes on."""

    async def events(
        self, invocation_id: str, *, last_event_id: str = ""
    ) -> AsyncIterator[RunEvent]:
        """What happens in an invocation, as it happens, up to its end: from the beginning.

        A connection that breaks is made again, and nothing is told twice.

        Args:
            invocation_id: Whose.
            last_event_id: Goes on behind the event with this id instead.

        Raises:
            StockadeApiError: The gateway refuses, or goes on no more.
            ConnectionFailed: It cannot be reached.
        """
        course = Course(invocation_id, last_event_id, self._retries)
        while not course.over:
            broke, reader = None, EventReader()
            try:
                async with self._open(course) as response:
                    if response.status_code != httpx.codes.OK:
                        await response.aread()
                        course.refused(response)
                    else:
                        async for more in response.aiter_bytes():
                            for event in course.take(reader, more):
                                yield event
            except httpx.TransportError as error:
                broke = error
            if not course.over:
                await asyncio.sleep(course.pause(broke))
