"""Runs loaded modules: a fresh store and instance for every run, everything dropped after it."""

import errno
import os
from collections import OrderedDict
from collections.abc import Callable

from wasmtime import Engine, Module, Trap, TrapCode, WasmtimeError

from sandbox_worker.guest import stockade_abi, wasi_preview1
from sandbox_worker.guest.deadline import RunTimer
from sandbox_worker.guest.faults import GuestFault, LimitHit
from sandbox_worker.guest.frames import Note, Ran, Run
from sandbox_worker.guest.guest_memory import Window
from sandbox_worker.guest.host_calls import CurrentRun
from sandbox_worker.guest.machine import Machine, Prepared, choose_machine
from sandbox_worker.guest.run_state import RunState
from sandbox_worker.guest.shared_file import SharedFile, goes_shared
from sandbox_worker.guest.stockade_abi import Rejection
from sandbox_worker.guest.varying import AskSupervisor, Noting, Replayed, Varying
from sandbox_worker.guest.wasi_preview1 import ProcessExit
from stockade.core.modules import Abi
from stockade.core.outcomes import Event, LogLine, Outcome

MAX_LOADED_MODULES = 8
_ABIS = {Abi.STOCKADE_V1: stockade_abi, Abi.WASI_PREVIEW1: wasi_preview1}


class Runner:
    """Holds one tenant's loaded modules and runs them, one at a time, in the calling thread.

    It is made once, in the zygote; an executor that was forked from there says by `attach` what
    is its own.

    Args:
        engine: Where modules and instances live.
        make_machine: How the engine is called; the fastest way that the bindings allow.
    """

    def __init__(
        self, engine: Engine, make_machine: Callable[[Engine], Machine] | None = None
    ) -> None:
        self.engine = engine
        self.shared: SharedFile | None = None
        self._current = CurrentRun()
        self._machine: Machine = (make_machine or choose_machine())(engine)
        self._loaded: OrderedDict[str, tuple[Prepared, Abi]] = OrderedDict()
        stockade_abi.define_imports(self._machine, self._current)
        wasi_preview1.define_imports(self._machine, self._current)

    def attach(self, deadline: RunTimer, ask: AskSupervisor) -> None:
        """Takes what stops a guest at its wall limit, and who answers its calls to the outside."""
        self._current.timer = deadline
        self._current.ask = ask

    def load(self, digest: str, abi: Abi, artifact: bytes) -> None:
        """Takes a compiled module; the least recently run one makes room.

        Raises:
            WasmtimeError: the artifact is not of this engine, or an import cannot be satisfied.
        """
        module = Module.deserialize(self.engine, artifact)
        _ABIS[abi].check_exports(module)
        self._loaded[digest] = self._machine.prepare(abi, module), abi
        if len(self._loaded) > MAX_LOADED_MODULES:
            self._loaded.popitem(last=False)

    def unload(self, digest: str) -> None:
        """Drops a module."""
        del self._loaded[digest]

    def take_said(self) -> tuple[tuple[LogLine, ...], tuple[Event, ...]]:
        """What the guest that runs has said since this was last called."""
        return self._current.state.take_said()

    def has(self, digest: str) -> bool:
        """Whether the module is loaded."""
        return digest in self._loaded

    def run(self, command: Run) -> Ran:
        """Runs a loaded module on an input; whatever the guest does is in the answer."""
        self._loaded.move_to_end(command.digest)
        prepared, abi = self._loaded[command.digest]
        timer = self._current.timer
        run = _Run(self._machine, command, self.shared, timer)
        self._current.state = run.state
        if command.replays:
            run.state.varying = Replayed(self._current.ask)
        elif command.note_bytes:
            run.state.varying = Noting(command.note_bytes)
        try:
            return run.execute(prepared, abi)
        finally:
            self._machine.end()


