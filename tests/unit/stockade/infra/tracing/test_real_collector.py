"""The real OpenTelemetry collector takes what we send, over HTTP and gRPC, and reads it as meant.

It is built by `make collector`; without it, or another `otelcol` on PATH, this is skipped.
"""

import asyncio
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stockade.core.spans import Span, SpanCounts, TracePart
from stockade.core.trace_options import Collector, OtlpProtocol
from stockade.infra.tracing.otlp_exporter import OtlpExporter
from stockade.infra.tracing.otlp_senders import open_sender

FACTS = {"text": "\x1b[31m\u20ac", "whole": -5, "share": 0.5, "yes": True}
SPAN = Span("run", 3, (1 << 64) - 1, 0x12, 10**18, 10**18 + 5, FACTS, "trapped", 7)
PART = TracePart("acme", "id", "ab" * 16, "a=b", "worker", "w1", (SPAN,))


def collector_program() -> str:
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))  # noqa: TID251
    built = cache / "stockade-otelcol-0.161.0" / "bin" / "otelcol"
    found = shutil.which("otelcol") or (str(built) if built.exists() else None)
    if found is None:
        pytest.skip("there is no OpenTelemetry collector here: run 'make collector'")
    return found


def free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        return one.getsockname()[1], two.getsockname()[1]


def configuration(http: int, grpc: int, output: Path) -> str:
    endpoints = {"http": http, "grpc": grpc}
    protocols = {name: {"endpoint": f"127.0.0.1:{port}"} for name, port in endpoints.items()}
    pipelines = {"traces": {"receivers": ["otlp"], "exporters": ["file"]}}
    service = {"telemetry": {"metrics": {"level": "none"}}, "pipelines": pipelines}
    exporters = {"file": {"path": str(output)}}
    receivers = {"otlp": {"protocols": protocols}}
    return json.dumps({"receivers": receivers, "exporters": exporters, "service": service})


@contextmanager
def running(program: str, config: Path) -> Iterator[None]:
    command = [program, "--config", f"file:{config}"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as collector:
        try:
            yield
        finally:
            collector.terminate()
            collector.wait(30)


async def send(protocol: OtlpProtocol, port: int, counts: SpanCounts) -> None:
    sender = open_sender(Collector(f"http://127.0.0.1:{port}", protocol))
    exporter = OtlpExporter(sender, counts, first_pause_seconds=0.05)
    exporter.offer([PART._replace(instance=protocol.value)])
    async with asyncio.timeout(60):
        while exporter.waiting:
            await asyncio.sleep(0.02)
    await exporter.aclose()


async def test_the_real_collector_reads_what_was_meant(tmp_path: Path) -> None:
    program, (http, grpc) = collector_program(), free_ports()
    output, config = tmp_path / "received.json", tmp_path / "collector.json"
    config.write_text(configuration(http, grpc, output))
    counts = SpanCounts()
    with running(program, config):
        await send(OtlpProtocol.HTTP, http, counts)
        await send(OtlpProtocol.GRPC, grpc, counts)
    assert counts.spans_sent == 2
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    resources = [one for line in lines for one in line["resourceSpans"]]
    for resource in resources:
        (span,) = resource["scopeSpans"][0]["spans"]
        assert (span["traceId"], span["spanId"], span["parentSpanId"]) == (
            "ab" * 16, "f" * 16, "0" * 14 + "12",
        )  # fmt: skip
        assert (span["name"], span["kind"], span["traceState"]) == ("run", 3, "a=b")
        assert span["status"] == {"message": "trapped", "code": 2}
        values = {one["key"]: one["value"] for one in span["attributes"]}
        assert values == {
            "text": {"stringValue": "\x1b[31m\u20ac"},
            "whole": {"intValue": "-5"},
            "share": {"doubleValue": 0.5},
            "yes": {"boolValue": True},
        }
    assert len(resources) == 2
