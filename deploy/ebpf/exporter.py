#!/usr/bin/env python3
"""What the kernel sees of Stockade's executors, as Prometheus metrics.

Runs bpftrace with `executors.bt`, reads what it prints each second, and serves `/metrics`. Needs
root, bpftrace 0.17 or newer, tracefs, a kernel with BTF, and `prometheus_client`; nothing else of
Stockade. Ends with a message, and status 2, where the kernel does not let it watch.
"""

import argparse
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, start_http_server
from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

HERE = Path(__file__).parent
TRACEFS = Path("/sys/kernel/tracing")
OTHERS, UNKNOWN = "(other)", "(unknown)"
FAULTS_PER_SAMPLE = 100
REFUSED_STATUS = 2
_WORKER_SECONDS = 1.0
_MOST_ANSWER_BYTES = 4 * 1024 * 1024
_MOST_CALLS = 128
_MOST_PROCESSES = 100_000
_MOST_LINE_CHARACTERS = 1024 * 1024
_BUCKETS_US = tuple(2**power for power in range(1, 25))
_CALL_OF_PROBE = re.compile(r"tracepoint:syscalls:sys_enter_([a-z0-9_]{1,32})")
_PROBE_LINE = re.compile(r"tracepoint:syscalls:(sys_enter_\w+),")
# What a program that broke out would try, by number; any other call is named by its number.
_NAMES = {
    "x86_64": {
        2: "open", 22: "pipe", 32: "dup", 41: "socket", 42: "connect", 49: "bind", 53: "socketpair",
        56: "clone", 57: "fork", 58: "vfork", 59: "execve", 62: "kill", 101: "ptrace", 155:
        "pivot_root", 157: "prctl", 161: "chroot", 165: "mount", 257: "openat", 272: "unshare",
        298: "perf_event_open", 308: "setns", 310: "process_vm_readv", 311: "process_vm_writev",
        321: "bpf", 322: "execveat", 425: "io_uring_setup", 435: "clone3", 437: "openat2",
    },
    "aarch64": {
        40: "mount", 41: "pivot_root", 51: "chroot", 56: "openat", 59: "pipe2", 97: "unshare",
        117: "ptrace", 129: "kill", 167: "prctl", 198: "socket", 199: "socketpair", 200: "bind",
        203: "connect", 220: "clone", 221: "execve", 241: "perf_event_open", 268: "setns",
        270: "process_vm_readv", 271: "process_vm_writev", 280: "bpf", 281: "execveat",
        425: "io_uring_setup", 435: "clone3", 437: "openat2",
    },
}  # fmt: skip
Fetch = Callable[[], dict[str, Any]]


class Owners:
    """Whose executor a process is, by what the workers say; so many tenants have a label.

    Args:
        workers: Each asks one worker's `/executors`.
        most: How many tenants are named; all others are `(other)`.
        namespace: This process's own namespace of process ids.
    """

    def __init__(self, workers: Sequence[Fetch], most: int, namespace: int) -> None:
        self._workers, self._most, self._namespace = workers, most, namespace
        self._tenants: dict[int, str] = {}
        self._named: set[str] = set()

    def refresh(self) -> None:
        """Asks the workers; those that do not answer keep what they said."""
        for fetch in self._workers:
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
                told = fetch()
                # A process id of another namespace is some other process here.
                if told["pid_namespace"] == self._namespace:
                    found = {int(pid): str(name) for pid, name in told["executors"].items()}
                    kept = self._tenants if len(self._tenants) < _MOST_PROCESSES else {}
                    self._tenants = kept | found

    def label(self, process_id: int) -> str:
        """The label of a process's tenant."""
        tenant = self._tenants.get(process_id)
        if tenant is None:
            return UNKNOWN
        if tenant not in self._named and len(self._named) >= self._most:
            return OTHERS
        self._named.add(tenant)
        return tenant


class RunQueueWaits(Collector):
    """How long executors waited for a processor: a histogram whose buckets the kernel filled."""

    def __init__(self) -> None:
        self.counts = [0] * (len(_BUCKETS_US) + 1)
        self.seconds = 0.0

    def add(self, buckets: Sequence[dict[str, int]]) -> None:
        """Adds what bpftrace counted; its buckets are powers of two as well."""
        for bucket in buckets:
            edge = bucket["max"] + 1 if "max" in bucket else _BUCKETS_US[-1] + bucket["min"]
            place = next((i for i, bound in enumerate(_BUCKETS_US) if edge <= bound), -1)
            self.counts[place] += bucket["count"]

    def collect(self) -> Iterator[Metric]:
        """The histogram."""
        total, buckets = 0, []
        for bound, count in zip((*_BUCKETS_US, None), self.counts, strict=True):
            total += count
            buckets.append(("+Inf" if bound is None else str(bound / 1e6), float(total)))
        yield HistogramMetricFamily(
            "stockade_kernel_run_queue_seconds",
            "From the time that an executor could run to the time that it did.",
            buckets=buckets,
            sum_value=self.seconds,
        )


