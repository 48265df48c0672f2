"""Recordings: what varied in one attempt, so that it can be run again to the same end.

A recording holds the answer to every call whose answer may differ from run to run, in order. The
values of secrets are never in it: where one stood in an answer, text of the same length stands in
its place (`stand_in`), and `Blank` says of which secret. Arguments are kept as digests, in which a
secret counts as its stand-in, so that they compare whether or not the values are known.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

MAX_RECORDING_BYTES = 4 * 1024 * 1024
MAX_RECORDED_CALLS = 10_000
CALL_COST_BYTES = 64
"""Charged for each call beside its answer."""
MAX_BLANKS = 1000
"""How often one secret may stand in one answer."""
_SHORTEST_SECRET_BYTES = 4
"""Shorter ones would be found everywhere, and are none."""
_ARGUMENTS_DIGITS = 32


@dataclass(frozen=True, slots=True)
class Blank:
    """Where in an answer the value of a secret stood."""

    secret: str
    start: int
    length: int


@dataclass(frozen=True, slots=True)
class RecordedCall:
    """One call and its answer.

    `number` counts all of the run's host calls from 1; `name` is as the guest imports it;
    `arguments` is a digest of them (`arguments_digest`); `status` is the reply's first byte where
    the call has one.
    """

    number: int
    name: str
    arguments: str
    status: int = 0
    answer: bytes = b""
    blanks: tuple[Blank, ...] = ()


@dataclass(frozen=True, slots=True)
class Recording:
    """What varied in one attempt.

    `cut` is the number of the first call that found no room, or is missing for another reason; None
    when every call is here.
    """

    invocation_id: str
    attempt: int
    calls: tuple[RecordedCall, ...] = ()
    cut: int | None = None


class RecordingStore(Protocol):
    """Recordings, sealed, for as long as their invocation's record."""

    async def put(self, tenant: str, recording: Recording) -> str:
        """Stores a recording durably; its reference.

        Raises:
            StockadeError: `blobs.…`.
        """

    async def get(
        self, tenant: str, invocation_id: str, attempt: int, reference: str
    ) -> Recording | None:
        """The recording, or None when it is gone.

        Raises:
            StockadeError: `recording.unreadable` when it was changed, belongs to another attempt or
                tenant, or was sealed with another key.
        """


def stand_in(secret: str, length: int) -> bytes:
    """Printable text that stands for a secret's value, of the same length: always the same."""
    digits = hashlib.shake_256(f"stockade stand-in\0{secret}".encode()).hexdigest(length // 2 + 1)
    return digits[:length].encode()


def arguments_digest(text: str, data: bytes, number: int, secrets: Mapping[str, bytes]) -> str:
    """The digest of a call's arguments; values of secrets in them count as their stand-ins."""
    told, carried = text.encode(errors="surrogatepass"), data
    for name, value in _longest_first(secrets):
        told = told.replace(value, stand_in(name, len(value)))
        carried = carried.replace(value, stand_in(name, len(value)))
    head = f"{len(told)}:{len(carried)}:{number}:".encode()
    return hashlib.sha256(head + told + carried).hexdigest()[:_ARGUMENTS_DIGITS]


def blank_out(
    content: bytes, secrets: Mapping[str, bytes]
) -> tuple[bytes, tuple[Blank, ...]] | None:
    """The content with stand-ins where values of secrets stood, and where that was.

    None when there are more than `MAX_BLANKS`: looking for them would cost too much.
    """
    blanks: list[Blank] = []
    told, taken = bytearray(content), bytearray(len(content))
    for name, value in _longest_first(secrets):
        if content.count(value) > MAX_BLANKS:
            return None
        size, at = len(value), content.find(value)
        while at >= 0:
            # A part of a longer secret may be another's value.
            if any(taken[at : at + size]):
                at = content.find(value, at + 1)
                continue
            blanks.append(Blank(name, at, size))
            told[at : at + size] = stand_in(name, size)
            taken[at : at + size] = b"\1" * size
            at = content.find(value, at + size)
    return bytes(told), tuple(sorted(blanks, key=lambda blank: blank.start))


def _longest_first(secrets: Mapping[str, bytes]) -> list[tuple[str, bytes]]:
    longest = sorted(secrets.items(), key=lambda item: len(item[1]), reverse=True)
    return [item for item in longest if len(item[1]) >= _SHORTEST_SECRET_BYTES]


def fill_in(call: RecordedCall, secrets: Mapping[str, bytes]) -> bytes:
    """The call's answer with the values of those secrets that are known; stand-ins for the others.

    Raises:
        ValueError: a value is not as long as the one that was recorded; its secret's name.
    """
    answer = call.answer
    for blank in call.blanks:
        value = secrets.get(blank.secret)
        if value is None:
            continue
        if len(value) != blank.length:
            raise ValueError(blank.secret)
        answer = _written_over(answer, blank.start, value)
    return answer


def _written_over(content: bytes, start: int, value: bytes) -> bytes:
    return content[:start] + value + content[start + len(value) :]
