"""Files that a command leaves behind: whole or not at all, private from the first byte on."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

PRIVATE, PUBLIC = 0o600, 0o644


@contextmanager
def written_aside(path: Path, mode: int = PRIVATE) -> Iterator[Callable[[bytes], None]]:
    """Hands in what writes the file; it is renamed into place when that was done.

    Opened before anything else happens, so that what cannot be written is not made.

    Raises:
        OSError: It cannot be written.
    """
    aside = path.with_name(f"{path.name}.{os.getpid()}.new")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:

            def write(content: bytes) -> None:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
                aside.replace(path)

            yield write
    finally:
        aside.unlink(missing_ok=True)
