"""The jail's walls: what a jailed process cannot do, tried in a process that enters the jail."""

import asyncio
import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox_worker.guest.jail import load_allowed_calls
from sandbox_worker.guest.landlock import landlock_version
from sandbox_worker.guest.syscalls import MACHINES, this_machine
from stockade.core.errors import StockadeError
from stockade.core.jail_control import JailRole
from stockade.infra.zygote_jail import ZygoteJail

POLICY = Path(__file__).parents[2] / "policies" / "seccomp" / "guest.toml"

_ENTER = f"""
import os, sys, socket, ctypes, mmap, resource, threading
from pathlib import Path
from sandbox_worker.guest.jail import JailBounds, close_files, enter_jail, load_allowed_calls
from sandbox_worker.guest.syscalls import this_machine, syscall
bounds = JailBounds(data_bytes=256 << 20, cpu_seconds=1)
secret = os.open("/etc/hostname", os.O_RDONLY)
allowed = load_allowed_calls(Path({str(POLICY)!r})) + tuple(sys.argv[2:])
close_files()
jailed = threading.Event()
def other_thread():
    jailed.wait()
    try:
        os.open('/etc/passwd', os.O_RDONLY)
    except OSError as error:
        os._exit(100 + error.errno)
threading.Thread(target=other_thread, daemon=True).start()
enter_jail(bounds, allowed, os.getppid())
exec(sys.argv[1])
os._exit(42)
"""


def attempt(code: str, *also_allowed: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-c", _ENTER, code, *also_allowed],
        capture_output=True,
        check=False,
        timeout=30,
    )


def test_a_jailed_process_can_compute() -> None:
    assert attempt("sum(range(1000))").returncode == 42


@pytest.mark.parametrize(
    "code",
    [
        "os.open('/etc/passwd', os.O_RDONLY)",
        "os.listdir('/proc')",
        "os.stat('/')",
        "os.mkdir('/tmp/x')",
        "os.unlink('/tmp/x')",
        "socket.socket(socket.AF_INET, socket.SOCK_STREAM)",
        "socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)",
        "socket.socketpair()",
        "os.fork()",
        "os.execv('/bin/true', ['/bin/true'])",
        "os.kill(os.getppid(), 9)",
        "os.setuid(0)",
        "syscall(101, 0, 0, 0, 0)",  # ptrace
        "syscall(310, os.getppid(), 0, 0, 0, 0, 0)",  # process_vm_readv
        "syscall(56, 0x10000, 0, 0, 0, 0)",  # clone
        "syscall(425, 1, 0)",  # io_uring_setup
        "syscall(321, 0, 0, 0)",  # bpf
        "syscall(272, 0x10000000)",  # unshare
        "syscall(165, 0, 0, 0, 0, 0)",  # mount
        "syscall(157, 22, 0, 0, 0, 0)",  # prctl
        "syscall(160, 4, 0)",  # setrlimit
        "syscall(0x40000000 + 39)",  # x32's getpid
    ],
)
def test_a_forbidden_call_kills_the_process(code: str) -> None:
    assert attempt(code).returncode == -signal.SIGSYS


@pytest.mark.skipif(
    landlock_version(this_machine()) == 0, reason="this kernel has no Landlock; see the docs"
)
@pytest.mark.parametrize(
    "code", ["os.open('/etc/passwd', os.O_RDONLY)", "os.open('/tmp', os.O_TMPFILE | os.O_RDWR)"]
)
def test_files_stay_closed_where_seccomp_lets_open_through(code: str) -> None:
    program = f"""
import errno
try:
    {code}
except OSError as error:
    os._exit(error.errno)
"""
    assert "openat" not in this_machine().numbers
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from sandbox_worker.guest.syscalls import this_machine;"
            "this_machine().numbers['openat'] = 257\n" + _ENTER,
            program,
            "openat",
        ],
        capture_output=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == errno.EACCES


