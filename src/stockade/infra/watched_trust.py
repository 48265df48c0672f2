"""The operator's `policies/trust.toml`, which is in force within seconds of a change.

A change that cannot be used is not: the last good policy stays, and an alarm says so.
"""

import asyncio
import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NoReturn

import msgspec
import structlog

from stockade.core.digests import check_digest
from stockade.core.errors import StockadeError
from stockade.core.trust import MAX_REASON_CHARACTERS, OnDistrust, TrustPolicy

RELOAD_SECONDS = 1.0
"""How often the file is looked at, and so how old an answer can be."""
_MAX_BYTES = 16 * 1024 * 1024

_log = structlog.get_logger()


class _File(msgspec.Struct, forbid_unknown_fields=True):
    running: OnDistrust
    tenants: dict[str, OnDistrust]
    denied: dict[str, str]


class WatchedTrustRules:
    """The `TrustRules` port over the newest file that could be read.

    Args:
        path: The file.

    Raises:
        StockadeError: `config.trust_invalid`: nothing starts without a policy that can be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = _stamp(path)
        self._current = load_trust_policy(path)
        self._alarm: str | None = None

    @property
    def current(self) -> TrustPolicy:
        """The newest that could be read."""
        return self._current

    @property
    def alarm(self) -> str | None:
        """Why a newer one is not in force; None when this is the newest."""
        return self._alarm

    async def watch(self) -> NoReturn:
        """Looks again and again, until it is cancelled."""
        while True:
            await asyncio.sleep(RELOAD_SECONDS)
            await asyncio.to_thread(self.refresh)

    def refresh(self) -> None:
        """Takes what has changed, or keeps what is good and sets the alarm."""
        stamp = _stamp(self._path)
        if stamp == self._seen and self._alarm is None:
            return
        try:
            self._current = load_trust_policy(self._path)
        except StockadeError as error:
            if self._alarm is None or stamp != self._seen:
                _log.error("trust_policy_kept", reason=error.message)
            self._alarm = error.message
        else:
            self._alarm = None
            _log.info("trust_policy_loaded", denied=len(self._current.denied))
        self._seen = stamp


@asynccontextmanager
async def watched_trust_rules(path: Path) -> AsyncIterator[WatchedTrustRules]:
    """Rules that follow their file inside."""
    rules = WatchedTrustRules(path)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(rules.watch())
        try:
            yield rules
        finally:
            task.cancel()


def load_trust_policy(path: Path) -> TrustPolicy:
    """The policy in this file, which must say everything.

    Raises:
        StockadeError: `config.trust_invalid`.
    """
    try:
        file = msgspec.convert(tomllib.loads(_text(path)), _File)
        for digest, reason in file.denied.items():
            _check_denial(digest, reason)
    except (OSError, ValueError) as error:
        raise StockadeError(
            "config.trust_invalid", f"The trust policy {path} cannot be used: {error}."
        ) from error
    return TrustPolicy(file.running, file.tenants, file.denied)


def _text(path: Path) -> str:
    if path.stat().st_size > _MAX_BYTES:
        raise ValueError(f"it is larger than {_MAX_BYTES} bytes")
    return path.read_text(encoding="utf-8")


def _check_denial(digest: str, reason: str) -> None:
    try:
        check_digest(digest)
    except StockadeError:
        raise ValueError(f"{digest!r} is no digest (sha256: and 64 of 0-9 and a-f)") from None
    if not reason.strip() or len(reason) > MAX_REASON_CHARACTERS or not reason.isprintable():
        raise ValueError(
            f"the reason of {digest} must be one line of 1 to {MAX_REASON_CHARACTERS} characters"
        )


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """What tells one state of the file from another; an unreadable one has none."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_mtime_ns, stat.st_size
