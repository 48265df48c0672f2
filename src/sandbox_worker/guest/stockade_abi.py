"""The host's side of the ABI `stockade:v1`; see `sdk/abi/ABI.md`."""

from wasmtime import Caller, FuncType, Linker, Memory, Module, Store, ValType

from sandbox_worker.guest.export_calls import GuestExports, check_function
from sandbox_worker.guest.faults import GuestFault, LimitHit
from sandbox_worker.guest.guest_memory import (
    caller_memory,
    check_range,
    read_bytes,
    write_bytes,
)
from sandbox_worker.guest.run_state import RunState

_MASK = 0xFFFFFFFF
_MAX_REJECTION_BYTES = 4096
_HIGHEST_LEVEL = 4


class Rejection(Exception):
    """The guest said no; `retryable` is its own word on whether trying again may help."""

    def __init__(self, message: str, *, retryable: bool) -> None:
        super().__init__(message)
        self.message = message
        self.retryable = retryable


def define_imports(linker: Linker, current: "CurrentRun") -> None:
    """Offers the host calls of `stockade:v1` to the guests of this linker."""
    i32 = ValType.i32()

    def log(caller: Caller, level: int, pointer: int, length: int) -> None:
        state = current.state
        state.count_host_call()
        if not 0 <= level <= _HIGHEST_LEVEL:
            raise GuestFault(f"log level {level} is not 0 to {_HIGHEST_LEVEL}")
        size = min(length & _MASK, state.limits.log_bytes + 1)
        state.log(level, read_bytes(caller_memory(caller), caller, pointer, size))

    linker.define_func("stockade:v1", "log", FuncType([i32, i32, i32], []), log, access_caller=True)


class CurrentRun:
    """Points the linker's host functions, which outlive runs, at the state of the one that runs."""

    state: RunState


def check_exports(module: Module) -> None:
    """Checks the types that the unchecked calls rely on.

    Raises:
        WasmtimeError: a function is missing or of another type.
    """
    check_function(module, "stockade_v1_alloc", ["i32"], ["i32"])
    check_function(module, "stockade_v1_run", ["i32", "i32"], ["i64"])


def run_guest(store: Store, exports: GuestExports, state: RunState) -> bytes:
    """Hands the input to the guest and reads its answer.

    Raises:
        Rejection: the guest's answer says no.
        GuestFault: the guest's answer is not in its memory, or not a response frame.
        LimitHit: `output`.
        wasmtime.Trap: the guest trapped.
    """
    data = state.stdin
    pointer = exports.call("stockade_v1_alloc", len(data))
    memory = exports.memory()
    write_bytes(memory, store, pointer, data)
    packed = exports.call("stockade_v1_run", pointer & _MASK, len(data))
    return _read_response(store, memory, packed, state.limits.output_bytes)


def _read_response(store: Store, memory: Memory, packed: int, output_bytes: int) -> bytes:
    pointer, length = (packed >> 32) & _MASK, packed & _MASK
    if length == 0:
        raise GuestFault("the guest's response frame is empty")
    check_range(memory, store, pointer, length)
    kind = read_bytes(memory, store, pointer, 1)
    if kind == b"\x00":
        if length - 1 > output_bytes:
            raise LimitHit("output")
        return read_bytes(memory, store, pointer, length)[1:]
    if kind == b"\x01" and length > 1:
        raise _rejection(read_bytes(memory, store, pointer, min(length, _MAX_REJECTION_BYTES)))
    raise GuestFault("the guest's response frame is malformed")


def _rejection(frame: bytes) -> Rejection:
    if frame[1] > 1:
        raise GuestFault("the guest's response frame is malformed")
    return Rejection(frame[2:].decode("utf-8", errors="replace"), retryable=frame[1] == 1)
