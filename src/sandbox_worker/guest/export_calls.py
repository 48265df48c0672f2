"""Calls a guest's exports without the public wrappers' cost: they read its type at every call.

A type is checked once, when the module is loaded; after that the engine's unchecked call gets raw
values. Where the bindings lack what is used here, the public calls are used instead: slower, equal
in what they do.
"""

import ctypes
from typing import Protocol

from wasmtime import Func, Instance, Memory, Module, Store, Trap, WasmtimeError, _ffi, _func

from sandbox_worker.guest.faults import GuestFault

_MASK64 = 0xFFFFFFFFFFFFFFFF


def check_function(module: Module, name: str, parameters: list[str], results: list[str]) -> None:
    """Checks that the module exports a function of this type.

    Raises:
        WasmtimeError: it does not.
    """
    for export in module.exports:
        if export.name == name:
            kind = export.type
            seen = [str(value) for value in getattr(kind, "params", [])]
            given = [str(value) for value in getattr(kind, "results", [])]
            if (seen, given) == (parameters, results):
                return
    raise WasmtimeError(f"the module has no function {name} of the right type")


class GuestExports(Protocol):
    """One instance's exports, for the time of one run."""

    def memory(self) -> Memory:
        """The exported memory.

        Raises:
            GuestFault: there is none.
        """

    def call(self, name: str, *arguments: int) -> int:
        """Calls a function of i32 parameters whose type was checked; the result's raw bits, or 0.

        Raises:
            Trap: the guest trapped.
            WasmtimeError: the engine refused.
        """


class UncheckedExports:
    """`GuestExports` by the engine's unchecked calls."""

    def __init__(self, store: Store, instance: Instance) -> None:
        self._store = store
        self._context = store._context()
        self._instance = instance._instance

    def memory(self) -> Memory:
        """The exported memory."""
        found = self._find(b"memory")
        if int(found.kind) != _ffi.WASMTIME_EXTERN_MEMORY.value:
            raise GuestFault("the guest exports no memory")
        return Memory._from_raw(found.of.memory)

    def call(self, name: str, *arguments: int) -> int:
        """Calls a function of i32 parameters; the result's raw bits."""
        function = self._find(name.encode()).of.func
        values = (_ffi.wasmtime_val_raw_t * max(1, len(arguments)))()
        for value, argument in zip(values, arguments, strict=False):
            value.i32 = argument
        trap = ctypes.POINTER(_ffi.wasm_trap_t)()
        error = _ffi.wasmtime_func_call_unchecked(
            self._context, ctypes.byref(function), values, len(values), ctypes.byref(trap)
        )
        if bool(error) or bool(trap):
            stopped = WasmtimeError._from_ptr(error) if bool(error) else Trap._from_ptr(trap)
            # An exception of a host function travels beside the trap that it caused.
            _func.maybe_raise_last_exn()
            raise stopped
        return int(values[0].i64) & _MASK64

    def _find(self, name: bytes) -> "_ffi.wasmtime_extern_t":
        found = _ffi.wasmtime_extern_t()
        instance = ctypes.byref(self._instance)
        if not _ffi.wasmtime_instance_export_get(
            self._context, instance, name, len(name), ctypes.byref(found)
        ):
            raise GuestFault("an export of the guest is missing")
        return found


class PublicExports:
    """`GuestExports` by the bindings' public calls."""

    def __init__(self, store: Store, instance: Instance) -> None:
        self._store = store
        self._exports = instance.exports(store)

    def memory(self) -> Memory:
        """The exported memory."""
        memory = self._exports.get("memory")
        if not isinstance(memory, Memory):
            raise GuestFault("the guest exports no memory")
        return memory

    def call(self, name: str, *arguments: int) -> int:
        """Calls a function of i32 parameters; the result's bits."""
        function = self._exports.get(name)
        if not isinstance(function, Func):
            raise GuestFault("an export of the guest is missing")
        return int(function(self._store, *arguments) or 0) & _MASK64


_NEEDED = ("wasmtime_func_call_unchecked", "wasmtime_instance_export_get", "wasmtime_val_raw_t")


def choose_exports() -> type[UncheckedExports] | type[PublicExports]:
    """The fast calls, where the bindings have all that they use."""
    has_all = all(hasattr(_ffi, name) for name in _NEEDED)
    return UncheckedExports if has_all and hasattr(_func, "maybe_raise_last_exn") else PublicExports
