"""What both clients say about API keys."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TypeVar

from stockade_client import keys
from stockade_client.calls import Call
from stockade_client.keys import ApiKey, NewApiKey, WorkloadKey

_Answer = TypeVar("_Answer")


class KeyMethods(ABC):
    """The part of `Client` that is about API keys."""

    @abstractmethod
    def _send(self, call: Call[_Answer]) -> _Answer:
        """Makes a call."""

    def api_keys(self) -> tuple[ApiKey, ...]:
        """All keys of the tenant, those no longer in force too, by age; without their secrets."""
        return self._send(keys.api_keys())

    def create_api_key(
        self,
        name: str,
        *,
        role: str | None = None,
        scopes: Sequence[str] | None = None,
        expires_in_seconds: int | None = None,
    ) -> NewApiKey:
        """Makes a key, which by default may all that the own one may.

        Args:
            name: To know it by.
            role: `viewer`, `invoker`, `developer` or `admin`.
            scopes: Narrow it below its role: `read`, `invoke`, `deploy`, `administer`, and
                `invoke:FUNCTION` and the like.
            expires_in_seconds: When it ends; with the caller's own key when left out.
        """
        call = keys.create_api_key(name, role, scopes, expires_in_seconds)
        return self._send(call)

    def rotate_api_key(self, key_id: str, *, overlap_seconds: int | None = None) -> NewApiKey:
        """A new key like this one, which ends after the overlap: by default after a day."""
        return self._send(keys.rotate_api_key(key_id, overlap_seconds))

    def revoke_api_key(self, key_id: str) -> None:
        """Ends a key, within seconds on every gateway."""
        self._send(keys.revoke_api_key(key_id))

    def exchange_token(self, token: str, *, rule: str | None = None) -> WorkloadKey:
        """A short-lived key for a CI job's token; wants no key. A token counts once.

        Args:
            token: What the job's CI service signed for it.
            rule: The operator's rule by which to take it; the first that fits when left out.
        """
        return self._send(keys.exchange_token(token, rule))


class AsyncKeyMethods(ABC):
    """The part of `AsyncClient` that is about API keys."""

    @abstractmethod
    async def _send(self, call: Call[_Answer]) -> _Answer:
        """Makes a call."""

    async def api_keys(self) -> tuple[ApiKey, ...]:
        """All keys of the tenant, those no longer in force too, by age; without their secrets."""
        return await self._send(keys.api_keys())

    async def create_api_key(
        self,
        name: str,
        *,
        role: str | None = None,
        scopes: Sequence[str] | None = None,
        expires_in_seconds: int | None = None,
    ) -> NewApiKey:
        """Makes a key, which by default may all that the own one may.

        Args:
            name: To know it by.
            role: `viewer`, `invoker`, `developer` or `admin`.
            scopes: Narrow it below its role: `read`, `invoke`, `deploy`, `administer`, and
                `invoke:FUNCTION` and the like.
            expires_in_seconds: When it ends; never when left out.
        """
        call = keys.create_api_key(name, role, scopes, expires_in_seconds)
        return await self._send(call)

    async def rotate_api_key(self, key_id: str, *, overlap_seconds: int | None = None) -> NewApiKey:
        """A new key like this one, which ends after the overlap: by default after a day."""
        return await self._send(keys.rotate_api_key(key_id, overlap_seconds))

    async def revoke_api_key(self, key_id: str) -> None:
        """Ends a key, within seconds on every gateway."""
        await self._send(keys.revoke_api_key(key_id))

    async def exchange_token(self, token: str, *, rule: str | None = None) -> WorkloadKey:
        """A short-lived key for a CI job's token; wants no key. A token counts once.

        Args:
            token: What the job's CI service signed for it.
            rule: The operator's rule by which to take it; the first that fits when left out.
        """
        return await self._send(keys.exchange_token(token, rule))
