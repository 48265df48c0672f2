"""WASI preview 1 for commands that compute: standard streams, clocks, randomness, exit.

There is no file, directory or socket behind it: those calls answer BADF or NOTCAPABLE. The engine's
own implementation starts threads of a runtime, which the jail forbids, and knows neither byte
bounds nor the run's deadline. Types and numbers follow the WASI preview 1 witx files.
"""

import time
from collections.abc import Callable

from wasmtime import Module

from sandbox_worker.guest.faults import GuestFault
from sandbox_worker.guest.host_calls import CurrentRun
from sandbox_worker.guest.machine import HostCaller, Machine, check_function
from sandbox_worker.guest.run_state import RunState
from stockade.core.host_functions import WASI, WASI_MODULE
from stockade.core.modules import Abi

_SUCCESS, _BADF, _INVAL, _NOTCAPABLE = 0, 8, 28, 76
_STDIN, _STDOUT, _STDERR = 0, 1, 2
_CHARACTER_DEVICE = 2
_MAX_IOVECS = 1024
_MAX_RANDOM_BYTES = 1 << 20
_ERROR_LEVEL = 4
_SUBSCRIPTION_BYTES, _EVENT_BYTES = 48, 32
_MAX_SUBSCRIPTIONS = 64
_CLOCKS = {0: time.CLOCK_REALTIME, 1: time.CLOCK_MONOTONIC}
_ARGUMENTS = (b"task",)
_LONGEST_SLEEP_SECONDS = 1e6
_MASK64 = (1 << 64) - 1


