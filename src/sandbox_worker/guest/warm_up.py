"""Runs a module of our own in the zygote, so that its children share what a first run makes.

Without it, every child would copy the pages that the interpreter and the engine write at their
first run.
"""

from wasmtime import Engine, Module, wat2wasm

from sandbox_worker.guest import frames
from sandbox_worker.guest.runner import Runner
from stockade.core.limits import Limits
from stockade.core.modules import Abi

_ECHO = """
(module
  (memory (export "memory") 1)
  (func (export "stockade_v1_alloc") (param i32) (result i32) (i32.const 1))
  (func (export "stockade_v1_run") (param i32 i32) (result i64)
    (i64.or (i64.shl (i64.extend_i32_u (i32.sub (local.get 0) (i32.const 1))) (i64.const 32))
            (i64.extend_i32_u (i32.add (local.get 1) (i32.const 1))))))
"""
_RUNS = 64


def warm_up(engine: Engine) -> Runner:
    """Loads and runs an echo through the frames, as an executor would; the runner is ready for use.

    Raises:
        RuntimeError: the echo did not come back; this host cannot run guests.
    """
    runner = Runner(engine)
    artifact = bytes(Module(engine, bytes(wat2wasm(_ECHO))).serialize())
    runner.load("echo", Abi.STOCKADE_V1, artifact)
    for _ in range(_RUNS):
        command = frames.Run("echo", Limits(), b"warm")
        body = frames.encode(command)[frames.HEADER_BYTES :]
        run = frames.decode_command(body)
        if run != command:
            raise RuntimeError("a frame did not come back as it was sent")
        ran = runner.run(command)
        frames.encode(ran)
        if ran.output != command.data:
            raise RuntimeError("this host's engine does not run guests rightly")
    runner.unload("echo")
    return runner
