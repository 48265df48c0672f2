"""What both clients say about the audit log."""

from abc import ABC, abstractmethod
from typing import TypeVar

from stockade_client import audit as calls
from stockade_client.audit import AuditEntry, AuditFilter, AuditHead
from stockade_client.calls import Call

_Answer = TypeVar("_Answer")
_EVERYTHING = AuditFilter()


class AuditMethods(ABC):
    """The part of `Client` that is about the audit log."""

    @abstractmethod
    def _send(self, call: Call[_Answer]) -> _Answer:
        """Makes a call."""

    def audit(
        self,
        wanted: AuditFilter = _EVERYTHING,
        *,
        limit: int | None = None,
        before: int | None = None,
    ) -> tuple[AuditEntry, ...]:
        """Entries, newest first; `before` is the last number of the page before."""
        return self._send(calls.audit(wanted, limit, before))

    def audit_head(self) -> AuditHead | None:
        """The log's signed head; None while the log is empty."""
        return self._send(calls.audit_head())

    def audit_lines(self, *, after: int | None = None, limit: int | None = None) -> tuple[str, ...]:
        """The log's own lines, oldest first, as `stockade audit verify` and others check them.

        The signed head is the last line, once the newest entry is reached.

        Args:
            after: Goes on after the entry of this number.
            limit: At most so many entries; without it all come in one answer.
        """
        return self._send(calls.audit_lines(after, limit))


class AsyncAuditMethods(ABC):
    """The part of `AsyncClient` that is about the audit log."""

    @abstractmethod
    async def _send(self, call: Call[_Answer]) -> _Answer:
        """Makes a call."""

    async def audit(
        self,
        wanted: AuditFilter = _EVERYTHING,
        *,
        limit: int | None = None,
        before: int | None = None,
    ) -> tuple[AuditEntry, ...]:
        """Entries, newest first; `before` is the last number of the page before."""
        return await self._send(calls.audit(wanted, limit, before))

    async def audit_head(self) -> AuditHead | None:
        """The log's signed head; None while the log is empty."""
        return await self._send(calls.audit_head())

    async def audit_lines(
        self, *, after: int | None = None, limit: int | None = None
    ) -> tuple[str, ...]:
        """The log's own lines, oldest first, as `stockade audit verify` and others check them.

        The signed head is the last line, once the newest entry is reached.

        Args:
            after: Goes on after the entry of this number.
            limit: At most so many entries; without it all come in one answer.
        """
        return await self._send(calls.audit_lines(after, limit))
