"""Frames between supervisor and jailed children: 4 bytes of length, then msgpack.

Both sides bound what they accept: the child's word is never trusted, and a length beyond the bound
ends the conversation before anything is allocated.
"""

import socket
import struct

import msgspec

from stockade.core.guest_spans import GuestSpan
from stockade.core.limits import Limits
from stockade.core.modules import Abi
from stockade.core.outcomes import Event, LogLine, Outcome

_HEADER = struct.Struct("<I")
HEADER_BYTES = _HEADER.size
MAX_FRAME_BYTES = 256 * 1024 * 1024
MAX_HOST_CALL_BYTES = 1024 * 1024
"""What one host call may carry, each way."""
_BUFFER_BYTES = 64 * 1024


class Load(msgspec.Struct, frozen=True, tag="load"):
    """Take this compiled module; the answer is `Loaded`."""

    digest: str
    abi: Abi
    artifact: bytes


class Run(msgspec.Struct, frozen=True, tag="run", omit_defaults=True):
    """Run a loaded module; the answer is `Ran`, perhaps after some `HostCall`s.

    The input is `data`, or so many bytes of the shared file. `note_bytes` is how much of what
    varies may be noted in the answer; with `replays`, what varies is asked of the supervisor.
    """

    digest: str
    limits: Limits
    data: bytes = b""
    shared_bytes: int = 0
    env: tuple[tuple[str, str], ...] = ()
    note_bytes: int = 0
    replays: bool = False


class Share(msgspec.Struct, frozen=True, tag="share"):
    """The shared file's descriptor follows when this is answered with `Loaded`."""


class HostReply(msgspec.Struct, frozen=True, tag="host_reply", omit_defaults=True):
    """The answer to a `HostCall`.

    `status` is the first byte that the guest reads: 0 done, 1 absent, 2 failed. A limit in `stop`
    ends the run instead.
    """

    status: int = 0
    data: bytes = b""
    stop: str | None = None


class HostCall(msgspec.Struct, frozen=True, tag="host_call", omit_defaults=True):
    """A call that only the supervisor can answer; which fields count depends on the call.

    `at` is its place among all of the run's host calls, where that is recorded or replayed.
    """

    name: str
    text: str = ""
    data: bytes = b""
    number: int = 0
    at: int = 0
    span: int = 0


class Note(msgspec.Struct, frozen=True, array_like=True):
    """A call that the executor answered itself, and differently another time."""

    at: int
    name: str
    arguments: bytes
    answer: bytes


class Told(msgspec.Struct, frozen=True, tag="told", omit_defaults=True):
    """What the guest has said since the last time; nobody answers. The run goes on."""

    logs: tuple[LogLine, ...] = ()
    events: tuple[Event, ...] = ()


class Ran(msgspec.Struct, frozen=True, tag="ran", omit_defaults=True):
    """The run's end as the executor tells it. See `RunResult` and `Usage` for the fields.

    The output is `output`, or so many bytes of the shared file. `notes_cut` is the first call that
    found no room in `notes`; 0 when all did. `logs` and `events` are those that no `Told` has told
    before.
    """

    outcome: Outcome
    fuel: int
    peak_memory_bytes: int = 0
    output: bytes = b""
    shared_bytes: int = 0
    limit: str | None = None
    detail: str | None = None
    retry_hint: bool = False
    log_bytes: int = 0
    host_calls: int = 0
    logs: tuple[LogLine, ...] = ()
    logs_truncated: bool = False
    events: tuple[Event, ...] = ()
    events_truncated: bool = False
    notes: tuple[Note, ...] = ()
    notes_cut: int = 0
    spans: tuple[GuestSpan, ...] = ()
    spans_dropped: int = 0


class Loaded(msgspec.Struct, frozen=True, tag="loaded"):
    """The module is ready to run, or could not be loaded (`failed`)."""

    failed: bool = False


class NotLoaded(msgspec.Struct, frozen=True, tag="not_loaded"):
    """The module has been dropped, or was never sent: it must be loaded before it can run."""


Command = Load | Run | Share | HostReply
Answer = Ran | Loaded | NotLoaded | HostCall | Told

_encoder = msgspec.msgpack.Encoder()
_commands: msgspec.msgpack.Decoder[Command] = msgspec.msgpack.Decoder(Command)
_answers: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Answer)


class FrameError(Exception):
    """The peer sent what is not a frame, or one beyond the bound."""


def encode(message: Command | Answer) -> bytes:
    """The message as one frame."""
    frame = bytearray(HEADER_BYTES)
    _encoder.encode_into(message, frame, HEADER_BYTES)
    _HEADER.pack_into(frame, 0, len(frame) - HEADER_BYTES)
    return bytes(frame)


def body_length(header: bytes | bytearray | memoryview, bound: int = MAX_FRAME_BYTES) -> int:
    """The length that a frame's header announces.

    Raises:
        FrameError: it is beyond the bound.
    """
    (length,) = _HEADER.unpack(header)
    if length > bound:
        raise FrameError(f"a frame of {length} bytes is beyond the bound of {bound}")
    return int(length)


def decode_command(body: bytes | bytearray | memoryview) -> Command:
    """The command in a frame's body.

    Raises:
        FrameError: it is none.
    """
    try:
        return _commands.decode(body)
    except msgspec.MsgspecError as error:
        raise FrameError(str(error)) from error


def decode_answer(body: bytes | bytearray | memoryview) -> Answer:
    """The answer in a frame's body.

    Raises:
        FrameError: it is none.
    """
    try:
        return _answers.decode(body)
    except msgspec.MsgspecError as error:
        raise FrameError(str(error)) from error


class CommandReader:
    """The executor's side: takes whole commands from the socket, as many as one read brings."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._buffer = memoryview(bytearray(_BUFFER_BYTES))
        self._start = 0
        self._end = 0

    def next(self) -> Command | None:
        """The next command, or None when the supervisor closed the connection.

        Raises:
            FrameError: what came is no command.
        """
        if not self._have(HEADER_BYTES):
            return None
        length = body_length(self._buffer[self._start : self._start + HEADER_BYTES])
        self._start += HEADER_BYTES
        if length > _BUFFER_BYTES:
            return self._large(length)
        if not self._have(length):
            return None
        command = decode_command(self._buffer[self._start : self._start + length])
        self._start += length
        return command

    def _have(self, size: int) -> bool:
        if self._start == self._end:
            self._start = self._end = 0
        if self._start + size > _BUFFER_BYTES:
            waiting = bytes(self._buffer[self._start : self._end])
            self._buffer[: len(waiting)] = waiting
            self._start, self._end = 0, len(waiting)
        while self._end - self._start < size:
            count = self._connection.recv_into(self._buffer[self._end :])
            if not count:
                return False
            self._end += count
        return True

    def _large(self, length: int) -> Command | None:
        body = memoryview(bytearray(length))
        filled = self._end - self._start
        body[:filled] = self._buffer[self._start : self._end]
        self._start = self._end = 0
        while filled < length:
            count = self._connection.recv_into(body[filled:])
            if not count:
                return None
            filled += count
        return decode_command(body)
