"""What both clients say about signers."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TypeVar

from stockade_client import trust
from stockade_client.calls import Call
from stockade_client.trust import FunctionTrust, Signer

_Answer = TypeVar("_Answer")


class TrustMethods(ABC):
    """The part of `Client` that is about signers."""

    @abstractmethod
    def _send(self, call: Call[_Answer]) -> _Answer:
        """Makes a call."""

    def add_signer(
        self,
        name: str,
        public_key: str,
        *,
        not_before: str | None = None,
        not_after: str | None = None,
    ) -> Signer:
        """Trusts a key (PEM, OpenSSH, or base64 of the 32 raw bytes), within RFC 3339 times."""
        return self._send(trust.add_signer(name, public_key, not_before, not_after))

    def signers(self) -> tuple[Signer, ...]:
        """All signers, revoked ones too."""
        return self._send(trust.signers())

    def signer(self, name: str) -> Signer:
        """One signer."""
        return self._send(trust.signer(name))

    def rotate_signer(
        self,
        name: str,
        public_key: str,
        *,
        new_name: str | None = None,
        overlap_seconds: int | None = None,
        not_after: str | None = None,
    ) -> Signer:
        """Puts a new key in a signer's place, and returns the new signer.

        Args:
            name: The signer whose key is replaced; it expires after the overlap.
            public_key: The new key, as for `add_signer`.
            new_name: The new signer's; the old one's with the next number when left out.
            overlap_seconds: How long both count, as one; a week when left out.
            not_after: When the new key expires (RFC 3339).
        """
        call = trust.rotate_signer(name, public_key, new_name, overlap_seconds, not_after)
        return self._send(call)

    def revoke_signer(self, name: str, reason: str | None = None) -> None:
        """Revokes a signer: what only it signed no longer runs."""
        self._send(trust.revoke_signer(name, reason))

    def put_function_trust(
        self, function: str, threshold: int, signers: Sequence[str] = ()
    ) -> FunctionTrust:
        """Says how many must sign a function's module, and of whom; no names means anybody."""
        return self._send(trust.put_function_trust(function, threshold, signers))

    def function_trust(self, function: str) -> FunctionTrust:
        """How many must sign a function's module."""
        return self._send(trust.function_trust(function))


class AsyncTrustMethods(ABC):
    """The part of `AsyncClient` that is about signers."""

    @abstractmethod
    async def _send(self, call: Call[_Answer]) -> _Answer:
        """Makes a call."""

    async def add_signer(
        self,
        name: str,
        public_key: str,
        *,
        not_before: str | None = None,
        not_after: str | None = None,
    ) -> Signer:
        """Trusts a key (PEM, OpenSSH, or base64 of the 32 raw bytes), within RFC 3339 times."""
        return await self._send(trust.add_signer(name, public_key, not_before, not_after))

    async def signers(self) -> tuple[Signer, ...]:
        """All signers, revoked ones too."""
        return await self._send(trust.signers())

    async def signer(self, name: str) -> Signer:
        """One signer."""
        return await self._send(trust.signer(name))

    async def rotate_signer(
        self,
        name: str,
        public_key: str,
        *,
        new_name: str | None = None,
        overlap_seconds: int | None = None,
        not_after: str | None = None,
    ) -> Signer:
        """Puts a new key in a signer's place, and returns the new signer.

        Args:
            name: The signer whose key is replaced; it expires after the overlap.
            public_key: The new key, as for `add_signer`.
            new_name: The new signer's; the old one's with the next number when left out.
            overlap_seconds: How long both count, as one; a week when left out.
            not_after: When the new key expires (RFC 3339).
        """
        call = trust.rotate_signer(name, public_key, new_name, overlap_seconds, not_after)
        return await self._send(call)

    async def revoke_signer(self, name: str, reason: str | None = None) -> None:
        """Revokes a signer: what only it signed no longer runs."""
        await self._send(trust.revoke_signer(name, reason))

    async def put_function_trust(
        self, function: str, threshold: int, signers: Sequence[str] = ()
    ) -> FunctionTrust:
        """Says how many must sign a function's module, and of whom; no names means anybody."""
        return await self._send(trust.put_function_trust(function, threshold, signers))

    async def function_trust(self, function: str) -> FunctionTrust:
        """How many must sign a function's module."""
        return await self._send(trust.function_trust(function))
