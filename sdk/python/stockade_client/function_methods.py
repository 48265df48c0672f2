"""What both clients say about functions."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TypeVar

from stockade_client import functions as calls
from stockade_client.calls import AskedLimits, Call, function_content
from stockade_client.functions import DeletedFunction, Rehearsal, VersionDiff, VersionPage
from stockade_client.types import Function, FunctionDetails, FunctionVersion

_Answer = TypeVar("_Answer")


class FunctionMethods(ABC):
    """The part of `Client` that is about functions."""

    @abstractmethod
    def _send(self, call: Call[_Answer]) -> _Answer:
        """Makes a call."""

    def put_function(  # noqa: PLR0913 - one for each setting
        self,
        name: str,
        module: str,
        *,
        limits: AskedLimits | None = None,
        grants: Sequence[str] | None = None,
        env: Mapping[str, str] | None = None,
        retry: Mapping[str, object] | None = None,
        concurrency: int | None = None,
        record: bool | None = None,
        message: str | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> FunctionVersion:
        """Deploys the module with this digest as the function's next version.

        Args:
            name: The function's.
            module: The digest that the upload returned.
            limits: By name, such as `fuel`, `memory_bytes`, `wall_ms`; the rest takes defaults.
                `"auto"`, for one or for all, follows what runs needed.
            grants: Capabilities the guest may use, such as `log`.
            env: What guests read by `config_get`, WASI guests as their environment.
            retry: `policy`, `max_attempts`, `base_delay_ms`, `max_delay_ms`.
            concurrency: How many invocations of the function run at once at most.
            record: Whether each attempt writes down what varied in it, so that it can be replayed.
            message: A line about the version, such as why it was made.
            labels: More about it, such as the commit.
        """
        content = function_content(module, limits, grants, env, retry, concurrency, record)
        content |= {"message": message, "labels": labels}
        return self._send(calls.put_function(name, content))

    def rehearse_function(  # noqa: PLR0913 - one for each setting
        self,
        name: str,
        module: str | bytes,
        *,
        detached_signature: bytes | None = None,
        limits: AskedLimits | None = None,
        grants: Sequence[str] | None = None,
        env: Mapping[str, str] | None = None,
        retry: Mapping[str, object] | None = None,
        concurrency: int | None = None,
        record: bool | None = None,
        against: str | int | None = None,
    ) -> Rehearsal:
        """What such a deploy would change, and all it would be refused for; writes nothing.

        `module` is a digest, or the signed module itself, which need not be uploaded. `against`
        names a version or an alias to compare with instead of the latest version.
        """
        content = function_content("", limits, grants, env, retry, concurrency, record)
        content |= calls.rehearsed_module(module, detached_signature)
        which = None if against is None else str(against)
        return self._send(calls.rehearse_function(name, content, which))

    def functions(self) -> tuple[Function, ...]:
        """The latest version of each function, by name; asked for page by page."""
        page = self._send(calls.functions(None, None))
        found = page.functions
        while page.next is not None:
            page = self._send(calls.functions(page.next, None))
            found += page.functions
        return found

    def function(
        self, name: str, *, alias: str | None = None, version: int | None = None
    ) -> FunctionDetails:
        """A function's latest version in full, or the one that `alias` or `version` names."""
        return self._send(calls.function(name, alias, version))

    def versions(
        self, name: str, *, before: int | None = None, limit: int | None = None
    ) -> VersionPage:
        """Some versions, newest first; go on with `before` set to the page's `next`."""
        return self._send(calls.versions(name, before, limit))

    def diff(self, name: str, before: int | str, after: int | str = "latest") -> VersionDiff:
        """What differs between two versions, each a number, an alias or `latest`."""
        return self._send(calls.diff(name, str(before), str(after)))

    def delete_version(self, name: str, version: int) -> None:
        """Deletes a version for good; not the latest, and none that an alias points to."""
        self._send(calls.delete_version(name, version))

    def delete_function(self, name: str) -> DeletedFunction:
        """Stops new invocations; the function can be restored for a time."""
        return self._send(calls.delete_function(name))

    def restore_function(self, name: str) -> FunctionDetails:
        """Takes a deletion back, versions, aliases and all."""
        return self._send(calls.restore_function(name))

    def deleted_functions(self) -> tuple[DeletedFunction, ...]:
        """What can be restored, by name; at most 200."""
        return self._send(calls.deleted_functions())


