"""What the sandbox asks of the engine, however the calls are made.

`RawMachine` calls the engine's C functions with raw values; `PublicMachine` uses the bindings'
public classes. They do the same; `choose_machine` takes the fast one where the bindings have all
that it needs.
"""

from collections.abc import Callable
from typing import Protocol

from wasmtime import Engine, FuncType, Module, ValType, WasmtimeError

from sandbox_worker.guest.guest_memory import GuestMemory
from stockade.core.limits import Limits

MAX_TABLES = 8
_VALUE_TYPES = {"i": ValType.i32, "l": ValType.i64}


class Prepared(Protocol):
    """A loaded module with its imports resolved, ready to be instantiated."""


class HostCaller(Protocol):
    """The guest that calls a host function, for the time of the call."""

    def memory(self) -> GuestMemory:
        """Its exported memory.

        Raises:
            GuestFault: there is none.
        """

    def allocate(self, size: int) -> int:
        """Asks the guest's `stockade_v1_alloc` for room; the pointer may lie.

        Raises:
            GuestFault: the guest has no such function.
            Trap: it trapped.
        """

    def fuel_left(self) -> int:
        """What the run has left of its fuel."""


HostFunction = Callable[..., int | None]
"""Gets a `HostCaller`, then the arguments; integers are signed."""


class Machine(Protocol):
    """One engine's imports and its one running instance at a time."""

    def define(self, abi: str, module: str, name: str, type_text: str, call: HostFunction) -> None:
        """Offers a host function to the modules of an ABI."""

    def prepare(self, abi: str, module: Module) -> Prepared:
        """Resolves a module's imports.

        Raises:
            WasmtimeError: one is missing or of another type.
        """

    def begin(self, limits: Limits) -> None:
        """A fresh store under these limits, whose epoch deadline is the next tick."""

    def instantiate(self, prepared: Prepared) -> None:
        """Makes the store's one instance, its start function included.

        Raises:
            Trap: the start function trapped.
            WasmtimeError: the store's limits refuse the instance.
        """

    def call(self, name: str, *arguments: int) -> int:
        """Calls a function of i32 parameters whose type was checked; the result's bits, or 0.

        Raises:
            Trap: the guest trapped.
            WasmtimeError: the engine refused.
            GuestFault: there is no such function.
        """

    def memory(self) -> GuestMemory:
        """The instance's exported memory.

        Raises:
            GuestFault: there is none, or no instance.
        """

    def fuel_left(self) -> int:
        """What is left of the fuel."""

    def end(self) -> None:
        """Drops the store and all that is in it; safe to call twice."""


def check_function(module: Module, name: str, type_text: str) -> None:
    """Checks that the module exports a function of this type.

    Raises:
        WasmtimeError: it does not.
    """
    for export in module.exports:
        if export.name == name:
            kind = export.type
            seen = [str(value) for value in getattr(kind, "params", [])]
            given = [str(value) for value in getattr(kind, "results", [])]
            expected = function_type(type_text)
            if (seen, given) == (_names(expected.params), _names(expected.results)):
                return
    raise WasmtimeError(f"the module has no function {name} of the right type")


def function_type(text: str) -> FuncType:
    """The engine's type for a text such as `iil>i`: `i` is i32 and `l` is i64."""
    parameters, results = text.split(">")
    return FuncType(
        [_VALUE_TYPES[letter]() for letter in parameters],
        [_VALUE_TYPES[letter]() for letter in results],
    )


def _names(types: list[ValType]) -> list[str]:
    return [str(value) for value in types]


def choose_machine() -> Callable[[Engine], Machine]:
    """The fast machine, where the bindings have all that it uses."""
    from sandbox_worker.guest.public_machine import PublicMachine  # noqa: PLC0415

    try:
        from sandbox_worker.guest.raw_machine import RawMachine  # noqa: PLC0415
    except (AttributeError, ImportError):
        return PublicMachine
    return RawMachine
