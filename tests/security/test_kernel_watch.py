"""`deploy/ebpf`: the kernel tells of what jailed processes try. Real where the kernel lets us."""

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import httpx
import pytest

from sandbox_worker.executor_owners import ExecutorOwners
from sandbox_worker.operations_server import Answer, OperationsServer, Route
from tests.security.kernel_watch import DEPLOYED, exporter
from tests.security.test_jail_walls import _ENTER, attempt

pytestmark = pytest.mark.undisturbed
PATIENCE_SECONDS = 30.0

# As the jail does, but nothing filters its calls afterwards: a wall that is missing.
_UNFILTERED = """
import socket, sys
from sandbox_worker.guest.jail import JAILED_NAME
from sandbox_worker.guest.syscalls import name_thread
name_thread(JAILED_NAME)
open('/etc/hostname').close()
socket.socket().close()
"""
_HUNGRY = """
import mmap
memory = mmap.mmap(-1, 160 << 20)
memory.madvise(15)  # without huge pages
for at in range(0, 160 << 20, 4096): memory[at] = 1
"""
_OUT_OF_MEMORY = """
import sys
from sandbox_worker.guest.jail import JAILED_NAME
from sandbox_worker.guest.syscalls import name_thread
sys.stdin.readline()
name_thread(JAILED_NAME)
held = bytearray(256 << 20)
"""


