"""The operator's trust policy in force: the newest `policies/trust.toml` that could be read."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from stockade.core.digests import is_digest
from stockade.core.errors import StockadeError
from stockade.core.trust import MAX_REASON_CHARACTERS, OnDistrust, TrustPolicy
from stockade.infra.policies.policy_text import Source, read_regular
from stockade.infra.policies.toml_files import parse_toml
from stockade.infra.policies.watched_files import RELOAD_SECONDS, WatchedFiles, following

_MAX_BYTES = 16 * 1024 * 1024


class _File(msgspec.Struct, forbid_unknown_fields=True):
    running: OnDistrust
    tenants: dict[str, OnDistrust]
    denied: dict[str, str]


def trust_file(path: Path) -> WatchedFiles[TrustPolicy]:
    """The `TrustRules` port over this file.

    Raises:
        StockadeError: `config.trust_invalid`: nothing starts without a policy that can be read.
    """
    return WatchedFiles(
        "trust",
        lambda: (Source(path.name, read_regular(path, _MAX_BYTES)),),
        read_trust_policy,
        lambda error: StockadeError(
            "config.trust_invalid", f"The trust policy {path} cannot be used: {error}."
        ),
    )


@asynccontextmanager
async def watched_trust_rules(
    path: Path, pause_seconds: float = RELOAD_SECONDS
) -> AsyncIterator[WatchedFiles[TrustPolicy]]:
    """Rules that follow their file inside.

    Raises:
        StockadeError: `config.trust_invalid`.
    """
    rules = trust_file(path)
    async with following(rules, pause_seconds):
        yield rules


def read_trust_policy(sources: tuple[Source, ...]) -> TrustPolicy:
    """The policy, which must say everything.

    Raises:
        ValueError: And what is wrong.
    """
    [source] = sources
    file = parse_toml(source.content, _File)
    for digest, reason in file.denied.items():
        _check_denial(digest, reason)
    return TrustPolicy(file.running, file.tenants, file.denied)


def _check_denial(digest: str, reason: str) -> None:
    if not is_digest(digest):
        raise ValueError(f"{digest!r} is no digest (sha256: and 64 of 0-9 and a-f)")
    if not reason.strip() or len(reason) > MAX_REASON_CHARACTERS or not reason.isprintable():
        raise ValueError(
            f"the reason of {digest} must be one line of 1 to {MAX_REASON_CHARACTERS} characters"
        )
