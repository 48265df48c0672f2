"""Starts the program that tries this host's walls, and reads what it noted."""

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import msgspec

from stockade.core.errors import StockadeError
from stockade.core.walls import Wall

_PROBE = "sandbox_worker.guest.wall_probe"
_SECONDS = 60
Readings = dict[str, str]
"""What each attempt on one wall came to: `ok`, the name of an error, or another word."""

PROBED = (
    Wall.SECCOMP,
    Wall.NO_NEW_PRIVS,
    Wall.RLIMITS,
    Wall.PIDFD,
    Wall.JAIL,
    Wall.LANDLOCK,
    Wall.NOBODY,
    Wall.USER_NAMESPACES,
    Wall.ASLR,
    Wall.PROC,
)
"""The walls that are tried in processes of their own."""


def probe_walls(
    seccomp_policy: Path, walls: Iterable[Wall], python: str = sys.executable
) -> dict[Wall, Readings]:
    """Tries those of the walls that can be tried, in processes that are thrown away.

    Args:
        seccomp_policy: The file with the system calls of jailed processes.
        walls: Which walls to try.
        python: The interpreter that the probe runs in.

    Raises:
        StockadeError: `jail.probe_failed`.
    """
    # -I keeps environment and working directory out of the import path, as for the zygote.
    command = [python, "-I", "-m", _PROBE, str(seccomp_policy.absolute())]
    names = [wall.value for wall in PROBED if wall in set(walls)]
    try:
        done = subprocess.run(  # noqa: S603 (our own program)
            [*command, *names],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            check=True,
            timeout=_SECONDS,
            env={},
        )
        return msgspec.json.decode(done.stdout, type=dict[Wall, Readings])
    except (OSError, subprocess.SubprocessError, msgspec.MsgspecError) as error:
        raise StockadeError(
            "jail.probe_failed",
            "The host's walls could not be tried, so nothing is known of them. Look at what is"
            " written above, and see that this host lets processes be started.",
        ) from error