@pytest.mark.skipif(
    landlock_version(this_machine()) == 0, reason="this kernel has no Landlock; see the docs"
)
def test_files_stay_closed_to_every_thread() -> None:
    allow = "from sandbox_worker.guest.syscalls import this_machine;"
    allow += "this_machine().numbers['openat'] = 257\n"
    program = "jailed.set(); threading.Event().wait(20)"
    done = subprocess.run(
        [sys.executable, "-c", allow + _ENTER, program, "openat"], check=False, timeout=30
    )
    assert done.returncode == 100 + errno.EACCES


def test_a_forbidden_call_of_another_thread_kills_the_process() -> None:
    done = attempt("jailed.set(); threading.Event().wait(20)")
    assert done.returncode == -signal.SIGSYS


def test_memory_beyond_the_bound_is_refused() -> None:
    code = """
try:
    bytearray(300 << 20)
except MemoryError:
    os._exit(7)
"""
    assert attempt(code).returncode == 7


def test_processor_time_beyond_the_bound_ends_the_process() -> None:
    assert attempt("while True: pass").returncode in {-signal.SIGXCPU, -signal.SIGKILL}


def test_the_jail_gives_up_root_environment_and_privileges() -> None:
    # /proc is read from outside: the jailed process itself can open nothing.
    program = "os.write(1, b'in'); os.read(0, 1)"
    with subprocess.Popen(
        [sys.executable, "-c", _ENTER, program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.read(2) == b"in"
        status = _status(process.pid)
        process.kill()
    assert status["Seccomp"] == "2"
    assert status["NoNewPrivs"] == "1"
    assert status["CapEff"] == "0" * 16
    if os.geteuid() == 0:
        assert status["Uid"].split() == ["65534"] * 4


async def test_an_executor_holds_only_its_socket() -> None:
    jail = ZygoteJail(POLICY)
    try:
        child = await jail.fork(JailRole.EXECUTOR)
        await _until_jailed(child.process_id)
        proc = Path(f"/proc/{child.process_id}")
        targets = [str(entry.readlink()) for entry in (proc / "fd").iterdir()]
        kinds = sorted(target.split(":")[0] for target in targets)
        assert kinds == ["/dev/null"] * 3 + ["pipe"] * 2 + ["socket"]
        assert (proc / "environ").read_bytes().strip(b"\0") == b""
        assert _status(child.process_id)["Seccomp"] == "2"
        child.connection.close()
        assert await child.ended() == 0
    finally:
        await jail.aclose()


async def test_children_end_with_their_zygote_and_the_jail_starts_a_new_one() -> None:
    jail = ZygoteJail(POLICY)
    try:
        child = await jail.fork(JailRole.EXECUTOR)
        await _until_jailed(child.process_id)
        os.kill(_parent(child.process_id), signal.SIGKILL)
        await child.ended()
        child.connection.close()
        assert not child.alive
        another = await jail.fork(JailRole.EXECUTOR)
        another.connection.close()
        assert another.alive
    finally:
        await jail.aclose()


async def test_a_jail_that_cannot_start_says_so(tmp_path: Path) -> None:
    policy = tmp_path / "broken.toml"
    policy.write_text("[allow]\nread = 1\n")
    jail = ZygoteJail(policy)
    with pytest.raises(StockadeError) as refused:
        await jail.fork(JailRole.EXECUTOR)
    assert (refused.value.code, refused.value.retryable) == ("jail.unavailable", True)


def test_every_allowed_call_has_a_reason_and_a_number() -> None:
    for name in load_allowed_calls(POLICY):
        assert any(name in machine.numbers for machine in MACHINES.values()), name


def _status(process_id: int) -> dict[str, str]:
    lines = Path(f"/proc/{process_id}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _parent(process_id: int) -> int:
    return int(_status(process_id)["PPid"])


async def _until_jailed(process_id: int) -> None:
    async with asyncio.timeout(10):
        while _status(process_id).get("Seccomp") != "2":
            await asyncio.sleep(0.005)
