"""The zygote: has the engine built and nothing else in it, and forks jailed children on command.

It is started afresh (never forked from a process that holds keys), with an empty environment.
Commands and events are datagrams on descriptor 0 (see `stockade.core.jail_control`): a command
comes with the child's socket, the event that the child runs goes with a descriptor of its process.
When the other side closes, the zygote ends, and the kernel ends its children.
"""

import gc
import os
import select
import signal
import socket
import sys
from pathlib import Path

import msgspec

from sandbox_worker.guest.compiler import serve_compiler
from sandbox_worker.guest.engine import build_engine, engine_fingerprint
from sandbox_worker.guest.executor import Executor
from sandbox_worker.guest.jail import (
    COMPILER_BOUNDS,
    EXECUTOR_BOUNDS,
    close_files,
    drop_descriptors,
    enter_jail,
    load_allowed_calls,
)
from sandbox_worker.guest.runner import Runner
from sandbox_worker.guest.warm_up import warm_up
from stockade.core.jail_control import (
    LANDLOCK_OPTIONAL,
    MAX_DATAGRAM_BYTES,
    ForkCommand,
    JailEvent,
    JailRole,
)

_CONTROL_DESCRIPTOR = 0


class Zygote:
    """Owns the control socket and the descriptors of the living children."""

    def __init__(
        self,
        control: socket.socket,
        runner: Runner,
        allowed: tuple[str, ...],
        *,
        landlock_required: bool = True,
    ) -> None:
        self._landlock_required = landlock_required
        self._control = control
        self._runner = runner
        self._allowed = allowed
        self._poll = select.poll()
        self._poll.register(control, select.POLLIN)
        self._children: dict[int, tuple[int, int]] = {}

    def serve(self) -> None:
        """Forks and reaps until the other side closes the control socket."""
        while True:
            for descriptor, _events in self._poll.poll():
                if descriptor != self._control.fileno():
                    self._reap(descriptor)
                elif not self._obey():
                    return

    def _obey(self) -> bool:
        data, descriptors, _flags, _address = socket.recv_fds(self._control, MAX_DATAGRAM_BYTES, 1)
        if not data:
            return False
        command = msgspec.msgpack.decode(data, type=ForkCommand)
        (connection,) = descriptors
        self._fork(command, connection)
        return True

    def _fork(self, command: ForkCommand, connection: int) -> None:
        parent = os.getpid()
        process_id = os.fork()
        if process_id == 0:
            self._become(command.role, connection, parent)
        os.close(connection)
        process = os.pidfd_open(process_id)
        self._children[process] = command.child, process_id
        self._poll.register(process, select.POLLIN)
        message = msgspec.msgpack.encode(JailEvent(command.child, process_id))
        socket.send_fds(self._control, [message], [process])

    def _become(self, role: JailRole, connection: int, parent: int) -> None:
        try:
            drop_descriptors(connection)
            close_files(required=self._landlock_required)
            with socket.socket(fileno=connection) as supervisor:
                if role is JailRole.EXECUTOR:
                    executor = Executor(self._runner, supervisor)
                    enter_jail(EXECUTOR_BOUNDS, self._allowed, parent)
                    executor.serve()
                else:
                    enter_jail(COMPILER_BOUNDS, self._allowed, parent)
                    serve_compiler(self._runner.engine, supervisor)
        finally:
            # No clean-up of the zygote's may run in the child, and no exception may leave it.
            os._exit(0 if sys.exc_info()[0] is None else 1)

    def _reap(self, process: int) -> None:
        child, process_id = self._children.pop(process)
        self._poll.unregister(process)
        os.close(process)
        _pid, status = os.waitpid(process_id, 0)
        message = JailEvent(child, process_id, os.waitstatus_to_exitcode(status))
        self._control.send(msgspec.msgpack.encode(message))


def main() -> None:
    """Serves the socket on descriptor 0.

    The first argument is the seccomp policy's path; `LANDLOCK_OPTIONAL` may follow.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    allowed = load_allowed_calls(Path(sys.argv[1]))
    required = LANDLOCK_OPTIONAL not in sys.argv[2:]
    control = socket.socket(fileno=_CONTROL_DESCRIPTOR)
    runner = warm_up(build_engine())
    # What exists now is shared by all children: never looked at again, never copied.
    gc.collect()
    gc.freeze()
    control.send(engine_fingerprint().encode())
    Zygote(control, runner, allowed, landlock_required=required).serve()


if __name__ == "__main__":
    main()
