"""The identity policy in force: the newest `policies/identity.toml` that could be read."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from stockade.core.errors import StockadeError
from stockade.core.workloads import IdentityPolicy
from stockade.infra.policies.identity_policy import read_identity_policy
from stockade.infra.policies.policy_text import Source, read_regular
from stockade.infra.policies.watched_files import RELOAD_SECONDS, WatchedFiles, following

_MAX_BYTES = 1024 * 1024


def identity_file(path: Path) -> WatchedFiles[IdentityPolicy]:
    """The `IdentityRules` port over this file.

    Raises:
        StockadeError: `config.identity_invalid`: nothing starts with a policy it cannot read.
    """
    return WatchedFiles(
        "identity",
        lambda: (Source(path.name, read_regular(path, _MAX_BYTES)),),
        read_identity_policy,
        lambda error: StockadeError(
            "config.identity_invalid", f"The identity policy {path} cannot be used: {error}."
        ),
    )


@asynccontextmanager
async def watched_identity(
    path: Path, pause_seconds: float = RELOAD_SECONDS
) -> AsyncIterator[WatchedFiles[IdentityPolicy]]:
    """Rules that follow their file inside.

    Raises:
        StockadeError: `config.identity_invalid`.
    """
    rules = identity_file(path)
    async with following(rules, pause_seconds):
        yield rules