class Watching:
    """An exporter that runs."""

    def __init__(self, url: str) -> None:
        self._url = url

    def text(self) -> str:
        return httpx.get(self._url).text

    def value(self, name: str, **labels: str) -> float:
        """The sum of all series with these labels."""
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        series = re.compile(rf"^stockade_kernel_{name}(\{{.*\}})? (\S+)$", re.MULTILINE)
        lines = series.findall(self.text())
        return sum(float(count) for said, count in lines if all(one in said for one in wanted))

    def until(self, reached: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE_SECONDS
        while not reached():
            assert time.monotonic() < end, self.text()
            time.sleep(0.1)


def start(*options: str) -> Iterator[Watching]:
    """Starts an exporter, or skips where the kernel does not let it watch."""
    if shutil.which("bpftrace") is None:
        if os.environ.get("CI"):  # noqa: TID251 - CI has it
            pytest.fail("bpftrace is not installed")
        pytest.skip("bpftrace is not installed")
    command = (sys.executable, str(DEPLOYED / "exporter.py"), "--port", "0", *options)
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            first = process.stderr.readline()
            if not first.startswith("http://"):
                pytest.skip(f"the kernel says no: {first}")
            watching = Watching(first.strip())
            end = time.monotonic() + PATIENCE_SECONDS
            while process.poll() is None and not watching.value("watching"):
                assert time.monotonic() < end
                time.sleep(0.1)
            if process.poll() is not None:
                pytest.skip(f"the kernel says no: {process.stderr.read()[-500:]}")
            yield watching
        finally:
            process.terminate()
            process.wait()


@pytest.fixture(scope="module")
def watching() -> Iterator[Watching]:
    yield from start()


def test_a_forbidden_call_is_counted_by_its_name(watching: Watching) -> None:
    before = watching.value("denied_calls_total", call="openat")
    assert attempt("os.open('/etc/passwd', os.O_RDONLY)").returncode == -signal.SIGSYS
    watching.until(lambda: watching.value("denied_calls_total", call="openat") == before + 1)
    assert attempt("socket.socket()").returncode == -signal.SIGSYS
    watching.until(lambda: watching.value("denied_calls_total", call="socket") == 1)
    assert attempt("syscall(5000)").returncode == -signal.SIGSYS
    watching.until(lambda: watching.value("denied_calls_total", call="call_5000") == 1)
    assert watching.value("passed_calls_total") == 0


def test_what_does_not_pass_the_filter_is_no_call_that_passed(watching: Watching) -> None:
    """And an honest run, or another process that dies of SIGSYS, is nothing at all."""
    denied = watching.value("denied_calls_total")
    assert attempt("sum(range(1000))").returncode == 42
    stranger = "import os; os.kill(os.getpid(), 31)"
    done = subprocess.run([sys.executable, "-c", stranger], check=False)
    assert done.returncode == -signal.SIGSYS
    waits = watching.value("run_queue_seconds_count")
    watching.until(lambda: watching.value("run_queue_seconds_count") >= waits)
    assert watching.value("denied_calls_total") == denied
    assert watching.value("passed_calls_total") == 0


def test_page_faults_and_waits_for_a_processor_are_told(watching: Watching) -> None:
    before = watching.value("page_faults_total")
    waits = watching.value("run_queue_seconds_count")
    assert attempt(_HUNGRY).returncode == 42
    # 40,960 pages are touched; one fault of a hundred on each processor is looked at.
    watching.until(lambda: watching.value("page_faults_total") - before > 20_000)
    watching.until(lambda: watching.value("run_queue_seconds_count") > waits)
    assert watching.value("page_faults_total") - before < 100_000
    assert watching.value("run_queue_seconds_sum") > 0


def test_a_call_that_a_missing_filter_lets_through_is_told(watching: Watching) -> None:
    subprocess.run([sys.executable, "-c", _UNFILTERED], check=True)
    for call in ("openat", "socket"):
        watching.until(lambda call=call: watching.value("passed_calls_total", call=call) >= 1)  # type: ignore[misc] # bound at once


def test_an_end_for_memory_is_told(watching: Watching, tmp_path: Path) -> None:
    group = bounded_group(64 << 20)
    try:
        with subprocess.Popen(
            [sys.executable, "-c", _OUT_OF_MEMORY], stdin=subprocess.PIPE, cwd=tmp_path
        ) as process:
            (group / "cgroup.procs").write_text(str(process.pid))
            assert process.stdin is not None
            process.stdin.write(b"go\n")
            process.stdin.flush()
            assert process.wait() == -signal.SIGKILL
    finally:
        group.rmdir()
    watching.until(lambda: watching.value("oom_kills_total") == 1)


def bounded_group(most_bytes: int) -> Path:
    """A cgroup of either version with so much memory, or a skip."""
    root = Path("/sys/fs/cgroup")
    for parent, limit in ((root / "memory", "memory.limit_in_bytes"), (root, "memory.max")):
        group = parent / f"stockade-test-{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        if (group / limit).exists():
            (group / limit).write_text(str(most_bytes))
            return group
        group.rmdir()
    pytest.skip("no cgroup that bounds memory can be made here")


@pytest.fixture
async def worker() -> AsyncIterator[tuple[ExecutorOwners, str]]:
    """The endpoint of a worker whose executors the test names."""
    owners = ExecutorOwners()

    async def tell(_accept: str) -> Answer:
        return Answer(json.dumps(owners.told()).encode())

    server = OperationsServer({"/executors": Route(tell, guarded=True)}, "t" * 16)
    port = await server.start("127.0.0.1", 0)
    yield owners, f"http://127.0.0.1:{port}"
    await server.aclose()


async def test_the_worker_says_whose_it_was(
    worker: tuple[ExecutorOwners, str], tmp_path: Path
) -> None:
    owners, url = worker
    token = tmp_path / "token"
    token.write_text("t" * 16)
    code = "sys.stdin.readline(); os.open('/etc/passwd', os.O_RDONLY)"

    def run(watching: Watching) -> None:
        with subprocess.Popen([sys.executable, "-c", _ENTER, code], stdin=subprocess.PIPE) as guest:
            owners.note(guest.pid, "acme")
            guest.communicate(b"\n")
            assert guest.returncode == -signal.SIGSYS
        watching.until(lambda: watching.value("denied_calls_total", tenant="acme") == 1)

    def watched() -> None:
        for watching in start("--worker", url, "--token-file", str(token)):
            run(watching)

    await asyncio.to_thread(watched)


def test_a_host_that_cannot_be_watched_is_told_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "tracefs is not there" in (exporter.why_not(tmp_path) or "it takes root")
    program = tmp_path / "refuses"
    program.write_text("#!/bin/sh\necho 'ERROR: could not attach' >&2\nexit 1\n")
    program.chmod(0o755)
    if exporter.why_not() is None:
        assert exporter.main(["--port", "0", "--bpftrace", str(program)]) == 2
    else:
        assert exporter.main([]) == 2
    assert "The kernel is not watched: " in capsys.readouterr().err
