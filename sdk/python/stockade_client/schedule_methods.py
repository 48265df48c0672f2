"""What both clients say about schedules."""

from abc import ABC, abstractmethod
from typing import TypeVar

from stockade_client import schedules
from stockade_client.calls import Call
from stockade_client.schedules import Cron, Every, Schedule

_Answer = TypeVar("_Answer")


class ScheduleMethods(ABC):
    """The part of `Client` that is about schedules."""

    @abstractmethod
    def _send(self, call: Call[_Answer]) -> _Answer:
        """Makes a call."""

    def put_schedule(
        self,
        name: str,
        function: str,
        timing: Cron | Every,
        content: bytes = b"",
        *,
        alias: str | None = None,
        version: int | None = None,
        priority: str | None = None,
        catch_up: str | None = None,
    ) -> Schedule:
        """Creates or replaces a schedule; one that is paused stays so.

        Args:
            name: The schedule's.
            function: What it runs.
            timing: `Cron("30 3 * * MON-FRI", "Europe/Berlin")` or `Every(60)`.
            content: The input of each run.
            alias: Which alias to run; or
            version: which version; the latest when neither is given.
            priority: `urgent`, `high`, `normal` or `low`.
            catch_up: What becomes of missed times: `skip`, `one` or `all`.
        """
        options: dict[str, str | int | None] = {
            "alias": alias,
            "version": version,
            "priority": priority,
            "catch_up": catch_up,
        }
        call = schedules.put_schedule(name, function, timing, content, options)
        return self._send(call)

    def schedules(self) -> tuple[Schedule, ...]:
        """All schedules by name, without their inputs and next times."""
        return self._send(schedules.schedules())

    def schedule(self, name: str) -> Schedule:
        """A schedule with its input and its next times."""
        return self._send(schedules.schedule(name))

    def pause_schedule(self, name: str) -> Schedule:
        """Keeps a schedule from firing until it is resumed."""
        return self._send(schedules.pause_schedule(name))

    def resume_schedule(self, name: str) -> Schedule:
        """Lets a schedule fire from now on."""
        return self._send(schedules.resume_schedule(name))

    def delete_schedule(self, name: str) -> None:
        """Deletes a schedule; what it fired goes on."""
        self._send(schedules.delete_schedule(name))


class AsyncScheduleMethods(ABC):
    """The part of `AsyncClient` that is about schedules."""

    @abstractmethod
    async def _send(self, call: Call[_Answer]) -> _Answer:
        """Makes a call."""

    async def put_schedule(
        self,
        name: str,
        function: str,
        timing: Cron | Every,
        content: bytes = b"",
        *,
        alias: str | None = None,
        version: int | None = None,
        priority: str | None = None,
        catch_up: str | None = None,
    ) -> Schedule:
        """Creates or replaces a schedule; one that is paused stays so.

        Args:
            name: The schedule's.
            function: What it runs.
            timing: `Cron("30 3 * * MON-FRI", "Europe/Berlin")` or `Every(60)`.
            content: The input of each run.
            alias: Which alias to run; or
            version: which version; the latest when neither is given.
            priority: `urgent`, `high`, `normal` or `low`.
            catch_up: What becomes of missed times: `skip`, `one` or `all`.
        """
        options: dict[str, str | int | None] = {
            "alias": alias,
            "version": version,
            "priority": priority,
            "catch_up": catch_up,
        }
        call = schedules.put_schedule(name, function, timing, content, options)
        return await self._send(call)

    async def schedules(self) -> tuple[Schedule, ...]:
        """All schedules by name, without their inputs and next times."""
        return await self._send(schedules.schedules())

    async def schedule(self, name: str) -> Schedule:
        """A schedule with its input and its next times."""
        return await self._send(schedules.schedule(name))

    async def pause_schedule(self, name: str) -> Schedule:
        """Keeps a schedule from firing until it is resumed."""
        return await self._send(schedules.pause_schedule(name))

    async def resume_schedule(self, name: str) -> Schedule:
        """Lets a schedule fire from now on."""
        return await self._send(schedules.resume_schedule(name))

    async def delete_schedule(self, name: str) -> None:
        """Deletes a schedule; what it fired goes on."""
        await self._send(schedules.delete_schedule(name))
