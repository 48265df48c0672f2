"""What tracing costs: the same service with it off, at 1 % and at 100 %, side by side in one run.

Rounds go from one service to the next and round again, so that whatever else the machine does meets
all of them alike. Processor time is read from the kernel and hardly depends on the machine's other
work; times a user sees do.
"""

import asyncio
import os
import statistics
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from bench.end_to_end import Service, running_service
from bench.http_load import closed_loop
from bench.measure import Row, against

ROUNDS, WARM_UP = 12, 300
SETTINGS = {
    "off": {"STOCKADE_TRACES": "false"},
    "1 %": {"STOCKADE_TRACE_RATIO": "0.01"},
    "100 %": {"STOCKADE_TRACE_RATIO": "1"},
}
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(slots=True)
class Cost:
    """One service's figures: medians of rounds, in seconds; `cpu` of an invocation."""

    one_client: list[float] = field(default_factory=list)
    per_second: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


def trace_rows(body: bytes) -> list[Row]:
    """Throughput, p50 and processor time under each setting, against tracing switched off."""
    costs = trace_costs(body)
    off, rows = costs.pop("off"), []
    figures = (
        ("invoke, 1 client, p50", "one_client", 1e3, "ms"),
        ("invoke, 16 clients, throughput", "per_second", 1, "/s"),
        ("processor time of an invocation, all processes", "cpu", 1e6, "µs"),
    )
    for name, cost in costs.items():
        for what, key, scale, unit in figures:
            value = statistics.median(getattr(cost, key)) * scale
            floor = statistics.median(getattr(off, key)) * scale
            rows.append(against(f"tracing {name}: {what}", value, unit, floor, "tracing off"))
    return rows


def trace_costs(body: bytes) -> dict[str, Cost]:
    """The costs by setting, sending all spans to a collector last."""
    with ExitStack() as stack:
        collector = stack.enter_context(_collector())
        sent = {"100 %, sent": {"STOCKADE_OTLP_ENDPOINT": collector}}
        settings = SETTINGS | sent
        services = {
            name: stack.enter_context(_with(variables)) for name, variables in settings.items()
        }
        return asyncio.run(_measured(services, body))


@contextmanager
def _collector() -> Iterator[str]:
    """A collector that takes everything and looks at nothing; its URL."""

    class Taker(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Taker) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@contextmanager
def _with(variables: dict[str, str]) -> Iterator[tuple[Service, list[int]]]:
    """A service under these settings, and its processes."""
    before = set(_children(os.getpid()))
    with running_service("everysec", variables) as service:
        (root,) = set(_children(os.getpid())) - before
        yield service, _tree(root)


async def _measured(services: dict[str, tuple[Service, list[int]]], body: bytes) -> dict[str, Cost]:
    costs = {name: Cost() for name in services}
    for service, _processes in services.values():
        await _round(service, body, 16, 4 * WARM_UP)
    for turn in range(ROUNDS):
        names = list(services)
        for name in names if turn % 2 else reversed(names):
            service, processes = services[name]
            times, _ = await _round(service, body, 1, WARM_UP)
            costs[name].one_client.append(statistics.median(times))
            began = _cpu_seconds(processes)
            _, seconds = await _round(service, body, 16, 5 * WARM_UP)
            # What is told in the background belongs to these invocations too.
            await asyncio.sleep(0.5)
            count = 5 * WARM_UP // 16 * 16
            costs[name].per_second.append(count / seconds)
            costs[name].cpu.append((_cpu_seconds(processes) - began) / count)
    return costs


async def _round(
    service: Service, body: bytes, clients: int, requests: int
) -> tuple[list[float], float]:
    return await closed_loop(
        service.invoke_url, service.headers, body, clients=clients, requests=requests, expect=200
    )


def _children(process: int) -> list[int]:
    files = Path(f"/proc/{process}/task").glob("*/children")
    return [int(word) for file in files for word in file.read_text().split()]


def _tree(process: int) -> list[int]:
    return [process, *(one for child in _children(process) for one in _tree(child))]


def _cpu_seconds(processes: list[int]) -> float:
    """What the processes have used; those that ended meanwhile are left out."""
    ticks = 0
    for process in processes:
        try:
            text = Path(f"/proc/{process}/stat").read_text()
        except OSError:
            continue
        fields = text.rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / _TICKS
