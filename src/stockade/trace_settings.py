"""The settings of every process that traces: gateways and workers read the same by one name."""

from pathlib import Path

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings

from stockade.core.spans import TraceBounds
from stockade.core.trace_options import (
    Collector,
    OtlpProtocol,
    TraceOptions,
    parse_otlp_endpoint,
)


class TraceSettings(BaseSettings):
    """What is recorded and kept of traces, and who is sent them."""

    traces: bool = Field(default=True, description="Whether spans of invocations are recorded.")
    trace_ratio: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="Which share of traces is recorded, where the caller did not decide. Failures"
        " always are.",
    )
    trace_seconds: int = Field(
        default=3600, ge=1, le=7 * 24 * 3600, description="How long spans are kept in the queue."
    )
    trace_bytes: int = Field(
        default=64 * 1024, ge=1024, description="What the spans of one invocation may have there."
    )
    trace_total_bytes: int = Field(
        default=64 * 1024 * 1024,
        ge=1024,
        description="What all spans of a partition may have there; the oldest make room.",
    )
    otlp_endpoint: str = Field(
        default="",
        description="Collector that spans are sent to, as OTEL_EXPORTER_OTLP_ENDPOINT: HTTP adds"
        " /v1/traces.",
    )
    otlp_protocol: OtlpProtocol = Field(
        default=OtlpProtocol.HTTP, description="http/protobuf or grpc."
    )
    otlp_headers_file: Path | None = Field(
        default=None, description="Headers for the collector, a 'Name: value' on each line."
    )
    otlp_certificate: Path | None = Field(
        default=None, description="Authorities (PEM) that the collector's certificate is held to."
    )
    otlp_timeout_seconds: float = Field(
        default=10.0, gt=0, le=300, description="How long the collector may take for a batch."
    )

    @property
    def trace_options(self) -> TraceOptions:
        """How this process traces."""
        bounds = TraceBounds(self.trace_bytes, self.trace_total_bytes, self.trace_seconds * 1000)
        collector = Collector(
            self.otlp_endpoint,
            self.otlp_protocol,
            self.otlp_timeout_seconds,
            self.otlp_headers_file,
            self.otlp_certificate,
        )
        sent_to = collector if self.otlp_endpoint else None
        return TraceOptions(self.traces, self.trace_ratio, bounds, sent_to)

    @field_validator("otlp_endpoint")
    @classmethod
    def _endpoint_is_one(cls, text: str) -> str:
        return parse_otlp_endpoint(text)
