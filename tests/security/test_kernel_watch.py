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
from collections.abc import Iterator
from pathlib import Path
from queue import Queue
from threading import Thread

import httpx
import pytest

from sandbox_worker.executor_owners import ExecutorOwners
from sandbox_worker.guest.jail import JAILED_NAME
from sandbox_worker.operations_server import Answer, OperationsServer, Route
from stockade.core.limits import Limits
from stockade.core.outcomes import Outcome
from tests.guest import guests
from tests.security.kernel_watch import DEPLOYED, exporter
from tests.security.sandbox import Sandbox
from tests.security.test_jail_walls import _ENTER

pytestmark = pytest.mark.undisturbed
PATIENCE_SECONDS = 30.0
TOKEN = "t" * 16

# As the jail does, but nothing filters its calls afterwards: a wall that is missing.
_UNFILTERED = """
import socket, sys
sys.stdin.readline()
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
sys.modules['time'].sleep(0.01)  # and waits for its turn again
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

    def __init__(self, url: str, owners: ExecutorOwners) -> None:
        self._url, self._owners = url, owners

    def text(self) -> str:
        return httpx.get(self._url).text

    def value(self, name: str, **labels: str) -> float:
        """The sum of all series with these labels."""
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        series = re.compile(rf"^stockade_kernel_{name}(\{{.*\}})? (\S+)$", re.MULTILINE)
        lines = series.findall(self.text())
        return sum(float(count) for said, count in lines if all(one in said for one in wanted))

    def until_value(self, least: float, name: str, **labels: str) -> None:
        end = time.monotonic() + PATIENCE_SECONDS
        while self.value(name, **labels) < least:
            assert time.monotonic() < end, self.text()
            time.sleep(0.1)

    def ended(self, tenant: str, *program: str, group: Path | None = None) -> int:
        """How a process of this tenant's ends, which waits for a line before it begins."""
        with subprocess.Popen([sys.executable, "-c", *program], stdin=subprocess.PIPE) as process:
            self._owners.note(process.pid, tenant)
            if group is not None:
                (group / "cgroup.procs").write_text(str(process.pid))
            process.communicate(b"\n")
        return process.returncode


def start(owners: ExecutorOwners, *options: str) -> Iterator[Watching]:
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
            watching = Watching(first.strip(), owners)
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
def worker() -> Iterator[tuple[ExecutorOwners, str]]:
    """The endpoint of a worker whose executors the tests name, and its token."""
    owners, ports = ExecutorOwners(), Queue[int]()
    loop = asyncio.new_event_loop()
    ended = asyncio.Event()

    async def tell(_accept: str) -> Answer:
        return Answer(json.dumps(owners.told()).encode())

    async def serve() -> None:
        server = OperationsServer({"/executors": Route(tell, guarded=True)}, TOKEN)
        ports.put(await server.start("127.0.0.1", 0))
        await ended.wait()
        await server.aclose()

    thread = Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    yield owners, f"http://127.0.0.1:{ports.get(timeout=PATIENCE_SECONDS)}"
    loop.call_soon_threadsafe(ended.set)
    thread.join()
    loop.close()


@pytest.fixture(scope="module")
def watching(
    worker: tuple[ExecutorOwners, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Watching]:
    owners, url = worker
    token = tmp_path_factory.mktemp("token") / "token"
    token.write_text(TOKEN)
    yield from start(owners, "--worker", url, "--token-file", str(token))


def test_a_forbidden_call_is_counted_by_its_name_and_tenant(watching: Watching) -> None:
    # Calls of C alone: whoever traces Python looks at each new file first, which is forbidden.
    for code, call in {
        "os.open('/etc/passwd', os.O_RDONLY)": "openat",
        "socket._socket.socket()": "socket",
        "os.execv('/bin/true', ['true'])": "execve",
        "syscall(5000)": "call_5000",
    }.items():
        assert watching.ended("denied", _ENTER, code) == -signal.SIGSYS
        watching.until_value(1, "denied_calls_total", tenant="denied", call=call)
    assert watching.value("passed_calls_total", tenant="denied") == 0


def test_an_honest_run_and_a_strangers_end_are_nothing(watching: Watching) -> None:
    assert watching.ended("honest", _ENTER, _HUNGRY) == 42
    stranger = "import os, sys; sys.stdin.readline(); os.kill(os.getpid(), 31)"
    assert watching.ended("stranger", stranger) == -signal.SIGSYS
    # What is told of the next one comes after what would be told of these.
    assert watching.ended("last", _ENTER, "socket._socket.socket()") == -signal.SIGSYS
    watching.until_value(1, "denied_calls_total", tenant="last")
    for tenant in ("honest", "stranger"):
        assert watching.value("denied_calls_total", tenant=tenant) == 0
        assert watching.value("passed_calls_total", tenant=tenant) == 0
    # 40,960 pages were touched; one fault of a hundred on each processor is looked at.
    assert 20_000 < watching.value("page_faults_total", tenant="honest") < 100_000
    assert watching.value("page_faults_total", tenant="stranger") == 0
    watching.until_value(1, "run_queue_seconds_count")
    assert watching.value("run_queue_seconds_sum") > 0


def test_a_call_that_a_missing_filter_lets_through_is_told(watching: Watching) -> None:
    assert watching.ended("walls", _UNFILTERED) == 0
    for call in ("openat", "socket"):
        watching.until_value(1, "passed_calls_total", tenant="walls", call=call)


def test_an_end_for_memory_is_told(watching: Watching) -> None:
    group = bounded_group(64 << 20)
    try:
        assert watching.ended("hungry", _OUT_OF_MEMORY, group=group) == -signal.SIGKILL
    finally:
        group.rmdir()
    watching.until_value(1, "oom_kills_total", tenant="hungry")


async def test_a_real_executor_bears_the_name_and_its_worker_knows_whose_it_is(
    sandbox: Sandbox,
) -> None:
    task = await sandbox.task(guests.ECHO, b"x", Limits())
    executor = await sandbox.pool.acquire("t", task.digest)
    assert (await executor.run(task)).outcome is Outcome.COMPLETED
    name = Path(f"/proc/{executor.process_id}/comm").read_bytes().strip()
    assert name == JAILED_NAME
    assert sandbox.pool.owners.told()["executors"] == {str(executor.process_id): "t"}
    await sandbox.pool.release(executor)


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
