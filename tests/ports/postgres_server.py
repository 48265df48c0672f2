"""A PostgreSQL server of the tests' own: a fresh cluster on a free loopback port, ended with them.

The server refuses to run as root, so root's tests run it as nobody.
"""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

import asyncpg  # type: ignore[import-untyped]
import pytest

_USER = "stockade"
_PATIENCE_SECONDS = 60.0
_HASTY = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")
_TRIES = 3


class PostgresServer:
    """One cluster in a directory of its own, which has the same data when started again.

    Args:
        settings: Further settings of the server, each `name=value`.
        durable: Whether it fsyncs; without, it survives its own death but no power cut.
    """

    def __init__(self, *settings: str, durable: bool = False) -> None:
        self._settings = (*settings, *(() if durable else _HASTY))
        self._place = Path(tempfile.mkdtemp(prefix="stockade-postgres-"))
        self._password = secrets.token_hex(16)
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None

    def create(self) -> None:
        """Makes the cluster and starts it."""
        password_file = self._place / "password"
        password_file.write_text(self._password)
        if os.geteuid() == 0:
            for path in (self._place, password_file):
                shutil.chown(path, "nobody", _group_of_nobody())
        initdb = ("--pgdata", "data", "--username", _USER, "--pwfile", "password")
        flags = ("--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C", "--no-sync")
        done = self._run("initdb", *initdb, *flags)
        assert done.returncode == 0, done.stdout
        self.start()

    def start(self) -> None:
        """Starts the server, at the port that it had before, and waits until it serves.

        It ends when the thread ends that started it.
        """
        for _ in range(_TRIES):
            port = self._port or _free_port()
            self._spawn(port)
            # Another process may take a free port before the server has it.
            if self._serves():
                self._port = port
                return
        raise AssertionError(self.log)

    def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        """Ends the server: SIGINT closes its connections, SIGQUIT or SIGKILL is a crash."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(number)
            process.wait(_PATIENCE_SECONDS)

    def remove(self) -> None:
        """Ends the server and deletes the cluster."""
        self.stop()
        shutil.rmtree(self._place)

    def url(self, database: str) -> str:
        """Where a database of this server is."""
        return f"postgresql://{_USER}:{self._password}@127.0.0.1:{self._port}/{database}"

    @property
    def pid(self) -> int:
        """The server's process id."""
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        """What the server wrote last."""
        return (self._place / "log").read_text(errors="replace")[-4000:]

    async def execute(self, statement: str, database: str = "postgres") -> None:
        """Runs statements in a database, by a connection of its own."""
        connection = await asyncpg.connect(self.url(database))
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    async def rows(self, query: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """What a query finds."""
        connection = await asyncpg.connect(self.url(database))
        try:
            return [tuple(row) for row in await connection.fetch(query)]
        finally:
            await connection.close()

    def _spawn(self, port: int) -> None:
        place = (
            "listen_addresses=127.0.0.1",
            f"port={port}",
            "unix_socket_directories=",
        )
        settings = [part for one in (*place, *self._settings) for part in ("-c", one)]
        with (self._place / "log").open("wb") as log:
            self._process = subprocess.Popen(
                (*_unprivileged(), _binaries() / "postgres", "-D", "data", *settings),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._place,
                env={"LC_ALL": "C.UTF-8"},
            )

    def _serves(self) -> bool:
        assert self._process is not None
        while self._process.poll() is None:
            if self._says_ready(self._process.pid):
                return True
            try:
                self._process.wait(0.02)
            except subprocess.TimeoutExpired:
                continue
        return False

    def _says_ready(self, pid: int) -> bool:
        """The server's own word in its lock file, which an earlier one may have left behind."""
        try:
            lines = (self._place / "data" / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return lines[:1] == [str(pid)] and lines[-1].strip() == "ready"

    def _run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            (*_unprivileged(), _binaries() / program, *arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self._place,
            env={"LC_ALL": "C.UTF-8"},
            check=False,
        )


def new_server(*settings: str, durable: bool = False) -> PostgresServer:
    """A running server; skips where PostgreSQL is not installed, which is an error in CI."""
    need_postgres()
    server = PostgresServer(*settings, durable=durable)
    try:
        server.create()
    except BaseException:
        server.remove()
        raise
    return server


def need_postgres() -> None:
    """Skips where PostgreSQL's server is not installed; an error in CI."""
    if _found():
        return
    reason = "PostgreSQL's server is not installed: 'apt install postgresql'"
    if os.getenv("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def is_installed() -> bool:
    """Whether the server's programs are here."""
    return bool(_found())


def _found() -> list[Path]:
    """Where servers are installed; Debian keeps them off the PATH, the newest one last."""
    homes = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name)
    )
    on_path = shutil.which("initdb")
    if on_path:
        homes.append(Path(on_path).resolve().parent)
    return [home for home in homes if (home / "initdb").exists() and (home / "postgres").exists()]


def _binaries() -> Path:
    return _found()[-1]


def _unprivileged() -> tuple[str, ...]:
    """Ends the program with the tests, however those end."""
    dies_too = ("setpriv", "--pdeathsig", "QUIT")
    if os.geteuid() != 0:
        return dies_too
    return (*dies_too, "--reuid", "nobody", "--regid", _group_of_nobody(), "--clear-groups")


def _group_of_nobody() -> str:
    return "nogroup" if "\nnogroup:" in Path("/etc/group").read_text() else "nobody"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
