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
from stockade.infra.cedar_policies import CedarPolicies, policies_invalid
from stockade.infra.policy_text import Source, read_sources

RELOAD_SECONDS = 0.5
"""How often the files are looked at. A change is in force after the look that finds it at rest:
two looks at most, and what it takes to read it."""

_Seen = tuple[Source, ...] | str
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
        self._seen = self._judged = _look(directory)
        self._alarm: str | None = None
        try:
            self._current = _made(self._judged)
        except ValueError as error:
            raise policies_invalid(directory, error) from error

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
        return self._told(self._current.decide(question), question.action.value)

    def vouches(self, vouching: Vouching) -> Decision:
        """Whether the signer's signature counts for the module."""
        return self._told(self._current.vouches(vouching), "vouch")

    def _told(self, decision: Decision, action: str) -> Decision:
        if decision.failed:
            named, why = decision.policies, decision.reason
            _log.error(
                "policy_failed", action=action, policies=named, reason=why, version=self.version
            )
        return decision

    async def watch(self, pause_seconds: float) -> NoReturn:
        """Looks again and again, until it is cancelled."""
        while True:
            await asyncio.sleep(pause_seconds)
            try:
                await asyncio.to_thread(self.refresh)
            except Exception as error:  # noqa: BLE001 - an alarm must not end who raises it
                self._judged, self._alarm = "", "The policies cannot be looked at; see the log."
                _log.error("policies_watch_failed", exc_info=error)

    def refresh(self) -> None:
        """Takes what has changed, or keeps what is good and sets the alarm.

        A change counts once two looks find the same: a file that is being written may well be sound
        without the policies that are still to come.
        """
        seen, self._seen = _look(self._directory), self._seen
        at_rest, self._seen = seen == self._seen, seen
        if not at_rest or seen == self._judged:
            return
        self._judged = seen
        try:
            self._current = _made(seen)
        except ValueError as error:
            self._alarm = policies_invalid(self._directory, error).message
            _log.error("policies_kept", kept=self.version, reason=self._alarm)
            return
        self._alarm = None
        _log.info("policies_loaded", version=self.version)


@asynccontextmanager
async def watched_policies(
    directory: Path, pause_seconds: float = RELOAD_SECONDS
) -> AsyncIterator[WatchedPolicies]:
    """Policies that follow their files inside."""
    policies = WatchedPolicies(directory)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(policies.watch(pause_seconds))
        try:
            yield policies
        finally:
            task.cancel()


def _look(directory: Path) -> _Seen:
    """What the files hold now, or why they cannot be read."""
    try:
        return read_sources(directory)
    except (OSError, ValueError) as error:
        return str(error)


def _made(seen: _Seen) -> CedarPolicies:
    if isinstance(seen, str):
        raise ValueError(seen)  # noqa: TRY004 - it says what is wrong with the files
    return CedarPolicies(seen)
