"""Requests and responses as guests write and read them, held to the ABI's vectors."""

import json
from pathlib import Path

import pytest

from stockade.core.egress import parse_url
from stockade.core.errors import StockadeError
from stockade.core.http_messages import (
    MAX_HEAD_BYTES,
    MAX_HEADERS,
    HttpResponse,
    build_response,
    parse_request,
    readable_headers,
)

VECTORS = json.loads(
    (Path(__file__).parents[4] / "sdk" / "abi" / "vectors.json").read_text(encoding="utf-8")
)


@pytest.mark.parametrize("vector", VECTORS["http_requests"], ids=lambda one: one["name"])
def test_a_request_is_read_as_the_abi_says(vector: dict[str, object]) -> None:
    request = parse_request(bytes.fromhex(str(vector["bytes"])))
    assert (request.method, request.url.text) == (vector["method"], vector["url"])
    assert [list(pair) for pair in request.headers] == vector["headers"]
    assert request.body == bytes.fromhex(str(vector["body"]))


@pytest.mark.parametrize("vector", VECTORS["http_responses"], ids=lambda one: one["name"])
def test_a_response_is_written_as_the_abi_says(vector: dict[str, object]) -> None:
    pairs = tuple((name, value) for name, value in vector["headers"])  # type: ignore[attr-defined]
    body = bytes.fromhex(str(vector["body"]))
    response = HttpResponse(int(str(vector["status"])), pairs, body)
    assert build_response(response) == bytes.fromhex(str(vector["bytes"]))


@pytest.mark.parametrize(
    "head",
    [
        b"GET https://a.example/", b"GET", b"get https://a.example/\n\n",
        b"CONNECT https://a.example/\n\n", b"TRACE https://a.example/\n\n",
        b"GET https://a.example/\r\n\r\n", b"GET https://a.example/ HTTP/1.1\n\n",
        b"GET https://a.example/\nno colon\n\n", b"GET https://a.example/\n: empty\n\n",
        b"GET https://a.example/\nx y: 1\n\n", b"GET https://a.example/\nx: a\rb\n\n",
        b"GET https://a.example/\nx: a\0b\n\n", b"GET https://a.example/\nx: \xc3\xa9\n\n",
        b"GET https://a.example/\nx: a\tb\n\n", b"GET https://a.example/\nx: \xff\n\n",
        b"GET https://a.example/\nhost: b.example\n\n",
        b"GET https://a.example/\nContent-Length: 3\n\n",
        b"GET https://a.example/\ntransfer-encoding: chunked\n\n",
        b"GET https://a.example/\nconnection: upgrade\n\n",
        b"GET https://a.example/\n" + b"x: 1\n" * 101 + b"\n",
        b"GET https://a.example/\nx: " + b"a" * MAX_HEAD_BYTES + b"\n\n",
    ],
)  # fmt: skip
def test_what_is_no_request_is_refused(head: bytes) -> None:
    with pytest.raises(StockadeError) as refused:
        parse_request(head)
    assert refused.value.code == "http_fetch.malformed"


def test_an_empty_value_is_a_value() -> None:
    request = parse_request(b"GET https://a.example/\nx:\n\n")
    assert (request.headers, request.url) == ((("x", ""),), parse_url("https://a.example"))


def test_a_servers_headers_cannot_break_a_line() -> None:
    raw = [(b"X-One", b"a\nb\rc"), (b"x-\xff", b"\xe9\x1b")]
    assert readable_headers(raw) == (("x-one", "a\ufffdb\ufffdc"), ("x-\xff", "\xe9\ufffd"))


def test_a_response_has_no_headers_of_its_way() -> None:
    raw = [(b"Transfer-Encoding", b"chunked"), (b"Connection", b"x"), (b"Content-Length", b"1")]
    assert readable_headers(raw) == (("content-length", "1"),)


@pytest.mark.parametrize(
    ("count", "size", "fits"),
    [(MAX_HEADERS, 1, True), (MAX_HEADERS + 1, 1, False),
     (1, MAX_HEAD_BYTES - 1, True), (1, MAX_HEAD_BYTES, False)],
)  # fmt: skip
def test_a_responses_head_is_bounded(count: int, size: int, *, fits: bool) -> None:
    raw = [(b"x", b"a" * size)] * count
    if fits:
        assert len(readable_headers(raw)) == count
    else:
        with pytest.raises(StockadeError) as refused:
            readable_headers(raw)
        assert refused.value.code == "http_fetch.response_too_large"


@pytest.mark.parametrize(("size", "fits"), [(MAX_HEAD_BYTES, True), (MAX_HEAD_BYTES + 1, False)])
def test_a_requests_head_is_bounded(size: int, *, fits: bool) -> None:
    start = b"GET https://a.example/\nx: "
    content = start + b"a" * (size - len(start)) + b"\n\nbody"
    if fits:
        assert parse_request(content).body == b"body"
    else:
        with pytest.raises(StockadeError, match="head"):
            parse_request(content)
