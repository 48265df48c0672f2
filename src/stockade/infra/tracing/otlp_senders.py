"""Speaks to a collector: OTLP over HTTP (protobuf) or gRPC. Blocking, for a thread of its own.

What a collector answers is bounded in size and time. Nothing of the host is used: no proxy, cookie
or credential but the headers that the settings name. Source: OTLP specification 1.x, failures.
"""

import re
import ssl
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import grpc  # type: ignore[import-untyped]
import httpx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceResponse,
)

from stockade.core.errors import StockadeError
from stockade.core.trace_options import Collector, OtlpProtocol
from stockade.infra.secrets_file import read_private

_MAX_ANSWER_BYTES = 64 * 1024
_MAX_HEADERS_BYTES = 64 * 1024
_PATH = "/v1/traces"
_METHOD = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
_AGAIN = frozenset({429, 502, 503, 504})
_GRPC_AGAIN = frozenset({
    grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.ABORTED,
    grpc.StatusCode.OUT_OF_RANGE, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DATA_LOSS,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
})  # fmt: skip
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}):[ \t]*([\x20-\x7e]{0,4096})", re.ASCII)
_LONGEST_PAUSE_SECONDS = 60.0


class NotSentError(Exception):
    """A batch was not taken. `again` says whether it may be sent again, and not before when."""

    def __init__(self, why: str, *, again: bool, after_seconds: float = 0.0) -> None:
        super().__init__(why)
        self.again = again
        self.after_seconds = min(after_seconds, _LONGEST_PAUSE_SECONDS)


class OtlpSender(Protocol):
    """Sends one batch at a time."""

    def send(self, request: bytes) -> int:
        """Sends an `ExportTraceServiceRequest`; how many of its spans the collector refused.

        Raises:
            NotSentError: it took none.
        """

    def close(self) -> None:
        """Ends the connection."""


class HttpSender:
    """OTLP over HTTP.

    Args:
        collector: Where to.
        headers: What to send along.
    """

    def __init__(self, collector: Collector, headers: Mapping[str, str]) -> None:
        base = collector.endpoint.rstrip("/")
        self._url = base if base.endswith(_PATH) else base + _PATH
        self._seconds = collector.timeout_seconds
        self._client = httpx.Client(
            headers={**headers, "Content-Type": "application/x-protobuf"},
            timeout=collector.timeout_seconds,
            verify=_tls(collector.certificate),
            trust_env=False,
            follow_redirects=False,
        )

    def send(self, request: bytes) -> int:
        """Posts the batch."""
        try:
            with self._client.stream("POST", self._url, content=request) as response:
                status, answer = response.status_code, self._read(response)
                after = response.headers.get("retry-after", "")
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise NotSentError(type(error).__name__, again=True) from error
        if httpx.codes.is_success(status):
            return _refused(answer)
        seconds = float(after) if after.isdecimal() and after.isascii() else 0.0
        raise NotSentError(f"status {status}", again=status in _AGAIN, after_seconds=seconds)

    def close(self) -> None:
        """Ends the connection."""
        self._client.close()

    def _read(self, response: httpx.Response) -> bytes:
        until, answer = time.monotonic() + self._seconds, b""
        for piece in response.iter_raw():
            answer += piece
            if len(answer) > _MAX_ANSWER_BYTES or time.monotonic() > until:
                raise NotSentError("an endless answer", again=False)
        return answer


class GrpcSender:
    """OTLP over gRPC.

    Args:
        collector: Where to.
        headers: What to send along.
    """

    def __init__(self, collector: Collector, headers: Mapping[str, str]) -> None:
        url = httpx.URL(collector.endpoint)
        secure = url.scheme == "https"
        port = url.port or (443 if secure else 80)
        target = f"{url.netloc.decode()}" if url.port else f"{url.host}:{port}"
        options = [
            ("grpc.max_receive_message_length", _MAX_ANSWER_BYTES),
            ("grpc.enable_http_proxy", 0),
        ]
        if secure:
            roots = collector.certificate.read_bytes() if collector.certificate else None
            credentials = grpc.ssl_channel_credentials(roots)
            self._channel = grpc.secure_channel(target, credentials, options)
        else:
            self._channel = grpc.insecure_channel(target, options)
        self._export = self._channel.unary_unary(
            _METHOD, response_deserializer=ExportTraceServiceResponse.FromString
        )
        self._seconds = collector.timeout_seconds
        self._metadata = tuple((name.lower(), value) for name, value in headers.items())

    def send(self, request: bytes) -> int:
        """Calls `Export`."""
        try:
            answer = self._export(request, timeout=self._seconds, metadata=self._metadata)
        except grpc.RpcError as error:
            code = error.code()
            raise NotSentError(code.name, again=code in _GRPC_AGAIN) from error
        return int(answer.partial_success.rejected_spans)

    def close(self) -> None:
        """Ends the connection."""
        self._channel.close()


def open_sender(collector: Collector) -> OtlpSender:
    """The sender for this collector.

    Raises:
        StockadeError: `config.otlp_invalid`, `config.secret_exposed`, `config.secret_unreadable`.
    """
    try:
        headers = _headers(collector.headers_file)
        made = GrpcSender if collector.protocol is OtlpProtocol.GRPC else HttpSender
        return made(collector, headers)
    except (OSError, ValueError, httpx.InvalidURL) as error:
        raise StockadeError(
            "config.otlp_invalid", f"The collector of spans cannot be used: {error}."
        ) from error


def _headers(file: Path | None) -> dict[str, str]:
    if file is None:
        return {}
    content = read_private(file, _MAX_HEADERS_BYTES)
    if content is None:
        raise ValueError(f"the headers file {file} is not there")
    found = {}
    for number, line in enumerate(content.decode("latin-1").splitlines(), start=1):
        match = _HEADER.fullmatch(line.strip())
        if match is not None:
            found[match[1]] = match[2].strip()
        elif line.strip():
            # Not shown: it may be a secret.
            raise ValueError(f"line {number} of the headers file {file} is no 'Name: value'")
    return found


def _tls(certificate: Path | None) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=certificate)


def _refused(answer: bytes) -> int:
    with suppress(DecodeError):
        told = ExportTraceServiceResponse.FromString(answer)
        return max(0, int(told.partial_success.rejected_spans))
    return 0
