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
from pathlib import Path

from bench.end_to_end import Service, running_service
from bench.http_load import closed_loop

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


def trace_costs(body: bytes, collector: str = "") -> dict[str, Cost]:
    """The costs by setting; with a collector's URL, also of sending all spans to it."""
    settings = dict(SETTINGS)
    if collector:
        settings["100 %, sent"] = {"STOCKADE_OTLP_ENDPOINT": collector}
    with ExitStack() as stack:
        services = {
            name: stack.enter_context(_with(variables)) for name, variables in settings.items()
        }
        return asyncio.run(_measured(services, body))


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
