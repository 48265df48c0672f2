"""HTTP/1.1 with bounds on what a client may send, and hold open, before anybody looks at it.

uvicorn's httptools protocol has neither: one anonymous request head could fill the memory, and one
half-sent could keep its connection for ever; so could a client that never reads its answer. Bodies
are bounded where they are read (`bodies`); this file bounds the rest: request line, headers, chunk
framing, trailers, the time for a head, and the time that nothing of an answer is read.
"""

from asyncio import TimerHandle, Transport

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.problems import problem
from stockade.core.errors import StockadeError

MAX_HEAD_BYTES = 64 * 1024
HEAD_SECONDS = 15.0
LINGER_SECONDS = 15.0
REFUSED_SECONDS = 2.0
STALL_SECONDS = 60.0
"""How long a client may read nothing of what waits for it, what its kernel holds not counted."""
_ANSWER = problem(
    StockadeError(
        "request.head_too_large",
        f"The request line and headers have more than {MAX_HEAD_BYTES} bytes. Send less.",
    ),
    headers={"Connection": "close"},
)
_REFUSAL = b"\r\n".join(
    (
        b"HTTP/1.1 431 Request Header Fields Too Large",
        *(name + b": " + value for name, value in _ANSWER.raw_headers),
        b"",
        bytes(_ANSWER.body),
    )
)


class BoundedProtocol(HttpToolsProtocol):
    """One connection. What is no body may have `MAX_HEAD_BYTES`, and as much again as the body."""

    _head_bytes = 0
    _whole_head = False
    _whole_message = False
    _refused = False
    _deadline: TimerHandle | None = None
    _stall: TimerHandle | None = None
    _unread_bytes = 0

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Starts the time for the first head."""
        super().connection_made(transport)
        self._end_after(HEAD_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops the clock."""
        self._clear_deadline()
        self._clear_stall()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The client reads more slowly than it is sent to."""
        super().pause_writing()
        self._watch_stall()

    def resume_writing(self) -> None:
        """It has read."""
        self._clear_stall()
        super().resume_writing()

    def data_received(self, data: bytes) -> None:
        """Parses what came, unless it is too much."""
        if self._refused:
            return
        self._head_bytes += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refuse()
        elif not self._whole_head and self._deadline is None:
            self._end_after(HEAD_SECONDS)

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._whole_head = self._whole_message = False

    def on_headers_complete(self) -> None:
        """The head is whole: from here on the handler decides how long to wait."""
        self._whole_head = True
        self._clear_deadline()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A part of the body pays for itself and for as much framing."""
        self._head_bytes -= 2 * len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._whole_message = True
        self._head_bytes = 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Who is answered before the request was whole has a while to finish it, unread."""
        super().on_response_complete()
        if not self._whole_message and not self.transport.is_closing():
            self._end_after(LINGER_SECONDS)

    def _refuse(self) -> None:
        self._refused = True
        if self._whole_head:  # a handler may have begun to answer, and nothing may come between
            self.transport.close()
            return
        # Closed at once, the answer would be lost to a client that still sends.
        self.transport.write(_REFUSAL)
        self.transport.write_eof()
        self._end_after(REFUSED_SECONDS)

    def _watch_stall(self) -> None:
        self._clear_stall()
        self._unread_bytes = self.transport.get_write_buffer_size()
        self._stall = self.loop.call_later(STALL_SECONDS, self._end_stalled)

    def _end_stalled(self) -> None:
        if self.transport.get_write_buffer_size() < self._unread_bytes:
            self._watch_stall()
        else:
            # Closed, it would wait for the client to read the rest.
            self.transport.abort()

    def _clear_stall(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None

    def _end_after(self, seconds: float) -> None:
        self._clear_deadline()
        self._deadline = self.loop.call_later(seconds, self.transport.close)

    def _clear_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
