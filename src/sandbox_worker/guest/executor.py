"""The executor: loads compiled modules and runs them for one tenant, command by command."""

import socket

from wasmtime import Engine, WasmtimeError

from sandbox_worker.guest.deadline import Deadline
from sandbox_worker.guest.frames import Load, Loaded, NotLoaded, Ran, Run, encode, receive_command
from sandbox_worker.guest.runner import Runner


class Executor:
    """Serves one connection. Make it before the jail closes: it starts the deadline's thread."""

    def __init__(self, engine: Engine, connection: socket.socket) -> None:
        self._connection = connection
        self._deadline = Deadline(engine)
        self._runner = Runner(engine, self._deadline)

    def serve(self) -> None:
        """Answers commands until the supervisor closes the connection."""
        while (command := receive_command(self._connection)) is not None:
            answer = self._load(command) if isinstance(command, Load) else self._run(command)
            self._connection.sendall(encode(answer))

    def close(self) -> None:
        """Ends the deadline's thread."""
        self._deadline.close()

    def _load(self, command: Load) -> Loaded:
        try:
            self._runner.load(command.digest, command.abi, command.artifact)
        except WasmtimeError:
            return Loaded(failed=True)
        return Loaded()

    def _run(self, command: Run) -> Ran | NotLoaded:
        if not self._runner.has(command.digest):
            return NotLoaded()
        return Ran(self._runner.run(command.digest, command.data, command.limits, command.env))
