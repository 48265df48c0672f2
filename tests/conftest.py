"""Tests marked `undisturbed` run by themselves, also where the others run in parallel."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Holds a test that is `undisturbed` until no other runs, and the others while it does."""
    if os.getenv("PYTEST_XDIST_WORKER") is None:
        return (yield)
    paths: pytest.TempPathFactory = item.config._tmp_path_factory  # type: ignore[attr-defined]
    shared = paths.getbasetemp().parent
    alone = item.get_closest_marker("undisturbed") is not None
    with _entered(shared, fcntl.LOCK_EX if alone else fcntl.LOCK_SH):
        return (yield)


@contextmanager
def _entered(place: Path, how: int) -> Iterator[None]:
    """Alone in the room or with others. All pass one door in turn, so nobody waits for ever."""
    with (place / "door").open("w") as door, (place / "room").open("w") as room:
        fcntl.flock(door, fcntl.LOCK_EX)
        fcntl.flock(room, how)
        fcntl.flock(door, fcntl.LOCK_UN)
        try:
            yield
        finally:
            # By name, not by closing: a process that was forked meanwhile holds the same open file.
            fcntl.flock(room, fcntl.LOCK_UN)
