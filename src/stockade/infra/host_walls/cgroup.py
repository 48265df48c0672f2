"""Whether processes can be put into cgroups of their own with a bound on memory."""

import os
from pathlib import Path

from stockade.core.walls import Wall, WallReport, WallState
from stockade.infra.host_walls import remedies

_OWN = Path("/proc/self/cgroup")
_MOUNTS = Path("/proc/self/mountinfo")
_UNIFIED, _LEGACY = "cgroup2", "cgroup"
_ROOT, _PLACE = 3, 4
"""Fields of a line of mountinfo: what of the file system is mounted, and where."""


def judge_cgroup(
    directory: Path | None = None, own: Path = _OWN, mounts: Path = _MOUNTS
) -> WallReport:
    """Makes a cgroup below this one's, and bounds its memory.

    Args:
        directory: The subtree that the worker gets; None for the cgroup of this process.
        own: The kernel's file that names the cgroup of this process.
        mounts: The kernel's file that names what is mounted.
    """
    directory = directory or own_cgroup(own, mounts)
    if directory is None:
        state, finding = WallState.MISSING, _without_unified(mounts)
    else:
        state, finding = _tried(directory)
    meaning, remedy = remedies.words(Wall.CGROUP, state)
    return WallReport(Wall.CGROUP, state, finding, meaning, remedy)


def own_cgroup(own: Path = _OWN, mounts: Path = _MOUNTS) -> Path | None:
    """The directory of this process's cgroup in the unified hierarchy, where there is one."""
    try:
        lines = own.read_text(encoding="utf-8").splitlines()
        path = next(line[3:] for line in lines if line.startswith("0::"))
        mounted = next(fields for fields in _mounts(mounts) if _kind(fields) == _UNIFIED)
        inside = Path(path).relative_to(mounted[_ROOT])
    except (OSError, StopIteration, ValueError):
        return None
    return Path(mounted[_PLACE]) / inside


def _without_unified(mounts: Path) -> str:
    try:
        legacy = any(_kind(fields) == _LEGACY for fields in _mounts(mounts))
    except OSError:
        return "cgroups cannot be looked at"
    return "there is only cgroup v1" if legacy else "no cgroups are mounted"


def _mounts(file: Path) -> list[list[str]]:
    return [line.split() for line in file.read_text(encoding="utf-8").splitlines()]


def _kind(fields: list[str]) -> str:
    return fields[fields.index("-") + 1]


def _tried(directory: Path) -> tuple[WallState, str]:
    try:
        controllers = (directory / "cgroup.controllers").read_text(encoding="utf-8").split()
    except OSError as error:
        return WallState.MISSING, f"{directory} is no cgroup v2 directory ({error.strerror})"
    if "memory" not in controllers:
        return WallState.MISSING, f"{directory} has no memory controller (v1 may hold it)"
    try:
        _bound_one(directory / f"stockade-doctor-{os.getpid()}")
    except FileNotFoundError:
        return WallState.MISSING, f"{directory} does not hand its memory controller on"
    except OSError as error:
        return WallState.MISSING, f"no bounded cgroup can be made in {directory} ({error.strerror})"
    return WallState.OK, f"a cgroup was made in {directory}, and its memory bounded"


def _bound_one(place: Path) -> None:
    place.mkdir()
    try:
        # Opened as it is, never made: on another file system than cgroup2 it must not come to be.
        with (place / "memory.max").open("r+", encoding="ascii") as bound:
            bound.write("16777216")
    finally:
        place.rmdir()
