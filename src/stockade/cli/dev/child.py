"""A child process that is started again when it dies, until it is told to stop."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence

import structlog

from stockade.cli.environment import environment_for_child
from stockade.core.errors import StockadeError

_log = structlog.get_logger()
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.2, 5.0
_STEADY_SECONDS = 10.0
"""A child that lived so long did start; its next death is the first again."""
_EARLY_DEATHS = 4


async def process_ended(process_id: int) -> None:
    """Waits until this process, a child not yet reaped, has ended."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    descriptor = os.pidfd_open(process_id)
    loop.add_reader(descriptor, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


class Child:
    """A process in a group of its own: Ctrl-C reaches it through us, in the right order.

    Args:
        name: For the log.
        command: What to start.
        settings: As environment variables; arguments would show in process lists.
        stop_seconds: How long it may take to stop before it is killed.
    """

    def __init__(
        self, name: str, command: Sequence[str], settings: Mapping[str, str], stop_seconds: float
    ) -> None:
        self._name = name
        self._command = tuple(command)
        self._settings = dict(settings)
        self._stop_seconds = stop_seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = asyncio.Event()
        self.proven = False
        """Set when the whole was ready once: from then on it is restarted for ever."""

    async def keep(self) -> None:
        """Runs the child, and runs it again when it dies, until `stop`.

        Raises:
            StockadeError: `dev.child_failed` when it keeps dying before it ever served.
        """
        deaths, loop = 0, asyncio.get_running_loop()
        while not self._stopping.is_set():
            started = loop.time()
            code = await self._run_once()
            if self._stopping.is_set():
                return
            deaths = 1 if loop.time() - started > _STEADY_SECONDS else deaths + 1
            _log.warning("child_ended", child=self._name, exit_code=code, deaths=deaths)
            if deaths >= _EARLY_DEATHS and not self.proven:
                raise self._failed(code)
            await self._pause(deaths)

    async def stop(self) -> None:
        """Asks the child to finish and waits; kills it when it takes too long."""
        self._stopping.set()
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.terminate()
        try:
            await asyncio.wait_for(process_ended(process.pid), self._stop_seconds)
        except TimeoutError:
            _log.warning("child_killed", child=self._name, after_seconds=self._stop_seconds)
            self.kill()
        process.wait()

    def kill(self) -> None:
        """Ends the child and what it started at once."""
        self._stopping.set()
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)

    async def _run_once(self) -> int:
        process = self._process = self._spawn()
        _log.info("child_started", child=self._name, pid=process.pid)
        await process_ended(process.pid)
        return process.wait()

    def _spawn(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603 - our own program, no shell
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr.fileno(),
            env=environment_for_child(self._settings),
            process_group=0,
        )

    async def _pause(self, deaths: int) -> None:
        seconds = min(_FIRST_PAUSE_SECONDS * 2.0 ** (deaths - 1), _LONGEST_PAUSE_SECONDS)
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return

    def _failed(self, code: int) -> StockadeError:
        return StockadeError(
            "dev.child_failed",
            f"The {self._name} ended {_EARLY_DEATHS} times before it could serve (last exit "
            f"code {code}). Its log above says why.",
            retryable=True,
        )
