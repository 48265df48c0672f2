"""What both clients say about retries."""

from abc import ABC, abstractmethod
from typing import TypeVar

from stockade_client import retries as calls
from stockade_client.calls import Call
from stockade_client.retries import Advice, RetryReport

_Answer = TypeVar("_Answer")


class RetryMethods(ABC):
    """The part of `Client` that is about retries."""

    @abstractmethod
    def _send(self, call: Call[_Answer]) -> _Answer:
        """Makes a call."""

    def retry_report(
        self, name: str, *, alias: str | None = None, version: int | None = None
    ) -> RetryReport:
        """How a version's retry policy and its shadow compare; the latest unless one is named."""
        return self._send(calls.retry_report(name, alias, version))

    def advice(self, name: str, *, alias: str | None = None, version: int | None = None) -> Advice:
        """What a version's limits should be, by what runs needed; of the latest by default."""
        return self._send(calls.advice(name, alias, version))


class AsyncRetryMethods(ABC):
    """The part of `AsyncClient` that is about retries."""

    @abstractmethod
    async def _send(self, call: Call[_Answer]) -> _Answer:
        """Makes a call."""

    async def retry_report(
        self, name: str, *, alias: str | None = None, version: int | None = None
    ) -> RetryReport:
        """How a version's retry policy and its shadow compare; the latest unless one is named."""
        return await self._send(calls.retry_report(name, alias, version))

    async def advice(
        self, name: str, *, alias: str | None = None, version: int | None = None
    ) -> Advice:
        """What a version's limits should be, by what runs needed; of the latest by default."""
        return await self._send(calls.advice(name, alias, version))
