"""The policies in force: the newest of a directory that could be read."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import structlog

from stockade.core.authorization import Decision, Question, Vouching
from stockade.infra.policies.cedar_policies import CedarPolicies, policies_invalid
from stockade.infra.policies.policy_text import read_sources
from stockade.infra.policies.watched_files import RELOAD_SECONDS, WatchedFiles, following

_log = structlog.get_logger()


class WatchedPolicies:
    """The `PolicyEngine` port over policies that follow their files.

    Args:
        files: What follows them.
    """

    def __init__(self, files: WatchedFiles[CedarPolicies]) -> None:
        self._files = files

    @property
    def version(self) -> str:
        """A digest of the policies in force."""
        return self._files.current.version

    @property
    def alarm(self) -> str | None:
        """Why newer policies are not in force; None when these are the newest."""
        return self._files.alarm

    def decide(self, question: Question) -> Decision:
        """What the policies say; an error in one of them denies."""
        return self._told(self._files.current.decide(question), question.action.value)

    def vouches(self, vouching: Vouching) -> Decision:
        """Whether the signer's signature counts for the module."""
        return self._told(self._files.current.vouches(vouching), "vouch")

    def _told(self, decision: Decision, action: str) -> Decision:
        if decision.failed:
            named, why = decision.policies, decision.reason
            _log.error(
                "policy_failed", action=action, policies=named, reason=why, version=self.version
            )
        return decision


def policy_files(directory: Path) -> WatchedFiles[CedarPolicies]:
    """The policies of the directory.

    Raises:
        StockadeError: `config.policies_invalid`: nothing starts without sound policies.
    """
    return WatchedFiles(
        "authorization",
        lambda: read_sources(directory),
        CedarPolicies,
        lambda error: policies_invalid(directory, error),
    )


@asynccontextmanager
async def watched_policies(
    directory: Path, pause_seconds: float = RELOAD_SECONDS
) -> AsyncIterator[WatchedPolicies]:
    """Policies that follow their files inside.

    Raises:
        StockadeError: `config.policies_invalid`.
    """
    files = policy_files(directory)
    async with following(files, pause_seconds):
        yield WatchedPolicies(files)
