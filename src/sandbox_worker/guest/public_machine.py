"""`Machine` by the bindings' public classes: slower, and there for any version of them."""

import ctypes

from wasmtime import (
    Caller,
    Engine,
    Func,
    Instance,
    InstancePre,
    Linker,
    Memory,
    Module,
    Store,
)

from sandbox_worker.guest.faults import GuestFault
from sandbox_worker.guest.guest_memory import GuestMemory
from sandbox_worker.guest.machine import MAX_TABLES, HostFunction, Prepared, function_type
from stockade.core.limits import Limits

_MASK64 = 0xFFFFFFFFFFFFFFFF


class _Caller:
    """`HostCaller` by the bindings' own."""

    def __init__(self, caller: Caller, store: Store) -> None:
        self._caller = caller
        self._store = store

    def memory(self) -> GuestMemory:
        return _memory(self._caller.get("memory"), self._caller)

    def allocate(self, size: int) -> int:
        function = self._caller.get("stockade_v1_alloc")
        if not isinstance(function, Func):
            raise GuestFault("the guest has no stockade_v1_alloc")
        return int(function(self._caller, size))

    def fuel_left(self) -> int:
        return self._store.get_fuel()


class PublicMachine:
    """See `Machine`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._linkers: dict[str, Linker] = {}
        self._store = Store(engine)
        self._instance: Instance | None = None
        self._in_host_call = False

    def define(self, abi: str, module: str, name: str, type_text: str, call: HostFunction) -> None:
        """Offers a host function to the modules of an ABI."""

        def enter(caller: Caller, *arguments: int) -> int | None:
            if self._in_host_call:
                raise GuestFault("a host call may not be made within another")
            self._in_host_call = True
            try:
                return call(_Caller(caller, self._store), *arguments)
            finally:
                self._in_host_call = False

        linker = self._linkers.setdefault(abi, Linker(self._engine))
        linker.define_func(module, name, function_type(type_text), enter, access_caller=True)

    def prepare(self, abi: str, module: Module) -> Prepared:
        """Resolves a module's imports."""
        return self._linkers[abi].instantiate_pre(module)

    def begin(self, limits: Limits) -> None:
        """A fresh store under these limits."""
        self._store = Store(self._engine)
        self._store.set_limits(
            memory_size=limits.memory_bytes,
            table_elements=limits.table_elements,
            instances=1,
            tables=MAX_TABLES,
            memories=1,
        )
        self._store.set_fuel(limits.fuel)
        self._store.set_epoch_deadline(1)

    def instantiate(self, prepared: Prepared) -> None:
        """Makes the store's one instance."""
        if not isinstance(prepared, InstancePre):
            raise TypeError("prepared by another machine")
        self._instance = prepared.instantiate(self._store)

    def call(self, name: str, *arguments: int) -> int:
        """Calls a function of i32 parameters; the result's bits."""
        function = self._exported(name)
        if not isinstance(function, Func):
            raise GuestFault("an export of the guest is missing")
        return int(function(self._store, *arguments) or 0) & _MASK64

    def memory(self) -> GuestMemory:
        """The instance's exported memory."""
        return _memory(self._exported("memory"), self._store)

    def fuel_left(self) -> int:
        """What is left of the fuel."""
        return self._store.get_fuel()

    def end(self) -> None:
        """Drops the store and all that is in it."""
        self._instance = None
        self._store.close()

    def _exported(self, name: str) -> object:
        if self._instance is None:
            return None
        return self._instance.exports(self._store).get(name)


def _memory(memory: object, store: Store | Caller) -> GuestMemory:
    if not isinstance(memory, Memory):
        raise GuestFault("the guest exports no memory")

    def locate() -> tuple[int, int]:
        address = ctypes.cast(memory.data_ptr(store), ctypes.c_void_p).value or 0
        return address, memory.data_len(store)

    return GuestMemory(locate)
