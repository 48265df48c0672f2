"""HTTP requests and responses as guests write and read them; see `sdk/abi/ABI.md`.

A request is `METHOD URL`, a line for each header, an empty line, and the body; a response has the
status in its first line. Lines end with LF alone.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from stockade.core.egress import Url, parse_url
from stockade.core.errors import StockadeError

MAX_HEADERS = 100
MAX_HEAD_BYTES = 32 * 1024
MAX_MESSAGE_BYTES = 1024 * 1024
"""What a body may have at most, each way: one host call carries no more."""
_METHOD = re.compile(r"[A-Z]{1,16}", re.ASCII)
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}", re.ASCII)
_FORBIDDEN_METHODS = frozenset({"CONNECT", "TRACE"})
_HELD_BY_US = frozenset({
    "connection", "content-length", "expect", "host", "keep-alive", "proxy-authenticate",
    "proxy-authorization", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
})  # fmt: skip
"""Headers that say how a message travels, which is not the guest's to say."""
_OF_THE_WAY = _HELD_BY_US - {"content-length"}


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """What a guest asks for. Header names are lower case; none says how the message travels."""

    method: str
    url: Url
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """What came back. Header names are lower case, values printable.

    `upstream` is that of the grant under which the last request was made.
    """

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    upstream: str = ""


def parse_request(content: bytes) -> HttpRequest:
    """The request that a guest wrote.

    Raises:
        StockadeError: `http_fetch.malformed`.
    """
    head, end, body = content.partition(b"\n\n")
    if not end or len(head) > MAX_HEAD_BYTES:
        raise _malformed(f"a head ends with an empty line and has at most {MAX_HEAD_BYTES} bytes")
    try:
        first, *lines = head.decode("utf-8").split("\n")
    except UnicodeDecodeError:
        raise _malformed("the head is UTF-8") from None
    method, _, url = first.partition(" ")
    if not _METHOD.fullmatch(method) or method in _FORBIDDEN_METHODS:
        raise _malformed("the method is a name such as GET; CONNECT and TRACE are not for guests")
    if len(lines) > MAX_HEADERS:
        raise _malformed(f"a request has at most {MAX_HEADERS} headers")
    headers = tuple(_header(line) for line in lines)
    return HttpRequest(method, parse_url(url), headers, body)


def build_response(response: HttpResponse) -> bytes:
    """The response as a guest reads it."""
    lines = [str(response.status), *(f"{name}: {value}" for name, value in response.headers)]
    return "\n".join(lines).encode() + b"\n\n" + response.body


def readable_headers(raw: Sequence[tuple[bytes, bytes]]) -> tuple[tuple[str, str], ...]:
    """A response's headers for a guest, without those that say how it travelled.

    What does not print is replaced, so that no line breaks.

    Raises:
        StockadeError: `http_fetch.response_too_large`: more headers, or longer ones, than a request
            may have.
    """
    size = sum(len(name) + len(value) for name, value in raw)
    if len(raw) > MAX_HEADERS or size > MAX_HEAD_BYTES:
        raise StockadeError(
            "http_fetch.response_too_large",
            f"The response has more than {MAX_HEADERS} headers, or {MAX_HEAD_BYTES} bytes of them."
            " Ask the server for fewer.",
        )
    pairs = ((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in raw)
    return tuple(
        (_printable(name), _printable(value)) for name, value in pairs if name not in _OF_THE_WAY
    )


def _header(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    name, value = name.lower(), value.strip(" ")
    if not colon or not _NAME.fullmatch(name) or not (value.isascii() and _prints(value)):
        raise _malformed("a header is 'name: value' in printable ASCII")
    if name in _HELD_BY_US:
        raise _malformed(f"the header {name!r} is not the guest's to set")
    return name, value


def _prints(text: str) -> bool:
    return not text or text.isprintable()


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)


def _malformed(what: str) -> StockadeError:
    return StockadeError("http_fetch.malformed", f"The request cannot be read: {what}.")
