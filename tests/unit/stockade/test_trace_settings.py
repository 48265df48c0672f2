"""The settings of tracing, as gateways and workers read them."""

from pathlib import Path

import pytest
from pydantic import ValidationError
from pydantic_settings import BaseSettings

from gateway.settings import GatewaySettings
from sandbox_worker.settings import WorkerSettings
from stockade.core.spans import TraceBounds
from stockade.core.trace_options import Collector, OtlpProtocol, TraceOptions

NEEDED = {
    "redis_url": "redis://127.0.0.1:1/0",
    "database_url": "sqlite:///x",
    "blob_dir": "/x",
    "cache_dir": "/x",
    "policy_dir": "/x",
    "secrets_key_file": "/x",
    "audit_key_file": "/x",
}
PROCESSES = pytest.mark.parametrize("process", [GatewaySettings, WorkerSettings])


def settings_of(process: type[BaseSettings], **given: object) -> GatewaySettings | WorkerSettings:
    needed = {name: one for name, one in NEEDED.items() if name in process.model_fields}
    made = process(**{**needed, **given})
    assert isinstance(made, (GatewaySettings, WorkerSettings))
    return made


@PROCESSES
def test_the_environment_says_how_much_is_traced_and_who_is_sent_it(
    process: type[BaseSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in {
        "TRACE_RATIO": "0.25",
        "TRACE_SECONDS": "60",
        "TRACE_BYTES": "2048",
        "TRACE_TOTAL_BYTES": "4096",
        "OTLP_ENDPOINT": "https://collector.example",
        "OTLP_PROTOCOL": "grpc",
        "OTLP_HEADERS_FILE": "/headers",
    }.items():
        monkeypatch.setenv(f"STOCKADE_{name}", text)
    sent_to = Collector(
        "https://collector.example", OtlpProtocol.GRPC, headers_file=Path("/headers")
    )
    expected = TraceOptions(ratio=0.25, bounds=TraceBounds(2048, 4096, 60_000), collector=sent_to)
    assert settings_of(process).trace_options == expected


@PROCESSES
def test_nobody_is_sent_anything_by_default(process: type[BaseSettings]) -> None:
    assert settings_of(process).trace_options.collector is None


@PROCESSES
@pytest.mark.parametrize(
    "given", [{"otlp_endpoint": "https://me:secret@x"}, {"trace_ratio": 1.1}, {"trace_bytes": 0}]
)
def test_what_cannot_be_is_refused(process: type[BaseSettings], given: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        settings_of(process, **given)
