"""A `stockade dev` of the demo's own: on a fresh directory and a free port, gone afterwards."""

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stockade.cli.connection import open_client
from stockade.cli.environment import environment_for_child, own_program
from stockade.cli.words import safe
from stockade.core.errors import StockadeError
from stockade_client import Client

_STOP_SECONDS = 60.0
_SHOWN_BYTES = 4000


@contextmanager
def own_gateway() -> Iterator[Client]:
    """Starts it, yields a client of its tenant, and stops it.

    Raises:
        StockadeError: `demo.not_started`; what its log said last is in the message.
    """
    with tempfile.TemporaryDirectory(prefix="stockade-demo-") as name:
        directory = Path(name)
        with (directory / "log").open("wb") as log:
            process = _start(directory / "data", log.fileno())
        try:
            url, key = _ready(process, directory / "log")
            with open_client(url, key) as client:
                yield client
        finally:
            _stop(process)


def _start(data_dir: Path, log: int) -> subprocess.Popen[bytes]:
    command = own_program(
        "dev", "--port", "0", "--data-dir", str(data_dir), "--die-with", str(os.getpid())
    )
    return subprocess.Popen(  # noqa: S603 - fixed program, no shell
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=log,
        env=environment_for_child({}),
        process_group=0,
    )


def _ready(process: subprocess.Popen[bytes], log: Path) -> tuple[str, str]:
    line = process.stdout.readline() if process.stdout else b""
    if not line:
        tail = log.read_bytes()[-_SHOWN_BYTES:].decode(errors="replace")
        raise StockadeError(
            "demo.not_started", f"'stockade dev' did not start. Its log ends:\n{safe(tail)}"
        )
    ready = json.loads(line)
    return ready["url"], Path(ready["api_key_file"]).read_text()


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    if process.stdout:
        process.stdout.close()
