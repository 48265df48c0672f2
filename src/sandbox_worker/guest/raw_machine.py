"""`Machine` by the engine's C functions, called with raw values and buffers that are made once.

The bindings' classes read a function's type at every call and make half a dozen objects for each
instance. Types are checked here when a module is loaded; after that a call is one C call. The
function objects are our own (`dll[name]`), because the bindings' carry conversions.
"""

import ctypes
from collections.abc import Callable
from ctypes import addressof, byref, c_bool, c_int64, c_size_t, c_uint64, c_void_p, cast
from typing import Any

from wasmtime import Engine, InstancePre, Linker, Module, Trap, WasmtimeError, _ffi

from sandbox_worker.guest.faults import GuestFault
from sandbox_worker.guest.guest_memory import GuestMemory
from sandbox_worker.guest.machine import MAX_TABLES, HostFunction, Prepared, function_type
from stockade.core.limits import Limits

_MASK32, _MASK64 = 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF
_RANGES = {"i": (-(1 << 31), 1 << 32), "l": (-(1 << 63), 1 << 64), "": (0, 1)}
_WORDS = ctypes.sizeof(_ffi.wasmtime_val_raw_t) // 8
"""A raw value's room in 64-bit words; the lowest holds an integer."""
_OUT_OF_RANGE = "a host function's result is out of its type's range"


def _bind(name: str, result: Any, *arguments: Any) -> Callable[..., Any]:  # noqa: ANN401 (C types)
    function = _ffi.dll[name]
    function.restype, function.argtypes = result, arguments
    return function


_store_new = _bind("wasmtime_store_new", c_void_p, c_void_p, c_void_p, c_void_p)
_store_delete = _bind("wasmtime_store_delete", None, c_void_p)
_store_context = _bind("wasmtime_store_context", c_void_p, c_void_p)
_store_limiter = _bind("wasmtime_store_limiter", None, c_void_p, *(c_int64,) * 5)
_set_fuel = _bind("wasmtime_context_set_fuel", c_void_p, c_void_p, c_uint64)
_get_fuel = _bind("wasmtime_context_get_fuel", c_void_p, c_void_p, c_void_p)
_set_epoch_deadline = _bind("wasmtime_context_set_epoch_deadline", None, c_void_p, c_uint64)
_instantiate = _bind("wasmtime_instance_pre_instantiate", c_void_p, *(c_void_p,) * 4)
_find_export = _bind(
    "wasmtime_instance_export_get", c_bool, c_void_p, c_void_p, c_void_p, c_size_t, c_void_p
)
_call_unchecked = _bind(
    "wasmtime_func_call_unchecked", c_void_p, c_void_p, c_void_p, c_void_p, c_size_t, c_void_p
)
_memory_data = _bind("wasmtime_memory_data", c_void_p, c_void_p, c_void_p)
_memory_size = _bind("wasmtime_memory_data_size", c_size_t, c_void_p, c_void_p)
_caller_context = _bind("wasmtime_caller_context", c_void_p, c_void_p)
_find_callers_export = _bind(
    "wasmtime_caller_export_get", c_bool, c_void_p, c_void_p, c_size_t, c_void_p
)
_define = _bind(
    "wasmtime_linker_define_func_unchecked",
    c_void_p,
    *(c_void_p, c_void_p, c_size_t, c_void_p, c_size_t, c_void_p, c_void_p, c_void_p, c_void_p),
)
_trap_new = _bind("wasmtime_trap_new", c_void_p, c_void_p, c_size_t)
_HostCallback = ctypes.CFUNCTYPE(c_size_t, c_void_p, c_void_p, c_void_p, c_size_t)
_FUNCTION, _MEMORY = _ffi.WASMTIME_EXTERN_FUNC.value, _ffi.WASMTIME_EXTERN_MEMORY.value
_EXTERN_BODY = _ffi.wasmtime_extern_t.of.offset


