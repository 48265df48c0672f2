"""What both clients say about modules."""

from abc import ABC, abstractmethod
from typing import TypeVar

from stockade_client import modules
from stockade_client.calls import Call
from stockade_client.modules import ModuleDetails, ModulePage, StorageUsage

_Answer = TypeVar("_Answer")


class ModuleMethods(ABC):
    """The part of `Client` that is about modules."""

    @abstractmethod
    def _send(self, call: Call[_Answer]) -> _Answer:
        """Makes a call."""

    def module(self, digest: str) -> ModuleDetails:
        """All that is known of an uploaded module."""
        return self._send(modules.module(digest))

    def modules(self, *, limit: int | None = None, after: str | None = None) -> ModulePage:
        """The tenant's modules, newest first; `after` is the `following` of the page before."""
        return self._send(modules.modules(limit, after))

    def delete_module(self, digest: str) -> None:
        """Deletes a module that no function version is made of."""
        self._send(modules.delete_module(digest))

    def storage_usage(self) -> StorageUsage:
        """What the tenant's modules take, and what they may take."""
        return self._send(modules.storage_usage())


class AsyncModuleMethods(ABC):
    """The part of `AsyncClient` that is about modules."""

    @abstractmethod
    async def _send(self, call: Call[_Answer]) -> _Answer:
        """Makes a call."""

    async def module(self, digest: str) -> ModuleDetails:
        """All that is known of an uploaded module."""
        return await self._send(modules.module(digest))

    async def modules(self, *, limit: int | None = None, after: str | None = None) -> ModulePage:
        """The tenant's modules, newest first; `after` is the `following` of the page before."""
        return await self._send(modules.modules(limit, after))

    async def delete_module(self, digest: str) -> None:
        """Deletes a module that no function version is made of."""
        await self._send(modules.delete_module(digest))

    async def storage_usage(self) -> StorageUsage:
        """What the tenant's modules take, and what they may take."""
        return await self._send(modules.storage_usage())
