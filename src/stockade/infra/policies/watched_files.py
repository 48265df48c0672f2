"""What follows its files: a change is in force within seconds, without a restart.

A change that cannot be used is not: the last good one stays, and an alarm says so.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Generic, NoReturn, TypeVar

import structlog

from stockade.core.errors import StockadeError
from stockade.infra.policies.policy_text import Source

RELOAD_SECONDS = 0.5
"""How often files are looked at. A change is in force after the look that finds it at rest: two
looks at most, and what it takes to read it."""

T = TypeVar("T")
_Seen = tuple[Source, ...] | str
_log = structlog.get_logger()


class WatchedFiles(Generic[T]):
    """The newest that could be made of the files.

    Args:
        what: What it is, for the log.
        read: Reads the files; OSError and ValueError say why not.
        make: Makes it of them; ValueError says why not.
        refusal: The error for one of those.

    Raises:
        StockadeError: `refusal`'s: nothing starts without a sound one.
    """

    def __init__(
        self,
        what: str,
        read: Callable[[], tuple[Source, ...]],
        make: Callable[[tuple[Source, ...]], T],
        refusal: Callable[[Exception], StockadeError],
    ) -> None:
        self._what, self._read, self._make, self._refusal = what, read, make, refusal
        self._seen = self._judged = self._look()
        self.alarm: str | None = None
        try:
            self.current = self._made(self._judged)
        except ValueError as error:
            raise refusal(error) from error

    async def watch(self, pause_seconds: float) -> NoReturn:
        """Looks again and again, until it is cancelled."""
        while True:
            await asyncio.sleep(pause_seconds)
            try:
                await asyncio.to_thread(self.refresh)
            except Exception as error:  # noqa: BLE001 - an alarm must not end who raises it
                self._judged, self.alarm = "", "The files cannot be looked at; see the log."
                _log.error("files_watch_failed", what=self._what, exc_info=error)

    def refresh(self) -> None:
        """Takes what has changed, or keeps what is good and sets the alarm.

        A change counts once two looks find the same: a file that is being written may well be sound
        without what is still to come.
        """
        seen, before = self._look(), self._seen
        self._seen = seen
        if seen != before or seen == self._judged:
            return
        self._judged = seen
        try:
            self.current = self._made(seen)
        except ValueError as error:
            self.alarm = self._refusal(error).message
            _log.error("changed_files_refused", what=self._what, reason=self.alarm)
            return
        self.alarm = None
        _log.info("changed_files_taken", what=self._what)

    def _look(self) -> _Seen:
        """What the files hold now, or why they cannot be read."""
        try:
            return self._read()
        except (OSError, ValueError) as error:
            return str(error)

    def _made(self, seen: _Seen) -> T:
        if isinstance(seen, str):
            raise ValueError(seen)  # noqa: TRY004 - it says what is wrong with the files
        return self._make(seen)


@asynccontextmanager
async def following(watched: WatchedFiles[T], pause_seconds: float) -> AsyncIterator[None]:
    """They follow their files inside."""
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(watched.watch(pause_seconds))
        try:
            yield
        finally:
            task.cancel()
