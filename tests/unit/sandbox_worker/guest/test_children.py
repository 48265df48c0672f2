"""What runs in jailed children, run here without the jail."""

import platform
import re
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from wasmtime import Engine, Module

from sandbox_worker.guest import frames, landlock, syscalls
from sandbox_worker.guest.compiler import serve_compiler
from sandbox_worker.guest.engine import build_engine, engine_fingerprint
from sandbox_worker.guest.executor import Executor
from sandbox_worker.guest.jail import load_allowed_calls
from sandbox_worker.guest.runner import Runner
from sandbox_worker.guest.seccomp import MAX_CALLS, build_filter
from sandbox_worker.guest.warm_up import warm_up
from stockade.core.jail_control import COMPILED, REFUSED, engine_of
from stockade.core.limits import Limits
from stockade.core.modules import Abi
from stockade.core.outcomes import Outcome
from tests.guest import guests

LIMITS = Limits(fuel=1_000_000)


@pytest.fixture(scope="module")
def engine() -> Engine:
    return build_engine()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    yield ours, theirs
    ours.close()
    theirs.close()


def answers(data: bytes) -> list[frames.Answer]:
    found = []
    while data:
        size = frames.HEADER_BYTES + frames.body_length(data[: frames.HEADER_BYTES])
        found.append(frames.decode_answer(data[frames.HEADER_BYTES : size]))
        data = data[size:]
    return found


def test_an_executor_answers_command_by_command(
    engine: Engine, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    artifact = bytes(Module(engine, guests.ECHO).serialize())
    commands = [
        frames.Run("echo", LIMITS, b"early"),
        frames.Load("broken", Abi.STOCKADE_V1, b"no artifact"),
        frames.Load("echo", Abi.STOCKADE_V1, artifact),
        frames.Run("echo", LIMITS, b"hello"),
    ]
    for command in commands:
        ours.sendall(frames.encode(command))
    ours.shutdown(socket.SHUT_WR)
    executor = Executor(Runner(engine), theirs)
    executor.serve()
    executor.close()
    theirs.shutdown(socket.SHUT_WR)
    early, broken, loaded, ran = answers(_all(ours))
    assert early == frames.NotLoaded()
    assert (broken, loaded) == (frames.Loaded(failed=True), frames.Loaded())
    assert isinstance(ran, frames.Ran)
    assert (ran.outcome, ran.output) == (Outcome.COMPLETED, b"hello")


@pytest.mark.parametrize(
    "sent",
    [struct.pack("<I", frames.MAX_FRAME_BYTES + 1), struct.pack("<I", 3) + b"\xff\xff\xff"],
    ids=["beyond the bound", "no command"],
)
def test_an_executor_ends_at_what_is_no_frame(
    engine: Engine, pair: tuple[socket.socket, socket.socket], sent: bytes
) -> None:
    ours, theirs = pair
    ours.sendall(sent)
    executor = Executor(Runner(engine), theirs)
    with pytest.raises(frames.FrameError):
        executor.serve()
    executor.close()


def test_an_executor_ends_with_a_frame_cut_short(
    engine: Engine, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    ours.sendall(struct.pack("<I", 100) + b"half")
    ours.shutdown(socket.SHUT_WR)
    executor = Executor(Runner(engine), theirs)
    executor.serve()
    executor.close()


@pytest.mark.parametrize(
    ("body", "kind"),
    [(guests.ECHO, COMPILED), (b"(module)", REFUSED), (guests.ECHO[:-1], REFUSED)],
    ids=["module", "text", "cut"],
)
def test_a_compiler_answers_one_module(
    engine: Engine, pair: tuple[socket.socket, socket.socket], body: bytes, kind: bytes
) -> None:
    ours, theirs = pair
    ours.sendall(body)
    ours.shutdown(socket.SHUT_WR)
    serve_compiler(engine, theirs)
    theirs.shutdown(socket.SHUT_WR)
    answer = _all(ours)
    assert answer[:1] == kind
    assert len(answer) > 1


def test_the_warm_up_runs_a_guest_of_our_own(engine: Engine) -> None:
    warm_up(engine)


def test_the_fingerprint_is_the_same_for_the_same_engine() -> None:
    assert engine_fingerprint() == engine_fingerprint()
    assert re.fullmatch(r"wasmtime-[0-9.]+-[0-9a-f]{16}-\w+-[0-9a-f]{16}", engine_fingerprint())
    assert engine_fingerprint().startswith(f"{engine_of(engine_fingerprint())}-")
    assert engine_of(engine_fingerprint()).endswith(platform.machine())


@pytest.mark.parametrize("text", ["", "allow = 1", "[allow]\nread = 1"])
def test_a_policy_without_reasons_is_refused(tmp_path: Path, text: str) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text(text)
    with pytest.raises(ValueError, match="reason"):
        load_allowed_calls(policy)


def test_a_filter_allows_what_the_machine_has_and_nothing_else() -> None:
    machine = syscalls.MACHINES["x86_64"]
    program = build_filter(machine, ["read", "write", "no_such_call"])
    assert len(program) == 8 * (4 + 2 + 2)
    many = syscalls.Machine(1, {str(number): number for number in range(MAX_CALLS + 1)})
    with pytest.raises(ValueError, match="room"):
        build_filter(many, many.numbers)


def test_a_machine_without_a_jail_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "vax")
    with pytest.raises(RuntimeError, match="vax"):
        syscalls.this_machine()


def test_a_failing_call_is_an_error_with_the_kernels_number() -> None:
    with pytest.raises(OSError, match="Bad file descriptor"):
        syscalls.syscall(syscalls.this_machine().numbers["close"], -1)
    with pytest.raises(OSError, match="Invalid argument"):
        syscalls.prctl(-1, 0)


def test_a_kernel_without_landlock_has_version_0() -> None:
    absent = syscalls.Machine(0, {"landlock_create_ruleset": 100_000})
    assert landlock.landlock_version(absent) == 0
    assert landlock.deny_all(absent) == 0


def _all(end: socket.socket) -> bytes:
    data = b""
    while chunk := end.recv(1 << 20):
        data += chunk
    return data