class ProcessExit(Exception):
    """The guest called `proc_exit`; `code` 0 is success."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def check_exports(module: Module) -> None:
    """Checks the types that the unchecked calls rely on.

    Raises:
        WasmtimeError: `_start` is missing or of another type.
    """
    check_function(module, "_start", ">")


def run_command(machine: Machine, state: RunState) -> bytes:
    """Runs `_start` and returns what the guest wrote to standard output.

    Raises:
        ProcessExit: with a code other than 0.
        LimitHit: `output` or `host_calls`.
        wasmtime.Trap: the guest trapped.
    """
    try:
        machine.call("_start")
    except ProcessExit as ended:
        if ended.code:
            raise
    finally:
        state.flush_stderr(_ERROR_LEVEL)
    return b"".join(state.stdout)


def define_imports(machine: Machine, current: CurrentRun) -> None:
    """Offers all of preview 1 to the guests of this machine; what does not compute refuses."""
    calls = _Calls(current)
    for name, type_text in WASI.items():
        implementation = getattr(calls, name, None) or _refusal(name)
        counted = calls.counted(implementation)
        machine.define(Abi.WASI_PREVIEW1, WASI_MODULE, name, type_text, counted)


def _refusal(name: str) -> Callable[..., int]:
    code = _BADF if name.startswith("fd_") else _NOTCAPABLE

    def refuse(_caller: HostCaller, *_arguments: int) -> int:
        return code

    return refuse


class _Calls:
    """One method for each call that does something, named as in preview 1."""

    def __init__(self, current: CurrentRun) -> None:
        self._current = current

    def counted(self, call: Callable[..., int | None]) -> Callable[..., int | None]:
        def count(caller: HostCaller, *arguments: int) -> int | None:
            self._current.state.count_host_call()
            return call(caller, *arguments)

        return count

    def args_sizes_get(self, caller: HostCaller, count: int, size: int) -> int:
        return _put_sizes(caller, count, size, _ARGUMENTS)

    def args_get(self, caller: HostCaller, pointers: int, buffer: int) -> int:
        return _put_strings(caller, pointers, buffer, _ARGUMENTS)

    def environ_sizes_get(self, caller: HostCaller, count: int, size: int) -> int:
        return _put_sizes(caller, count, size, self._environment())

    def environ_get(self, caller: HostCaller, pointers: int, buffer: int) -> int:
        return _put_strings(caller, pointers, buffer, self._environment())

    def clock_res_get(self, caller: HostCaller, clock: int, result: int) -> int:
        return (
            self.clock_time_get(caller, clock, 0, result)
            if clock not in _CLOCKS
            else _put_u64(caller, result, 1)
        )

    def clock_time_get(self, caller: HostCaller, clock: int, _precision: int, result: int) -> int:
        if clock not in _CLOCKS:
            return _INVAL
        state = self._current.state
        now_ns = state.time_ns("clock_time_get", _CLOCKS[clock], caller.fuel_left())
        return _put_u64(caller, result, now_ns & _MASK64)

    def random_get(self, caller: HostCaller, buffer: int, length: int) -> int:
        if not 0 <= length <= _MAX_RANDOM_BYTES:
            return _INVAL
        caller.memory().write(buffer, self._current.state.random("random_get", length))
        return _SUCCESS

    def sched_yield(self, _caller: HostCaller) -> int:
        return _SUCCESS

    def proc_exit(self, _caller: HostCaller, code: int) -> None:
        raise ProcessExit(code)

    def fd_close(self, _caller: HostCaller, descriptor: int) -> int:
        return _SUCCESS if descriptor <= _STDERR else _BADF

    def fd_fdstat_get(self, caller: HostCaller, descriptor: int, result: int) -> int:
        if not _STDIN <= descriptor <= _STDERR:
            return _BADF
        caller.memory().write(result, bytes([_CHARACTER_DEVICE]) + bytes(23))
        return _SUCCESS

    def fd_filestat_get(self, caller: HostCaller, descriptor: int, result: int) -> int:
        if not _STDIN <= descriptor <= _STDERR:
            return _BADF
        stat = bytes(16) + bytes([_CHARACTER_DEVICE]) + bytes(47)
        caller.memory().write(result, stat)
        return _SUCCESS

    def fd_read(
        self, caller: HostCaller, descriptor: int, vectors: int, count: int, result: int
    ) -> int:
        if descriptor != _STDIN:
            return _BADF
        memory, total = caller.memory(), 0
        for pointer, length in _read_vectors(caller, vectors, count):
            chunk = self._current.state.read_stdin(length)
            memory.write(pointer, chunk)
            total += len(chunk)
            if len(chunk) < length:
                break
        return _put_u32(caller, result, total)

    def fd_write(
        self, caller: HostCaller, descriptor: int, vectors: int, count: int, result: int
    ) -> int:
        if descriptor not in {_STDOUT, _STDERR}:
            return _BADF
        state, memory, total = self._current.state, caller.memory(), 0
        for pointer, length in _read_vectors(caller, vectors, count):
            if descriptor == _STDOUT:
                state.write_stdout(memory.read(pointer, length))
            elif not state.logs_truncated:
                state.write_stderr(_ERROR_LEVEL, memory.read(pointer, length))
                self._current.timer.tell_soon()
            total += length
        return _put_u32(caller, result, total & 0xFFFFFFFF)

    def poll_oneoff(
        self, caller: HostCaller, inputs: int, events: int, count: int, result: int
    ) -> int:
        if not 0 < count <= _MAX_SUBSCRIPTIONS:
            return _INVAL
        memory = caller.memory()
        raw = memory.read(inputs, count * _SUBSCRIPTION_BYTES)
        slots = [
            raw[at : at + _SUBSCRIPTION_BYTES] for at in range(0, len(raw), _SUBSCRIPTION_BYTES)
        ]
        ready = self._current.state.wait(
            "poll_oneoff", raw, lambda: b"".join(self._wait_for_first(caller, slots))
        )
        memory.write(events, ready)
        return _put_u32(caller, result, len(ready) // _EVENT_BYTES)

    def _wait_for_first(self, caller: HostCaller, slots: list[bytes]) -> list[bytes]:
        """Events for what is ready now, else for the shortest clock. Long sleeps are killed."""
        ready = [_event(slot) for slot in slots if slot[8] != 0]
        if ready:
            return ready
        waits = [(self._sleep_seconds(caller, slot), slot) for slot in slots]
        seconds, slot = min(waits, key=lambda wait: wait[0])
        time.sleep(seconds)
        self._current.state.clock.catch_up(caller.fuel_left())
        return [_event(slot)]

    def _sleep_seconds(self, caller: HostCaller, slot: bytes) -> float:
        clock = int.from_bytes(slot[16:20], "little")
        nanoseconds = int.from_bytes(slot[24:32], "little")
        absolute = slot[40] & 1
        if absolute and clock in _CLOCKS:
            now_ns = self._current.state.clock.now_ns(_CLOCKS[clock], caller.fuel_left())
            nanoseconds = max(0, nanoseconds - now_ns)
        return min(nanoseconds / 1e9, _LONGEST_SLEEP_SECONDS)

    def _environment(self) -> tuple[bytes, ...]:
        return tuple(f"{name}={value}".encode() for name, value in self._current.state.env)


def _event(slot: bytes) -> bytes:
    return slot[:8] + bytes(2) + slot[8:9] + bytes(_EVENT_BYTES - 11)


def _read_vectors(caller: HostCaller, vectors: int, count: int) -> list[tuple[int, int]]:
    if not 0 <= count <= _MAX_IOVECS:
        raise GuestFault(f"{count} buffers in one call are more than {_MAX_IOVECS}")
    raw = caller.memory().read(vectors, count * 8)
    words = [int.from_bytes(raw[at : at + 4], "little") for at in range(0, len(raw), 4)]
    return list(zip(words[::2], words[1::2], strict=True))


def _put_sizes(caller: HostCaller, count: int, size: int, strings: tuple[bytes, ...]) -> int:
    _put_u32(caller, count, len(strings))
    return _put_u32(caller, size, sum(len(string) + 1 for string in strings))


def _put_strings(caller: HostCaller, pointers: int, buffer: int, strings: tuple[bytes, ...]) -> int:
    memory = caller.memory()
    for index, string in enumerate(strings):
        _put_u32(caller, pointers + 4 * index, buffer & 0xFFFFFFFF)
        memory.write(buffer, string + b"\0")
        buffer += len(string) + 1
    return _SUCCESS


def _put_u32(caller: HostCaller, pointer: int, value: int) -> int:
    caller.memory().write(pointer, value.to_bytes(4, "little"))
    return _SUCCESS


def _put_u64(caller: HostCaller, pointer: int, value: int) -> int:
    caller.memory().write(pointer, value.to_bytes(8, "little"))
    return _SUCCESS
