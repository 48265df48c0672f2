"""A real Prometheus reads a worker's page, trace ids included."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from sandbox_worker.metrics import WorkerMetrics
from sandbox_worker.operations_server import Answer, OperationsServer, Route
from stockade.cli.dev.data_dir import free_port
from tests.unit.sandbox_worker.test_metrics import TRACE, run

TOKEN = "a-token-of-some-length"  # noqa: S105 - a test's
CONFIG = """
scrape_configs:
  - job_name: stockade-worker
    scrape_interval: 1s
    authorization: {{credentials_file: {token}}}
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""


@asynccontextmanager
async def prometheus(folder: Path, scraped_port: int) -> AsyncIterator[httpx.AsyncClient]:
    program = shutil.which("prometheus")
    if program is None:
        assert not os.environ.get("CI"), "prometheus is missing: install the package"  # noqa: TID251
        pytest.skip("prometheus is not here: install Debian's package")
    port, config, token = free_port(), folder / "prometheus.yml", folder / "token"
    token.write_text(TOKEN)
    config.write_text(CONFIG.format(token=token, port=scraped_port))
    process = await asyncio.create_subprocess_exec(
        program,
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--enable-feature=exemplar-storage",
        "--log.level=error",
    )
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}/api/v1") as http:
            yield http
    finally:
        process.terminate()
        await process.wait()


async def found(http: httpx.AsyncClient, path: str, query: str) -> list[dict[str, object]]:
    """What a query finds, once it finds anything."""
    params = {"query": query, "start": "0", "end": "9999999999"}
    async with asyncio.timeout(60):
        while True:
            try:
                told = (await http.get(path, params=params)).json()["data"]
            except (httpx.TransportError, ValueError, KeyError):
                told = []
            result: list[dict[str, object]] = told["result"] if isinstance(told, dict) else told
            if result:
                return result
            await asyncio.sleep(0.1)


async def test_a_real_prometheus_reads_a_workers_page(tmp_path: Path) -> None:
    metrics = WorkerMetrics()
    run(metrics, trace=f"00-{TRACE}-b7ad6b7169203331-01")

    async def scrape(accept: str) -> Answer:
        return Answer(*metrics.text(accept))

    server = OperationsServer({"/metrics": Route(scrape, guarded=True)}, TOKEN)
    port = await server.start("127.0.0.1", 0)
    try:
        async with prometheus(tmp_path, port) as http:
            [sample] = await found(http, "/query", 'stockade_fuel_total{tenant="acme"}')
            assert sample["value"][1] == "1000"  # type: ignore[index]
            [up] = await found(http, "/query", "up")
            assert up["value"][1] == "1"  # type: ignore[index]
            [told] = await found(http, "/query_exemplars", "stockade_attempt_seconds_bucket")
            [exemplar] = told["exemplars"]  # type: ignore[misc]
            assert exemplar["labels"] == {"trace_id": TRACE}
    finally:
        await server.aclose()