class Watch:
    """Turns bpftrace's lines into metrics.

    Args:
        owners: Whose the processes are.
        machine: The processor's architecture, whose calls are named.
    """

    def __init__(self, owners: Owners, machine: str) -> None:
        self._owners, self._names = owners, _NAMES.get(machine, {})
        self._calls: set[str] = set()
        self._asked = False
        self.registry = CollectorRegistry()
        self._waits = RunQueueWaits()
        self.registry.register(self._waits)
        self.attached = Gauge(
            "stockade_kernel_watching", "1 while the kernel is watched.", registry=self.registry
        )
        self.denied = self._counter(
            "denied_calls", "System calls for which the kernel ended an executor.", "call"
        )
        self.passed = self._counter(
            "passed_calls", "System calls that the filter should have stopped, and did not.", "call"
        )
        self.faults = self._counter("page_faults", "Page faults, estimated from one of a hundred.")
        self.oom_kills = self._counter("oom_kills", "Executors that the kernel ended for memory.")
        self.unread = Counter(
            "stockade_kernel_lines_unread",
            "What bpftrace printed and nobody understood.",
            registry=self.registry,
        )

    def take(self, line: str) -> None:
        """Takes one line; one that cannot be read is counted."""
        try:
            said = json.loads(line[:_MOST_LINE_CHARACTERS])
            self._take(said["type"], said["data"])
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            self.unread.inc()

    def _take(self, kind: str, data: Any) -> None:  # noqa: ANN401 - JSON from another program
        if kind == "printf" and data == "attached\n":
            self.attached.set(1)
        if kind == "printf" and data == "second\n":
            self._asked = False
        for name, values in data.items() if kind in {"map", "hist"} else ():
            if values:
                self._add(name, values)

    def _add(self, name: str, values: Any) -> None:  # noqa: ANN401 - likewise
        if name == "@waited_us":
            self._waits.add(values)
        elif name == "@waited_ns":
            self._waits.seconds += values / 1e9
        elif name in {"@denied", "@passed", "@faults", "@oom"}:
            if not self._asked:
                self._asked = True
                self._owners.refresh()
            for key, count in values.items():
                self._count(name, key, count)

    def _count(self, name: str, key: str, count: int) -> None:
        process_id, _, what = key.partition(",")
        tenant = self._owners.label(int(process_id))
        if name == "@faults":
            self.faults.labels(tenant).inc(count * FAULTS_PER_SAMPLE)
        elif name == "@oom":
            self.oom_kills.labels(tenant).inc(count)
        elif name == "@denied":
            number = int(what)
            call = self._bounded(self._names.get(number, f"call_{number}"))
            self.denied.labels(tenant, call).inc(count)
        else:
            self.passed.labels(tenant, _CALL_OF_PROBE.fullmatch(what)[1]).inc(count)  # type: ignore[index] # None is unread

    def _bounded(self, call: str) -> str:
        """An attacker chooses the number, so that few have a label."""
        if call not in self._calls and len(self._calls) >= _MOST_CALLS:
            return OTHERS
        self._calls.add(call)
        return call

    def _counter(self, name: str, text: str, *more: str) -> Counter:
        labels = ["tenant", *more]
        return Counter(f"stockade_kernel_{name}", text, labels, registry=self.registry)


def script_for(text: str, events: Path) -> str:
    """The script without the system calls that this kernel does not know."""

    def keeps(line: str) -> bool:
        found = _PROBE_LINE.fullmatch(line)
        return found is None or (events / "syscalls" / found[1]).is_dir()

    return "\n".join(filter(keeps, text.splitlines()))


def why_not(tracefs: Path = TRACEFS) -> str | None:
    """Why this host cannot be watched, as far as that is seen before trying."""
    if os.geteuid() != 0:
        return "it takes root"
    if not Path("/sys/kernel/btf/vmlinux").exists():
        return "this kernel has no BTF (CONFIG_DEBUG_INFO_BTF)"
    if not (tracefs / "events" / "sched").is_dir():
        return f"tracefs is not there: mount -t tracefs tracefs {tracefs}"
    return None


def ask(url: str, token: str) -> dict[str, Any]:
    """What one worker says at `/executors`."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    request = urllib.request.Request(f"{url.rstrip('/')}/executors", headers=headers)  # noqa: S310 - the operator's own URL
    with urllib.request.urlopen(request, timeout=_WORKER_SECONDS) as answer:  # noqa: S310 - likewise
        told: dict[str, Any] = json.loads(answer.read(_MOST_ANSWER_BYTES))
    return told


def watch(lines: Iterable[str], taker: Watch) -> None:
    """Takes lines until there are no more."""
    for line in lines:
        taker.take(line)
    taker.attached.set(0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serves until bpftrace ends."""
    options = _options().parse_args(arguments)
    if reason := why_not():
        return _refuse(reason)
    token = options.token_file.read_text(encoding="utf-8").strip() if options.token_file else ""
    fetches = [lambda url=url: ask(url, token) for url in options.worker]
    owners = Owners(fetches, options.tenants, Path("/proc/self/ns/pid").stat().st_ino)
    taker = Watch(owners, os.uname().machine)
    server, _thread = start_http_server(options.port, options.host, registry=taker.registry)
    sys.stderr.write(f"http://{options.host}:{server.server_port}/metrics\n")
    sys.stderr.flush()
    script = script_for((HERE / "executors.bt").read_text(encoding="utf-8"), TRACEFS / "events")
    command = (options.bpftrace, "-f", "json", "-B", "line", "-e", script)
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(0))
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, errors="replace") as process:  # noqa: S603 - the operator's own program
        try:
            watch(process.stdout or (), taker)
        finally:
            process.terminate()
    return _refuse("bpftrace ended; what it says stands above")


def _refuse(reason: str) -> int:
    sys.stderr.write(f"The kernel is not watched: {reason}.\n")
    return REFUSED_STATUS


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="where /metrics is served")
    parser.add_argument("--port", type=int, default=9465)
    parser.add_argument(
        "--worker", action="append", default=[], metavar="URL",
        help="a worker's endpoint (STOCKADE_METRICS_PORT), which says whose executors are; repeat",
    )  # fmt: skip
    parser.add_argument("--token-file", type=Path, help="the workers' STOCKADE_METRICS_TOKEN_FILE")
    parser.add_argument("--tenants", type=int, default=20, help="how many have labels")
    parser.add_argument("--bpftrace", default="bpftrace", help="the program")
    return parser


if __name__ == "__main__":
    sys.exit(main())
