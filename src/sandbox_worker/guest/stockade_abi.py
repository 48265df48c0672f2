"""The host's side of the ABI `stockade:v1`; see `sdk/abi/ABI.md`."""

from wasmtime import Module

from sandbox_worker.guest.faults import GuestFault, LimitHit
from sandbox_worker.guest.guest_memory import GuestMemory, Window
from sandbox_worker.guest.host_calls import CurrentRun, HostCalls
from sandbox_worker.guest.machine import Machine, check_function
from sandbox_worker.guest.run_state import RunState
from sandbox_worker.guest.shared_file import SharedFile, goes_shared
from stockade.core.host_functions import OFFERED, STOCKADE_MODULE
from stockade.core.modules import Abi

_MASK = 0xFFFFFFFF
_MAX_REJECTION_BYTES = 4096


class Rejection(Exception):
    """The guest said no; `retryable` is its own word on whether trying again may help."""

    def __init__(self, message: str, *, retryable: bool) -> None:
        super().__init__(message)
        self.message = message
        self.retryable = retryable


def define_imports(machine: Machine, current: CurrentRun) -> None:
    """Offers the host calls of `stockade:v1` to the guests of this machine."""
    calls = HostCalls(current)
    for name, type_text in OFFERED.items():
        machine.define(Abi.STOCKADE_V1, STOCKADE_MODULE, name, type_text, calls.counted(name))


def check_exports(module: Module) -> None:
    """Checks the types that the calls rely on.

    Raises:
        WasmtimeError: a function is missing or of another type.
    """
    check_function(module, "stockade_v1_alloc", "i>i")
    check_function(module, "stockade_v1_run", "ii>l")


def run_guest(
    machine: Machine, state: RunState, shared: SharedFile | None, shared_bytes: int
) -> bytes | Window:
    """Hands the input to the guest and reads its answer.

    A large answer is a window into the guest's memory, to be copied before the instance ends.

    Raises:
        Rejection: the guest's answer says no.
        GuestFault: the guest's answer is not in its memory, or not a response frame.
        LimitHit: `output`.
        wasmtime.Trap: the guest trapped.
    """
    size = shared_bytes or len(state.stdin)
    pointer = machine.call("stockade_v1_alloc", size)
    memory = machine.memory()
    if shared_bytes and shared:
        shared.read_into(memory.window(pointer, size))
    else:
        memory.write(pointer, state.stdin)
    packed = machine.call("stockade_v1_run", pointer, size)
    return _read_response(memory, packed, state.limits.output_bytes)


def _read_response(memory: GuestMemory, packed: int, output_bytes: int) -> bytes | Window:
    pointer, length = (packed >> 32) & _MASK, packed & _MASK
    if length == 0:
        raise GuestFault("the guest's response frame is empty")
    memory.check(pointer, length)
    kind = memory.read(pointer, 1)
    if kind == b"\x00":
        if length - 1 > output_bytes:
            raise LimitHit("output")
        read = memory.window if goes_shared(length - 1) else memory.read
        return read(pointer + 1, length - 1)
    if kind == b"\x01" and length > 1:
        raise _rejection(memory.read(pointer, min(length, _MAX_REJECTION_BYTES)))
    raise GuestFault("the guest's response frame is malformed")


def _rejection(frame: bytes) -> Rejection:
    if frame[1] > 1:
        raise GuestFault("the guest's response frame is malformed")
    return Rejection(frame[2:].decode("utf-8", errors="replace"), retryable=frame[1] == 1)
