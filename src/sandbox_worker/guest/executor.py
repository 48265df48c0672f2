"""The executor: loads compiled modules and runs them for one tenant, command by command."""

import socket
import threading

from wasmtime import WasmtimeError

from sandbox_worker.guest.deadline import Deadline
from sandbox_worker.guest.frames import (
    Answer,
    CommandReader,
    FrameError,
    HostCall,
    HostReply,
    Load,
    Loaded,
    NotLoaded,
    Ran,
    Run,
    Share,
    Told,
    encode,
)
from sandbox_worker.guest.runner import Runner
from sandbox_worker.guest.shared_file import SharedFile


class Executor:
    """Serves one connection. Make it before the jail closes: it starts the deadline's thread."""

    def __init__(self, runner: Runner, connection: socket.socket) -> None:
        self._connection = connection
        self._commands = CommandReader(connection)
        self._speaking = threading.Lock()
        self._deadline = Deadline(runner.engine, self._tell)
        self._runner = runner
        runner.attach(self._deadline, self._ask_supervisor)

    def serve(self) -> None:
        """Answers commands until the supervisor closes the connection."""
        while (command := self._commands.next()) is not None:
            match command:
                case Run():
                    self._answer(self._run(command))
                case Load():
                    self._answer(self._load(command))
                case Share():
                    self._answer(Loaded())
                    self._share()
                case HostReply():
                    raise FrameError("a reply that nobody asked for")

    def close(self) -> None:
        """Ends the deadline's thread."""
        self._deadline.close()

    def _answer(self, answer: Answer) -> None:
        self._connection.sendall(encode(answer))

    def _load(self, command: Load) -> Loaded:
        try:
            self._runner.load(command.digest, command.abi, command.artifact)
        except WasmtimeError:
            return Loaded(failed=True)
        return Loaded()

    def _run(self, command: Run) -> Ran | NotLoaded:
        if not self._runner.has(command.digest):
            return NotLoaded()
        return self._runner.run(command)

    def _share(self) -> None:
        _byte, (descriptor,), _flags, _address = socket.recv_fds(self._connection, 1, 1)
        self._runner.shared = SharedFile(descriptor)

    def _tell(self) -> None:
        """In the timer's thread, while the guest runs: only its host calls may come between."""
        logs, events = self._runner.take_said()
        if logs or events:
            with self._speaking:
                self._answer(Told(logs, events))

    def _ask_supervisor(self, call: HostCall) -> HostReply:
        with self._speaking:
            self._answer(call)
        reply = self._commands.next()
        if not isinstance(reply, HostReply):
            raise SystemExit(1)  # The supervisor is gone, or speaks of something else.
        return reply