class AsyncFunctionMethods(ABC):
    """The part of `AsyncClient` that is about functions."""

    @abstractmethod
    async def _send(self, call: Call[_Answer]) -> _Answer:
        """Makes a call."""

    async def put_function(  # noqa: PLR0913 - one for each setting
        self,
        name: str,
        module: str,
        *,
        limits: AskedLimits | None = None,
        grants: Sequence[str] | None = None,
        env: Mapping[str, str] | None = None,
        retry: Mapping[str, object] | None = None,
        concurrency: int | None = None,
        record: bool | None = None,
        message: str | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> FunctionVersion:
        """Deploys the module with this digest as the function's next version.

        Args:
            name: The function's.
            module: The digest that the upload returned.
            limits: By name, such as `fuel`, `memory_bytes`, `wall_ms`; the rest takes defaults.
                `"auto"`, for one or for all, follows what runs needed.
            grants: Capabilities the guest may use, such as `log`.
            env: What guests read by `config_get`, WASI guests as their environment.
            retry: `policy`, `max_attempts`, `base_delay_ms`, `max_delay_ms`.
            concurrency: How many invocations of the function run at once at most.
            record: Whether each attempt writes down what varied in it, so that it can be replayed.
            message: A line about the version, such as why it was made.
            labels: More about it, such as the commit.
        """
        content = function_content(module, limits, grants, env, retry, concurrency, record)
        content |= {"message": message, "labels": labels}
        return await self._send(calls.put_function(name, content))

    async def rehearse_function(  # noqa: PLR0913 - one for each setting
        self,
        name: str,
        module: str | bytes,
        *,
        detached_signature: bytes | None = None,
        limits: AskedLimits | None = None,
        grants: Sequence[str] | None = None,
        env: Mapping[str, str] | None = None,
        retry: Mapping[str, object] | None = None,
        concurrency: int | None = None,
        record: bool | None = None,
        against: str | int | None = None,
    ) -> Rehearsal:
        """What such a deploy would change, and all it would be refused for; writes nothing.

        `module` is a digest, or the signed module itself, which need not be uploaded. `against`
        names a version or an alias to compare with instead of the latest version.
        """
        content = function_content("", limits, grants, env, retry, concurrency, record)
        content |= calls.rehearsed_module(module, detached_signature)
        which = None if against is None else str(against)
        return await self._send(calls.rehearse_function(name, content, which))

    async def functions(self) -> tuple[Function, ...]:
        """The latest version of each function, by name; asked for page by page."""
        page = await self._send(calls.functions(None, None))
        found = page.functions
        while page.next is not None:
            page = await self._send(calls.functions(page.next, None))
            found += page.functions
        return found

    async def function(
        self, name: str, *, alias: str | None = None, version: int | None = None
    ) -> FunctionDetails:
        """A function's latest version in full, or the one that `alias` or `version` names."""
        return await self._send(calls.function(name, alias, version))

    async def versions(
        self, name: str, *, before: int | None = None, limit: int | None = None
    ) -> VersionPage:
        """Some versions, newest first; go on with `before` set to the page's `next`."""
        return await self._send(calls.versions(name, before, limit))

    async def diff(self, name: str, before: int | str, after: int | str = "latest") -> VersionDiff:
        """What differs between two versions, each a number, an alias or `latest`."""
        return await self._send(calls.diff(name, str(before), str(after)))

    async def delete_version(self, name: str, version: int) -> None:
        """Deletes a version for good; not the latest, and none that an alias points to."""
        await self._send(calls.delete_version(name, version))

    async def delete_function(self, name: str) -> DeletedFunction:
        """Stops new invocations; the function can be restored for a time."""
        return await self._send(calls.delete_function(name))

    async def restore_function(self, name: str) -> FunctionDetails:
        """Takes a deletion back, versions, aliases and all."""
        return await self._send(calls.restore_function(name))

    async def deleted_functions(self) -> tuple[DeletedFunction, ...]:
        """What can be restored, by name; at most 200."""
        return await self._send(calls.deleted_functions())
