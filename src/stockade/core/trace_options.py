"""How a process traces, as its settings say it."""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

from stockade.core.spans import TraceBounds


class OtlpProtocol(StrEnum):
    """How a collector is spoken to; named as `OTEL_EXPORTER_OTLP_PROTOCOL` does."""

    HTTP = "http/protobuf"
    GRPC = "grpc"


@dataclass(frozen=True, slots=True)
class Collector:
    """Where spans are sent.

    `headers_file` has a `Name: value` on each line, `certificate` the authorities that are trusted
    in place of the host's.
    """

    endpoint: str
    protocol: OtlpProtocol = OtlpProtocol.HTTP
    timeout_seconds: float = 10.0
    headers_file: Path | None = None
    certificate: Path | None = None


@dataclass(frozen=True, slots=True)
class TraceOptions:
    """Whether and how much is recorded, what is kept beside the records, and who is sent all."""

    on: bool = True
    ratio: float = 1.0
    bounds: TraceBounds = field(default_factory=TraceBounds)
    collector: Collector | None = None


def parse_otlp_endpoint(text: str) -> str:
    """The endpoint as it is, when it is one or empty.

    Raises:
        ValueError: it is no plain http or https URL.
    """
    url = urlsplit(text)
    plain = url.scheme in {"http", "https"} and url.hostname and "@" not in url.netloc
    if text and (not plain or url.query or url.fragment):
        # Not shown: whoever puts credentials there would find them in the logs.
        raise ValueError("must be http://HOST:PORT or https://HOST:PORT, without credentials")
    return text
