"""Attestations of modules: what they look like, every call about them, and both clients' part."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TypeVar

import httpx

from stockade_client import readers
from stockade_client.calls import Call, path_part
from stockade_client.fields import Fields

_Answer = TypeVar("_Answer")
_ENVELOPE = {"Content-Type": "application/vnd.dsse.envelope.v1+json"}


@dataclass(frozen=True, slots=True)
class Attestation:
    """Who says who built a module, out of which source.

    One that does not count now says nothing but `refusal`: the code and the reason.
    """

    id: str
    created_ms: int
    signers: tuple[str, ...]
    predicate_type: str | None
    builders: tuple[str, ...]
    sources: tuple[str, ...]
    refusal: tuple[str, str] | None = None


class AttestationMethods(ABC):
    """The part of `Client` that is about attestations."""

    @abstractmethod
    def _send(self, call: Call[_Answer]) -> _Answer:
        """Makes a call."""

    def attest_module(self, digest: str, envelope: bytes) -> Attestation:
        """Puts a signed attestation, a DSSE envelope, beside a module. Twice is no harm."""
        return self._send(_attest(digest, envelope))

    def attestations(self, digest: str) -> tuple[Attestation, ...]:
        """The attestations of a module, in the order of their arrival."""
        return self._send(_attestations(digest))

    def attestation(self, digest: str, attestation_id: str) -> bytes:
        """The envelope of one."""
        return self._send(_attestation(digest, attestation_id))


class AsyncAttestationMethods(ABC):
    """The part of `AsyncClient` that is about attestations."""

    @abstractmethod
    async def _send(self, call: Call[_Answer]) -> _Answer:
        """Makes a call."""

    async def attest_module(self, digest: str, envelope: bytes) -> Attestation:
        """Puts a signed attestation, a DSSE envelope, beside a module. Twice is no harm."""
        return await self._send(_attest(digest, envelope))

    async def attestations(self, digest: str) -> tuple[Attestation, ...]:
        """The attestations of a module, in the order of their arrival."""
        return await self._send(_attestations(digest))

    async def attestation(self, digest: str, attestation_id: str) -> bytes:
        """The envelope of one."""
        return await self._send(_attestation(digest, attestation_id))


def _attest(digest: str, envelope: bytes) -> Call[Attestation]:
    return Call("POST", _place(digest), _one, headers=_ENVELOPE, content=envelope)


def _attestations(digest: str) -> Call[tuple[Attestation, ...]]:
    return Call("GET", _place(digest), _all)


def _attestation(digest: str, attestation_id: str) -> Call[bytes]:
    return Call("GET", f"{_place(digest)}/{path_part(attestation_id)}", readers.body)


def _place(digest: str) -> str:
    return f"/v1/modules/{path_part(digest)}/attestations"


def _one(response: httpx.Response) -> Attestation:
    return _read(Fields(response.json()))


def _all(response: httpx.Response) -> tuple[Attestation, ...]:
    return tuple(map(_read, Fields(response.json()).objects("attestations")))


def _read(fields: Fields) -> Attestation:
    refusal = fields.nested("refusal")
    why = (refusal.text("code"), refusal.text("detail")) if refusal.names() else None
    return Attestation(
        id=fields.text("id"),
        created_ms=fields.count("created_ms"),
        signers=fields.texts("signers"),
        predicate_type=fields.maybe_text("predicate_type"),
        builders=fields.texts("builders"),
        sources=fields.texts("sources"),
        refusal=why,
    )
