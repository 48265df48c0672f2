"""A jail whose compilers have the bounds that a test gives them: real walls, started one by one."""

import asyncio
import socket
import subprocess
import sys

from sandbox_worker.guest.jail import JailBounds
from stockade.core.jail_control import JailRole
from tests.security.test_jail_walls import POLICY

_COMPILER = f"""
import os, socket, sys
from pathlib import Path
from sandbox_worker.guest.compiler import serve_compiler
from sandbox_worker.guest.engine import build_engine
from sandbox_worker.guest.jail import JailBounds, close_files, enter_jail, load_allowed_calls
engine = build_engine()
allowed = load_allowed_calls(Path({str(POLICY)!r}))
connection = socket.socket(fileno=0)
close_files(required=False)
bounds = JailBounds(data_bytes=int(sys.argv[1]), cpu_seconds=int(sys.argv[2]))
enter_jail(bounds, allowed, os.getppid())
serve_compiler(engine, connection)
os._exit(0)
"""


class BoundedCompiler:
    """A `JailedProcess` that compiles one module."""

    def __init__(self, connection: socket.socket, process: subprocess.Popen[bytes]) -> None:
        self.connection = connection
        self.process_id = process.pid
        self._process = process

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        self._process.kill()

    async def ended(self) -> int:
        return await asyncio.to_thread(self._process.wait)


class BoundedJail:
    """The `Jail` port; `ends` tells how its children ended."""

    def __init__(self, bounds: JailBounds) -> None:
        self._bounds = bounds
        self._children: list[BoundedCompiler] = []

    async def fork(self, role: JailRole) -> BoundedCompiler:
        assert role is JailRole.COMPILER
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        bounds = (str(self._bounds.data_bytes), str(self._bounds.cpu_seconds))
        process = subprocess.Popen(  # noqa: ASYNC220 (starting it is quick)
            [sys.executable, "-c", _COMPILER, *bounds], stdin=theirs.fileno(), env={}
        )
        theirs.close()
        self._children.append(BoundedCompiler(ours, process))
        return self._children[-1]

    async def engine_fingerprint(self) -> str:
        return "bounded"

    async def ends(self) -> list[int]:
        """The exit code of each child, or minus the signal that ended it."""
        return [await child.ended() for child in self._children]
