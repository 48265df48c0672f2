"""What the notes of the probes mean: how each wall stands, what follows, what to do."""

import errno
from collections.abc import Callable, Mapping

from stockade.core.walls import Wall, WallReport, WallState
from stockade.infra.host_walls import remedies
from stockade.infra.host_walls.probing import Readings

_OK, _WEAK, _MISSING = WallState.OK, WallState.WEAK, WallState.MISSING
_BOUNDED = {
    "data": "ENOMEM",
    "file": "EFBIG",
    "descriptors": "EMFILE",
    "processes": "EAGAIN",
    "core": "SIGSYS",
}
_NETWORK_VERSION, _SCOPE_VERSION = 4, 6


def judge(wall: Wall, readings: Readings) -> WallReport:
    """How a probed wall stands, from what its probe noted."""
    failed = readings.get("probe")
    if failed is not None:
        state, finding = _MISSING, f"it could not even be tried ({failed})"
    else:
        state, finding = _JUDGES[wall](readings)
    meaning, remedy = remedies.words(wall, state)
    return WallReport(wall, state, finding, meaning, remedy, dict(readings))


def _seccomp(readings: Readings) -> tuple[WallState, str]:
    if readings["policy"] != "ok":
        return _MISSING, f"the policy seccomp/guest.toml cannot be used ({readings['policy']})"
    if readings.get("install") != "ok":
        return _MISSING, f"a filter is refused ({_reason(readings, 'no_new_privs', 'install')})"
    if readings["end"] != "SIGSYS":
        return _MISSING, "a filter can be installed, and stops nothing"
    return _OK, "the policy's filter was installed, and a forbidden call killed its process"


def _no_new_privs(readings: Readings) -> tuple[WallState, str]:
    if readings.get("set") == "ok" and readings.get("reads") == "1":
        return _OK, "set, and reads as set"
    return _MISSING, f"cannot be set ({_reason(readings, 'set')})"


def _rlimits(readings: Readings) -> tuple[WallState, str]:
    unbounded = [name for name, stop in _BOUNDED.items() if readings.get(name) != stop]
    if not unbounded:
        return _OK, "memory, files, descriptors, processes and core dumps stop at their bounds"
    state = _MISSING if "data" in unbounded else _WEAK
    return state, "no bound holds on: " + ", ".join(unbounded)


def _pidfd(readings: Readings) -> tuple[WallState, str]:
    if readings.get("open") == readings.get("signal") == "ok":
        return _OK, "a process was signalled through a descriptor"
    name = "signal" if readings.get("open") == "ok" else "open"
    return _MISSING, f"there is no descriptor of a process ({_reason(readings, name)})"


def _jail(readings: Readings) -> tuple[WallState, str]:
    if readings.get("enter") != "ok":
        return (
            _MISSING,
            f"a process cannot enter the jail ({_reason(readings, 'close_files', 'enter')})",
        )
    if readings["end"] != "SIGSYS":
        return _MISSING, "a process entered the jail, and could still make a forbidden call"
    if readings.get("kill") != "ok":
        reason = _reason(readings, "kill")
        return _MISSING, f"a jailed process cannot be killed at its deadline ({reason})"
    return _OK, "processes entered the whole jail; a forbidden call killed one, a signal another"


def _landlock(readings: Readings) -> tuple[WallState, str]:
    told = readings.get("version", "0")
    version = int(told) if told.isdecimal() else 0
    if version == 0:
        return _MISSING, "the kernel has none, or it is switched off or hidden"
    if not _denied(readings, "files"):
        return _MISSING, f"version {version}, and files can still be opened"
    return _landlock_beyond_files(version, readings)


def _landlock_beyond_files(version: int, readings: Readings) -> tuple[WallState, str]:
    if version < _NETWORK_VERSION:
        return _WEAK, f"version {version}: denies files, not yet TCP, signals, abstract sockets"
    if readings.get("network_before") == "ok" and not _denied(readings, "network"):
        return _WEAK, f"version {version}: denies files, and lets a port be bound"
    if version < _SCOPE_VERSION:
        return _WEAK, f"version {version}: denies files and TCP, not yet signals"
    if not _denied(readings, "signals"):
        return _WEAK, f"version {version}: denies files and TCP, and lets signals through"
    return _OK, f"version {version}: opening, binding and signalling were denied"


def _nobody(readings: Readings) -> tuple[WallState, str]:
    if readings.get("user") != "0":
        return _MISSING, f"this is user {readings.get('user', 'unknown')}, who cannot become nobody"
    if readings.get("drop") != "ok":
        return _MISSING, f"root may not become nobody here ({_reason(readings, 'drop')})"
    if readings.get("return") != errno.errorcode[errno.EPERM]:
        return _MISSING, "a process became nobody, and could become root again"
    return _OK, "a process became nobody, and could not become root again"


def _user_namespaces(readings: Readings) -> tuple[WallState, str]:
    if readings.get("make") == "ok":
        return _OK, "an ordinary user can make one"
    return _MISSING, f"an ordinary user cannot make one ({_reason(readings, 'make')})"


def _aslr(readings: Readings) -> tuple[WallState, str]:
    places = int(readings.get("places", "0"))
    if places > 1:
        return _OK, "libraries lie elsewhere at every start"
    if places == 1:
        return _MISSING, "libraries lie at the same place at every start"
    return _MISSING, "no program could be started to see"


def _proc(readings: Readings) -> tuple[WallState, str]:
    if readings.get("mounted") != "ok":
        return _WEAK, f"/proc cannot be read ({_reason(readings, 'mounted')})"
    if readings.get("first_process") == "ok":
        return _WEAK, "one user sees the processes of the others"
    return _OK, "one user does not see the processes of the others"


def _denied(readings: Readings, name: str) -> bool:
    return readings.get(name) in {"EACCES", "EPERM"}


def _reason(readings: Readings, *steps: str) -> str:
    """What the first of these steps that failed gave, or how its process ended."""
    failed = (readings[step] for step in steps if readings.get(step, "ok") != "ok")
    return next(failed, f"ended with {readings.get('end', 'nothing')}")


_JUDGES: Mapping[Wall, Callable[[Readings], tuple[WallState, str]]] = {
    Wall.SECCOMP: _seccomp,
    Wall.NO_NEW_PRIVS: _no_new_privs,
    Wall.RLIMITS: _rlimits,
    Wall.PIDFD: _pidfd,
    Wall.JAIL: _jail,
    Wall.LANDLOCK: _landlock,
    Wall.NOBODY: _nobody,
    Wall.USER_NAMESPACES: _user_namespaces,
    Wall.ASLR: _aslr,
    Wall.PROC: _proc,
}
