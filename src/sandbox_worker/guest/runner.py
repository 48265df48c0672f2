"""Runs loaded modules: a fresh store and instance for every run, everything dropped after it."""

from collections import OrderedDict
from collections.abc import Callable

from wasmtime import (
    Engine,
    InstancePre,
    Linker,
    Module,
    Store,
    Trap,
    TrapCode,
    WasmtimeError,
)

from sandbox_worker.guest import stockade_abi, wasi_preview1
from sandbox_worker.guest.deadline import RunTimer
from sandbox_worker.guest.export_calls import GuestExports, choose_exports
from sandbox_worker.guest.faults import GuestFault, LimitHit
from sandbox_worker.guest.run_state import RunState
from sandbox_worker.guest.stockade_abi import Rejection
from sandbox_worker.guest.wasi_preview1 import ProcessExit
from stockade.core.limits import Limits
from stockade.core.modules import Abi
from stockade.core.outcomes import Outcome, RunResult, Usage

MAX_LOADED_MODULES = 8
_MAX_TABLES = 8
_EXPORTS = choose_exports()
_ABIS = {Abi.STOCKADE_V1: stockade_abi, Abi.WASI_PREVIEW1: wasi_preview1}


class Runner:
    """Holds one tenant's loaded modules and runs them, one at a time, in the calling thread."""

    def __init__(self, engine: Engine, deadline: RunTimer) -> None:
        self._engine = engine
        self._deadline = deadline
        self._current = stockade_abi.CurrentRun()
        self._loaded: OrderedDict[str, tuple[InstancePre, Abi]] = OrderedDict()
        self._linkers = self._build_linkers()

    def _build_linkers(self) -> dict[Abi, Linker]:
        linkers = {abi: Linker(self._engine) for abi in Abi}
        stockade_abi.define_imports(linkers[Abi.STOCKADE_V1], self._current)
        wasi_preview1.define_imports(linkers[Abi.WASI_PREVIEW1], self._current)
        return linkers

    def load(self, digest: str, abi: Abi, artifact: bytes) -> None:
        """Takes a compiled module; the least recently run one makes room.

        Raises:
            WasmtimeError: the artifact is not of this engine, or an import cannot be satisfied.
        """
        module = Module.deserialize(self._engine, artifact)
        _ABIS[abi].check_exports(module)
        self._loaded[digest] = self._linkers[abi].instantiate_pre(module), abi
        if len(self._loaded) > MAX_LOADED_MODULES:
            self._loaded.popitem(last=False)

    def has(self, digest: str) -> bool:
        """Whether the module is loaded."""
        return digest in self._loaded

    def run(
        self, digest: str, data: bytes, limits: Limits, env: tuple[tuple[str, str], ...]
    ) -> RunResult:
        """Runs a loaded module on an input; whatever the guest does is in the result."""
        self._loaded.move_to_end(digest)
        prepared, abi = self._loaded[digest]
        state = self._current.state = RunState(data, env, limits)
        return _Run(self._engine, self._deadline, state).execute(prepared, abi)


class _Run:
    """One run: its store, and how its end is read."""

    def __init__(self, engine: Engine, deadline: RunTimer, state: RunState) -> None:
        self._deadline = deadline
        self._state = state
        self._exports: GuestExports | None = None
        limits = state.limits
        self._store = Store(engine)
        self._store.set_limits(
            memory_size=limits.memory_bytes,
            table_elements=limits.table_elements,
            instances=1,
            tables=_MAX_TABLES,
            memories=1,
        )
        self._store.set_fuel(limits.fuel)
        self._store.set_epoch_deadline(1)

    def execute(self, prepared: InstancePre, abi: Abi) -> RunResult:
        run = stockade_abi.run_guest if abi is Abi.STOCKADE_V1 else wasi_preview1.run_command
        self._deadline.arm(self._state.limits.wall_ms / 1000)
        try:
            return self._attempt(prepared, run)
        finally:
            self._deadline.disarm()

    def _attempt(
        self, prepared: InstancePre, run: Callable[[Store, GuestExports, RunState], bytes]
    ) -> RunResult:
        try:
            self._exports = _EXPORTS(self._store, prepared.instantiate(self._store))
            output = run(self._store, self._exports, self._state)
        except (Trap, WasmtimeError) as stopped:
            return self._stopped_by_engine(stopped)
        except (Rejection, ProcessExit, LimitHit, GuestFault) as stopped:
            return self._stopped_by_host(stopped)
        return self._result(Outcome.COMPLETED, output=output)

    def _stopped_by_engine(self, stopped: Trap | WasmtimeError) -> RunResult:
        return self._trapped(stopped) if isinstance(stopped, Trap) else self._refused(str(stopped))

    def _stopped_by_host(
        self, stopped: Rejection | ProcessExit | LimitHit | GuestFault
    ) -> RunResult:
        match stopped:
            case Rejection():
                return self._result(
                    Outcome.REJECTED, detail=stopped.message, retry_hint=stopped.retryable
                )
            case ProcessExit():
                detail = f"The guest exited with code {stopped.code}."
                return self._result(Outcome.REJECTED, detail=detail)
            case LimitHit():
                return self._limit_exceeded(stopped.limit)
            case GuestFault():
                detail = f"The guest broke the ABI: {stopped}."
                return self._result(Outcome.TRAPPED, detail=detail)

    def _trapped(self, trap: Trap) -> RunResult:
        code = trap.trap_code
        if code is TrapCode.OUT_OF_FUEL:
            return self._limit_exceeded("fuel")
        if code is TrapCode.INTERRUPT:
            return self._limit_exceeded("wall")
        if code is TrapCode.UNREACHABLE and self._ran_out_of_memory():
            return self._limit_exceeded("memory")
        name = code.name.lower() if code else "unknown"
        return self._result(Outcome.TRAPPED, detail=f"The guest trapped: {name}.")

    def _ran_out_of_memory(self) -> bool:
        # The engine does not say that a growth was refused. A guest that aborts while its memory
        # could not double is taken to have been refused, because allocators grow by doubling.
        return 2 * self._memory_bytes() > self._state.limits.memory_bytes

    def _refused(self, message: str) -> RunResult:
        if "memory minimum size" in message:
            return self._limit_exceeded("memory")
        if "table minimum size" in message:
            return self._limit_exceeded("table")
        return self._result(Outcome.TRAPPED, detail="The guest could not be instantiated.")

    def _limit_exceeded(self, limit: str) -> RunResult:
        return self._result(
            Outcome.LIMIT_EXCEEDED, limit=limit, detail=f"The run passed its {limit} limit."
        )

    def _result(
        self,
        outcome: Outcome,
        *,
        output: bytes = b"",
        limit: str | None = None,
        detail: str | None = None,
        retry_hint: bool = False,
    ) -> RunResult:
        state = self._state
        usage = Usage(
            fuel=state.limits.fuel - self._store.get_fuel(),
            peak_memory_bytes=self._memory_bytes(),
            input_bytes=len(state.stdin),
            output_bytes=len(output),
            log_bytes=state.log_bytes,
            host_calls=state.host_calls,
        )
        return RunResult(
            outcome,
            output,
            limit,
            detail,
            retry_hint,
            usage,
            tuple(state.logs),
            state.logs_truncated,
        )

    def _memory_bytes(self) -> int:
        if self._exports is None:
            return 0
        try:
            return self._exports.memory().data_len(self._store)
        except GuestFault:
            return 0
