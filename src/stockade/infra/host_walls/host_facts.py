"""Kernel and processor, as the host tells of them."""

import platform
import re
from pathlib import Path

from stockade.core.walls import Wall, WallReport, WallState
from stockade.infra.host_walls import remedies

_RELEASE = re.compile(r"(\d{1,4})\.(\d{1,4})")
_OLDEST, _LANDLOCK = (5, 3), (5, 13)
_MACHINES = ("x86_64", "aarch64")
_VULNERABILITIES = Path("/sys/devices/system/cpu/vulnerabilities")


def judge_kernel(release: str = "") -> WallReport:
    """The kernel's age; what it can do is tried elsewhere."""
    release = release or platform.release()
    found = _RELEASE.match(release)
    numbers = (int(found[1]), int(found[2])) if found else _LANDLOCK
    state = WallState.OK
    if numbers < _LANDLOCK or found is None:
        state = WallState.MISSING if numbers < _OLDEST else WallState.WEAK
    return _report(Wall.KERNEL, state, f"Linux {release}", {"release": release})


def judge_processor(machine: str = "", vulnerabilities: Path = _VULNERABILITIES) -> WallReport:
    """The processor's kind, and the leaks that the kernel says it leaves open."""
    machine = machine or platform.machine()
    told = _told(vulnerabilities)
    leaks = sorted(name for name, said in told.items() if said.startswith("Vulnerable"))
    if machine not in _MACHINES:
        return _report(Wall.PROCESSOR, WallState.MISSING, f"a {machine} processor", told)
    if leaks:
        finding = f"{machine}, open to: {', '.join(leaks)}"
        return _report(Wall.PROCESSOR, WallState.WEAK, finding, told)
    known = "no leak is open" if told else "the kernel does not tell of leaks"
    return _report(Wall.PROCESSOR, WallState.OK, f"{machine}, {known}", told)


def _told(vulnerabilities: Path) -> dict[str, str]:
    try:
        files = sorted(vulnerabilities.iterdir())
        return {file.name: file.read_text(encoding="utf-8").strip() for file in files}
    except OSError:
        return {}


def _report(wall: Wall, state: WallState, finding: str, readings: dict[str, str]) -> WallReport:
    meaning, remedy = remedies.words(wall, state)
    return WallReport(wall, state, finding, meaning, remedy, readings)