class _Run:
    """One run, and how its end is read."""

    def __init__(
        self, machine: Machine, command: Run, shared: SharedFile | None, timer: RunTimer
    ) -> None:
        self.state = RunState(command.data, command.env, command.limits)
        self._machine = machine
        self._shared = shared
        self._shared_bytes = command.shared_bytes
        self._timer = timer

    def execute(self, prepared: Prepared, abi: Abi) -> Ran:
        try:
            self._machine.begin(self.state.limits)
            # An alarm before the store counts epochs would be for nobody.
            self._timer.arm(self.state.limits.wall_ms / 1000)
            self._machine.instantiate(prepared)
            return self._completed(self._call(abi))
        except (Trap, WasmtimeError) as stopped:
            return self._stopped_by_engine(stopped)
        except (Rejection, ProcessExit, LimitHit, GuestFault) as stopped:
            return self._stopped_by_host(stopped)

    def _call(self, abi: Abi) -> bytes | Window:
        if abi is Abi.STOCKADE_V1:
            return stockade_abi.run_guest(
                self._machine, self.state, self._shared, self._shared_bytes
            )
        if self._shared_bytes and self._shared:
            self.state.stdin = self._shared.read(self._shared_bytes)
        return wasi_preview1.run_command(self._machine, self.state)

    def _completed(self, output: bytes | Window) -> Ran:
        if self._shared and goes_shared(len(output)):
            self._shared.write(output)
            return self._ran(Outcome.COMPLETED, shared_bytes=len(output))
        return self._ran(Outcome.COMPLETED, output=bytes(output))

    def _stopped_by_engine(self, stopped: Trap | WasmtimeError) -> Ran:
        return self._trapped(stopped) if isinstance(stopped, Trap) else self._refused(str(stopped))

    def _stopped_by_host(self, stopped: Rejection | ProcessExit | LimitHit | GuestFault) -> Ran:
        match stopped:
            case Rejection():
                return self._ran(
                    Outcome.REJECTED, detail=stopped.message, retry_hint=stopped.retryable
                )
            case ProcessExit():
                detail = f"The guest exited with code {stopped.code}."
                return self._ran(Outcome.REJECTED, detail=detail)
            case LimitHit():
                return self._limit_exceeded(stopped.limit)
            case GuestFault():
                detail = f"The guest broke the ABI: {stopped}."
                return self._ran(Outcome.TRAPPED, detail=detail)

    def _trapped(self, trap: Trap) -> Ran:
        code = trap.trap_code
        if code is TrapCode.OUT_OF_FUEL:
            return self._limit_exceeded("fuel")
        if code is TrapCode.INTERRUPT:
            return self._limit_exceeded("wall")
        if code is TrapCode.UNREACHABLE and self._ran_out_of_memory():
            return self._limit_exceeded("memory")
        name = code.name.lower() if code else "unknown"
        return self._ran(Outcome.TRAPPED, detail=f"The guest trapped: {name}.")

    def _ran_out_of_memory(self) -> bool:
        # The engine does not say that a growth was refused. A guest that aborts while its memory
        # could not double is taken to have been refused, because allocators grow by doubling.
        return 2 * self._memory_bytes() > self.state.limits.memory_bytes

    def _refused(self, message: str) -> Ran:
        if "memory minimum size" in message or os.strerror(errno.ENOMEM) in message:
            return self._limit_exceeded("memory")
        if "table minimum size" in message:
            return self._limit_exceeded("table")
        return self._ran(Outcome.TRAPPED, detail="The guest could not be instantiated.")

    def _limit_exceeded(self, limit: str) -> Ran:
        return self._ran(
            Outcome.LIMIT_EXCEEDED, limit=limit, detail=f"The run passed its {limit} limit."
        )

    def _ran(
        self,
        outcome: Outcome,
        *,
        output: bytes = b"",
        shared_bytes: int = 0,
        limit: str | None = None,
        detail: str | None = None,
        retry_hint: bool = False,
    ) -> Ran:
        state = self.state
        # What was told until here is not told again, and the thread that tells must be done.
        self._timer.disarm()
        spans = state.spans
        return Ran(
            outcome,
            state.limits.fuel - self._machine.fuel_left(),
            self._memory_bytes(),
            output,
            shared_bytes,
            limit,
            detail,
            retry_hint,
            state.log_bytes,
            state.host_calls,
            tuple(state.logs),
            state.logs_truncated,
            tuple(state.events),
            state.events_truncated,
            *_noted(state.varying),
            () if spans is None else spans.told(),
            0 if spans is None else spans.dropped,
        )

    def _memory_bytes(self) -> int:
        try:
            return self._machine.memory().size_bytes
        except GuestFault:
            return 0


def _noted(varying: Varying | None) -> tuple[tuple[Note, ...], int]:
    return ((), 0) if varying is None else (tuple(varying.notes), varying.notes_cut)
