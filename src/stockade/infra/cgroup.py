"""`ProcessBounds` by cgroup v2: the kernel itself holds each executor to its memory and tasks.

The operator hands a subtree over (`Delegate=yes` in a unit, or a directory that the worker may
write). Each executor gets a group of its own in it. Source: the kernel's cgroup-v2 documentation.
"""

import contextlib
from pathlib import Path

import structlog

from stockade.core.errors import StockadeError

_MAX_TASKS = 8
"""An executor has two threads; whatever starts more is none."""
_CONTROLLERS = ("memory", "pids")
_log = structlog.get_logger()


class CgroupBounds:
    """See `ProcessBounds`.

    Args:
        root: The delegated subtree, which holds no process itself.
        memory_bytes: What one executor may hold, its page cache and shared files included.
    """

    def __init__(self, root: Path, memory_bytes: int) -> None:
        self._root = root
        self._memory_bytes = memory_bytes

    @classmethod
    def open(cls, root: Path, memory_bytes: int) -> "CgroupBounds":
        """The bounds, once the subtree was seen to take them.

        Raises:
            StockadeError: `config.cgroup_unusable`: a bound that was asked for and cannot be held
                must not look like one.
        """
        try:
            there = (root / "cgroup.controllers").read_text(encoding="ascii").split()
            missing = [name for name in _CONTROLLERS if name not in there]
            if not missing:
                wanted = " ".join(f"+{name}" for name in _CONTROLLERS)
                (root / "cgroup.subtree_control").write_text(wanted, encoding="ascii")
        except OSError as error:
            raise _unusable(root, f"errno {error.errno}") from error
        if missing:
            raise _unusable(root, f"it has no controller {missing[0]}")
        return cls(root, memory_bytes)

    def hold(self, process_id: int) -> None:
        """Puts a process into a group of its own, before it sees a byte of a tenant's."""
        group = self._group(process_id)
        try:
            group.mkdir(exist_ok=True)
            for name, value in (
                ("memory.max", self._memory_bytes),
                ("memory.swap.max", 0),
                ("memory.oom.group", 1),
                ("pids.max", _MAX_TASKS),
                ("cgroup.procs", process_id),
            ):
                (group / name).write_text(str(value), encoding="ascii")
        except OSError as error:
            _log.warning("cgroup_not_set", process=process_id, errno=error.errno)

    def ran_out_of_memory(self, process_id: int) -> bool:
        """Whether the kernel ended the process at its memory bound."""
        try:
            text = (self._group(process_id) / "memory.events").read_text(encoding="ascii")
        except OSError:
            return False
        events = dict(line.split() for line in text.splitlines())
        return int(events.get("oom_kill", "0")) > 0

    def let_go(self, process_id: int) -> None:
        """Removes the group of a process that has ended."""
        with contextlib.suppress(OSError):
            self._group(process_id).rmdir()

    def _group(self, process_id: int) -> Path:
        return self._root / f"executor-{process_id}"


class NoBounds:
    """Stands for cgroups where there are none: the watch alone bounds memory."""

    def hold(self, process_id: int) -> None:
        """Does nothing."""

    def ran_out_of_memory(self, process_id: int) -> bool:
        """Never known."""
        del process_id
        return False

    def let_go(self, process_id: int) -> None:
        """Does nothing."""


def _unusable(root: Path, why: str) -> StockadeError:
    return StockadeError(
        "config.cgroup_unusable",
        f"The cgroup {root} cannot bound executors: {why}. Delegate a cgroup v2 subtree with the"
        " memory and pids controllers to the worker, or leave the setting out; 'stockade doctor'"
        " tells more.",
    )