class _Export:
    """Room for one export's handle, found anew in every instance."""

    __slots__ = ("_extern", "body", "pointer")

    def __init__(self) -> None:
        self._extern = _ffi.wasmtime_extern_t()
        self.pointer = addressof(self._extern)
        self.body = self.pointer + _EXTERN_BODY

    @property
    def kind(self) -> int:
        return int(self._extern.kind)


class _Arguments:
    """Room for the values and the trap of one call."""

    __slots__ = ("count", "trap", "trap_pointer", "values")

    def __init__(self, count: int) -> None:
        self.count = count
        self.values = (c_int64 * (_WORDS * count))()
        self.trap = c_void_p()
        self.trap_pointer = byref(self.trap)


class _RawPrepared:
    """An `InstancePre` and its address."""

    __slots__ = ("address", "owner")

    def __init__(self, owner: InstancePre) -> None:
        self.owner = owner
        self.address = _address(owner.ptr())


class _RawCaller:
    """`HostCaller` by the engine's handle, which is valid during the call only."""

    __slots__ = ("_caller", "_context", "_stop")

    def __init__(self, caller: int, stop: Callable[[int | None, _Arguments], None]) -> None:
        self._caller = caller
        self._context = _caller_context(caller)
        self._stop = stop

    def memory(self) -> GuestMemory:
        found = self._find(b"memory", _MEMORY, "the guest exports no memory")
        return _guest_memory(self._context, found)

    def allocate(self, size: int) -> int:
        found = self._find(b"stockade_v1_alloc", _FUNCTION, "the guest has no stockade_v1_alloc")
        room = _Arguments(1)
        room.values[0] = size
        error = _call_unchecked(
            self._context, found.body, room.values, room.count, room.trap_pointer
        )
        if error or room.trap.value:
            self._stop(error, room)
        return room.values[0] & _MASK32

    def fuel_left(self) -> int:
        return _fuel(self._context)

    def _find(self, name: bytes, kind: int, absent: str) -> _Export:
        found = _Export()
        there = _find_callers_export(self._caller, name, len(name), found.pointer)
        if not there or found.kind != kind:
            raise GuestFault(absent)
        return found


