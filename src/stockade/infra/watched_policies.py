"""Policies that follow their files: a change is in force within seconds, without a restart.

A change that cannot be used is not: the last good policies stay, and an alarm says so.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NoReturn

import structlog

from stockade.core.authorization import Decision, Question, Vouching
from stockade.core.errors import StockadeError
from stockade.infra.cedar_policies import CedarPolicies

RELOAD_SECONDS = 1.0
"""How often the files are looked at, and so how old an answer can be."""

_log = structlog.get_logger()


class WatchedPolicies:
    """The `PolicyEngine` port over the newest policies that could be read.

    Args:
        directory: Where `*.cedar` and the schema lie.

    Raises:
        StockadeError: `config.policies_invalid`: nothing starts without sound policies.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._current = CedarPolicies.load(directory)
        self._seen = _stamp(directory)
        self._alarm: str | None = None

    @property
    def version(self) -> str:
        """A digest of the policies in force."""
        return self._current.version

    @property
    def alarm(self) -> str | None:
        """Why newer policies are not in force; None when these are the newest."""
        return self._alarm

    def decide(self, question: Question) -> Decision:
        """What the policies say; an error in one of them denies."""
        return self._current.decide(question)

    def vouches(self, vouching: Vouching) -> Decision:
        """Whether the signer's signature counts for the module."""
        return self._current.vouches(vouching)

    async def watch(self) -> NoReturn:
        """Looks again and again, until it is cancelled."""
        while True:
            await asyncio.sleep(RELOAD_SECONDS)
            await asyncio.to_thread(self.refresh)

    def refresh(self) -> None:
        """Takes what has changed, or keeps what is good and sets the alarm."""
        stamp = _stamp(self._directory)
        if stamp == self._seen and self._alarm is None:
            return
        try:
            changed = CedarPolicies.load(self._directory)
        except StockadeError as error:
            if stamp != self._seen:
                _log.error("policies_kept", kept=self.version, reason=error.message)
            self._alarm, self._seen = error.message, stamp
            return
        if changed.version != self.version or self._alarm is not None:
            _log.info("policies_loaded", version=changed.version)
        self._current, self._seen, self._alarm = changed, stamp, None


@asynccontextmanager
async def watched_policies(directory: Path) -> AsyncIterator[WatchedPolicies]:
    """Policies that follow their files inside."""
    policies = WatchedPolicies(directory)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(policies.watch())
        try:
            yield policies
        finally:
            task.cancel()


def _stamp(directory: Path) -> tuple[tuple[str, int, int, int], ...]:
    """What tells one state of the files from another; unreadable ones have none."""
    try:
        files = sorted(file for file in directory.iterdir() if file.suffix.startswith(".cedar"))
        stats = [(file.name, file.stat()) for file in files]
    except OSError:
        return ()
    return tuple((name, stat.st_ino, stat.st_mtime_ns, stat.st_size) for name, stat in stats)
