"""What both clients say about aliases."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TypeVar

from stockade_client import aliases as calls
from stockade_client.aliases import Alias, AliasChange
from stockade_client.calls import Call

_Answer = TypeVar("_Answer")


class AliasMethods(ABC):
    """The part of `Client` that is about aliases.

    `expected_revision` is the revision that was seen, 0 for an alias that is not there: when it has
    another one by now, `alias.changed` is raised and nothing changes.
    """

    @abstractmethod
    def _send(self, call: Call[_Answer]) -> _Answer:
        """Makes a call."""

    def put_alias(
        self,
        function: str,
        alias: str,
        *,
        version: int | None = None,
        weights: Mapping[int, int] | None = None,
        percent: Mapping[int, float] | None = None,
        expected_revision: int | None = None,
    ) -> Alias:
        """Points an alias to one version, or to several by weight or by percent."""
        call = calls.put_alias(function, alias, version, weights, percent, expected_revision)
        return self._send(call)

    def alias(self, function: str, alias: str) -> Alias:
        """Where an alias points."""
        return self._send(calls.alias(function, alias))

    def aliases(self, function: str) -> tuple[Alias, ...]:
        """The function's aliases by name."""
        return self._send(calls.aliases(function))

    def delete_alias(
        self, function: str, alias: str, *, expected_revision: int | None = None
    ) -> None:
        """Deletes an alias; its history stays."""
        self._send(calls.delete_alias(function, alias, expected_revision))

    def alias_history(self, function: str, alias: str) -> tuple[AliasChange, ...]:
        """The last changes of an alias, newest first."""
        return self._send(calls.alias_history(function, alias))

    def promote(
        self,
        function: str,
        alias: str,
        source: int | str,
        *,
        percent: float | None = None,
        expected_revision: int | None = None,
    ) -> Alias:
        """Points an alias to a version, or to what another alias has; in part by `percent`."""
        call = calls.promote(function, alias, source, percent, expected_revision)
        return self._send(call)

    def rollback(
        self,
        function: str,
        alias: str,
        *,
        to_revision: int | None = None,
        expected_revision: int | None = None,
    ) -> Alias:
        """Points an alias to what it pointed to before; again goes further back."""
        call = calls.rollback(function, alias, to_revision, expected_revision)
        return self._send(call)


class AsyncAliasMethods(ABC):
    """The part of `AsyncClient` that is about aliases.

    `expected_revision` is the revision that was seen, 0 for an alias that is not there: when it has
    another one by now, `alias.changed` is raised and nothing changes.
    """

    @abstractmethod
    async def _send(self, call: Call[_Answer]) -> _Answer:
        """Makes a call."""

    async def put_alias(
        self,
        function: str,
        alias: str,
        *,
        version: int | None = None,
        weights: Mapping[int, int] | None = None,
        percent: Mapping[int, float] | None = None,
        expected_revision: int | None = None,
    ) -> Alias:
        """Points an alias to one version, or to several by weight or by percent."""
        call = calls.put_alias(function, alias, version, weights, percent, expected_revision)
        return await self._send(call)

    async def alias(self, function: str, alias: str) -> Alias:
        """Where an alias points."""
        return await self._send(calls.alias(function, alias))

    async def aliases(self, function: str) -> tuple[Alias, ...]:
        """The function's aliases by name."""
        return await self._send(calls.aliases(function))

    async def delete_alias(
        self, function: str, alias: str, *, expected_revision: int | None = None
    ) -> None:
        """Deletes an alias; its history stays."""
        await self._send(calls.delete_alias(function, alias, expected_revision))

    async def alias_history(self, function: str, alias: str) -> tuple[AliasChange, ...]:
        """The last changes of an alias, newest first."""
        return await self._send(calls.alias_history(function, alias))

    async def promote(
        self,
        function: str,
        alias: str,
        source: int | str,
        *,
        percent: float | None = None,
        expected_revision: int | None = None,
    ) -> Alias:
        """Points an alias to a version, or to what another alias has; in part by `percent`."""
        call = calls.promote(function, alias, source, percent, expected_revision)
        return await self._send(call)

    async def rollback(
        self,
        function: str,
        alias: str,
        *,
        to_revision: int | None = None,
        expected_revision: int | None = None,
    ) -> Alias:
        """Points an alias to what it pointed to before; again goes further back."""
        call = calls.rollback(function, alias, to_revision, expected_revision)
        return await self._send(call)