class RawMachine:
    """See `Machine`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._engine_address = _address(engine.ptr())
        self._linkers: dict[str, Linker] = {}
        self._callbacks: list[object] = []
        self._raised: BaseException | None = None
        self._in_host_call = False
        self._store: int | None = None
        self._context: int = 0
        self._instance = _ffi.wasmtime_instance_t()
        self._instance_pointer = addressof(self._instance)
        self._has_instance = False
        self._function, self._memory = _Export(), _Export()
        self._room = _Arguments(2)

    def define(self, abi: str, module: str, name: str, type_text: str, call: HostFunction) -> None:
        """Offers a host function to the modules of an ABI."""
        linker = self._linkers.setdefault(abi, Linker(self._engine))
        callback = _HostCallback(self._host_callback(type_text, call))
        self._callbacks.append(callback)
        spaced, named, kind = module.encode(), name.encode(), function_type(type_text)
        error = _define(
            _address(linker.ptr()), spaced, len(spaced), named, len(named),
            _address(kind.ptr()), cast(callback, c_void_p), None, None,
        )  # fmt: skip
        _check(error, None)

    def prepare(self, abi: str, module: Module) -> Prepared:
        """Resolves a module's imports."""
        return _RawPrepared(self._linkers[abi].instantiate_pre(module))

    def begin(self, limits: Limits) -> None:
        """A fresh store under these limits."""
        self.end()
        self._raised = None
        self._store = _store_new(self._engine_address, None, None)
        self._context = _store_context(self._store)
        _store_limiter(self._store, limits.memory_bytes, limits.table_elements, 1, MAX_TABLES, 1)
        _check(_set_fuel(self._context, limits.fuel), None)
        _set_epoch_deadline(self._context, 1)

    def instantiate(self, prepared: Prepared) -> None:
        """Makes the store's one instance."""
        if not isinstance(prepared, _RawPrepared):
            raise TypeError("prepared by another machine")
        room = self._room
        error = _instantiate(
            prepared.address, self._context, self._instance_pointer, room.trap_pointer
        )
        if error or room.trap.value:
            self._stop(error, room)
        self._has_instance = True

    def call(self, name: str, *arguments: int) -> int:
        """Calls a function of i32 parameters; the result's bits."""
        found = self._find(self._function, name.encode(), _FUNCTION, "an export is missing")
        room = self._room
        for index, argument in enumerate(arguments):
            room.values[_WORDS * index] = argument & _MASK32
        error = _call_unchecked(
            self._context, found.body, room.values, room.count, room.trap_pointer
        )
        if error or room.trap.value:
            self._stop(error, room)
        return room.values[0] & _MASK64

    def memory(self) -> GuestMemory:
        """The instance's exported memory."""
        found = self._find(self._memory, b"memory", _MEMORY, "the guest exports no memory")
        return _guest_memory(self._context, found)

    def fuel_left(self) -> int:
        """What is left of the fuel."""
        return _fuel(self._context)

    def end(self) -> None:
        """Drops the store and all that is in it."""
        store, self._store = self._store, None
        self._has_instance = False
        if store is not None:
            _store_delete(store)

    def _find(self, room: _Export, name: bytes, kind: int, absent: str) -> _Export:
        there = self._has_instance and _find_export(
            self._context, self._instance_pointer, name, len(name), room.pointer
        )
        if not there or room.kind != kind:
            raise GuestFault(absent)
        return room

    def _stop(self, error: int | None, room: _Arguments) -> None:
        # An exception of a host function travels beside the trap that it caused.
        raised, self._raised = self._raised, None
        try:
            _check(error, room)
        except (Trap, WasmtimeError):
            if raised is not None:
                raise raised from None
            raise

    def _enter(self, call: HostFunction, caller: int, arguments: list[int]) -> int:
        if self._in_host_call:
            raise GuestFault("a host call may not be made within another")
        self._in_host_call = True
        try:
            return call(_RawCaller(caller, self._stop), *arguments) or 0
        finally:
            self._in_host_call = False

    def _host_callback(self, type_text: str, call: HostFunction) -> Callable[..., int]:
        parameters, results = type_text.split(">")
        masks = [(index * _WORDS, letter == "i") for index, letter in enumerate(parameters)]
        low, high = _RANGES[results]

        def enter(_environment: object, caller: int, values: int, _count: int) -> int:
            try:
                words = (c_int64 * (_WORDS * max(1, len(masks)))).from_address(values)
                arguments = [_signed(words[at]) if i32 else words[at] for at, i32 in masks]
                result = self._enter(call, caller, arguments)
                if not low <= result < high:
                    raise ValueError(_OUT_OF_RANGE)  # noqa: TRY301 (as any failure of a call)
                if results:
                    words[0] = result
            except BaseException as raised:  # noqa: BLE001 (must not unwind through the engine)
                self._raised = raised
                return int(_trap_new(b"host", 4))
            return 0

        return enter


def _signed(word: int) -> int:
    low = word & _MASK32
    return low - (1 << 32) if low >> 31 else low


def _address(pointer: object) -> int:
    return cast(pointer, c_void_p).value or 0  # type: ignore[arg-type] # any pointer of the bindings


def _guest_memory(context: int, found: _Export) -> GuestMemory:
    # The handle's room must live as long as the memory is looked at.
    return GuestMemory(
        lambda: (_memory_data(context, found.body) or 0, _memory_size(context, found.body))
    )


def _fuel(context: int) -> int:
    left = c_uint64()
    _check(_get_fuel(context, byref(left)), None)
    return left.value


def _check(error: int | None, room: _Arguments | None) -> None:
    """Raises what the engine answered, which then belongs to the exception."""
    trap = room.trap.value if room else None
    if room:
        room.trap.value = None
    if error:
        raise WasmtimeError._from_ptr(cast(error, ctypes.POINTER(_ffi.wasmtime_error_t)))
    if trap:
        raise Trap._from_ptr(cast(trap, ctypes.POINTER(_ffi.wasm_trap_t)))
