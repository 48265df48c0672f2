"""Frames between supervisor and jailed children: 4 bytes of length, then msgpack.

Both sides bound what they accept: the child's word is never trusted, and a length beyond the bound
ends the conversation before anything is allocated.
"""

import socket
import struct

import msgspec

from stockade.core.limits import Limits
from stockade.core.modules import Abi
from stockade.core.outcomes import RunResult

_HEADER = struct.Struct("<I")
HEADER_BYTES = _HEADER.size
MAX_FRAME_BYTES = 256 * 1024 * 1024


class Load(msgspec.Struct, frozen=True, tag="load"):
    """Take this compiled module; the answer is `Loaded`."""

    digest: str
    abi: Abi
    artifact: bytes


class Run(msgspec.Struct, frozen=True, tag="run"):
    """Run a loaded module on this input."""

    digest: str
    data: bytes
    limits: Limits
    env: tuple[tuple[str, str], ...] = ()


class Ran(msgspec.Struct, frozen=True, tag="ran"):
    """The run's end as the executor tells it."""

    result: RunResult


class Loaded(msgspec.Struct, frozen=True, tag="loaded"):
    """The module is ready to run, or could not be loaded (`failed`)."""

    failed: bool = False


class NotLoaded(msgspec.Struct, frozen=True, tag="not_loaded"):
    """The module has been dropped, or was never sent: it must be loaded before it can run."""


Command = Load | Run
Answer = Ran | Loaded | NotLoaded

_encoder = msgspec.msgpack.Encoder()
_commands: msgspec.msgpack.Decoder[Command] = msgspec.msgpack.Decoder(Command)
_answers: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Answer)


class FrameError(Exception):
    """The peer sent what is not a frame, or one beyond the bound."""


def encode(message: Command | Answer) -> bytes:
    """The message as one frame."""
    body = _encoder.encode(message)
    return _HEADER.pack(len(body)) + body


def body_length(header: bytes | bytearray, bound: int = MAX_FRAME_BYTES) -> int:
    """The length that a frame's header announces.

    Raises:
        FrameError: it is beyond the bound.
    """
    (length,) = _HEADER.unpack(header)
    if length > bound:
        raise FrameError(f"a frame of {length} bytes is beyond the bound of {bound}")
    return int(length)


def decode_command(body: bytes | bytearray) -> Command:
    """The command in a frame's body.

    Raises:
        FrameError: it is none.
    """
    try:
        return _commands.decode(body)
    except msgspec.MsgspecError as error:
        raise FrameError(str(error)) from error


def decode_answer(body: bytes) -> Answer:
    """The answer in a frame's body.

    Raises:
        FrameError: it is none.
    """
    try:
        return _answers.decode(body)
    except msgspec.MsgspecError as error:
        raise FrameError(str(error)) from error


def receive_command(connection: socket.socket) -> Command | None:
    """The next command, or None when the supervisor closed the connection."""
    header = _receive_exactly(connection, HEADER_BYTES)
    if header is None:
        return None
    body = _receive_exactly(connection, body_length(header))
    return None if body is None else decode_command(body)


def _receive_exactly(connection: socket.socket, size: int) -> bytearray | None:
    buffer = bytearray(size)
    view = memoryview(buffer)
    filled = 0
    while filled < size:
        count = connection.recv_into(view[filled:])
        if count == 0:
            return None
        filled += count
    return buffer
