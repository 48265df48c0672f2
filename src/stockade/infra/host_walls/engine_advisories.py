"""The installed engine against the advisories that this release knows.

The list is a file beside this code, and no policy: what it says was found out for one release, and
an operator who edited it would only deceive himself.
"""

import importlib.resources
import platform
import re
import tomllib
from importlib.metadata import PackageNotFoundError, version

import msgspec

from stockade.core.walls import Wall, WallReport, WallState
from stockade.infra.host_walls import remedies

_VERSION = re.compile(r"(\d{1,6})\.(\d{1,6})\.(\d{1,6})")
_Version = tuple[int, int, int]


class Advisory(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One defect of the engine.

    Args:
        id: GitHub's name for it.
        aliases: Its names elsewhere.
        about: What goes wrong.
        introduced: The first version that has it; None when all earlier ones do.
        fixed: The first version without it, in each release line that got one.
        machines: The processors that have it; empty when all do.
        reached: Whether a guest of Stockade's can get at it.
        because: Why, or why not.
    """

    id: str
    about: str
    fixed: tuple[str, ...]
    reached: bool
    because: str
    aliases: tuple[str, ...] = ()
    introduced: str | None = None
    machines: tuple[str, ...] = ()

    def touches(self, engine: str, machine: str) -> bool:
        """Whether this version of the engine has the defect on this processor."""
        installed, mended = _parts(engine), sorted(map(_parts, self.fixed))
        if self.machines and machine not in self.machines:
            return False
        if self.introduced is not None and installed < _parts(self.introduced):
            return False
        in_line = any(fix[0] == installed[0] and installed >= fix for fix in mended)
        return not in_line and installed < mended[-1]


class AdvisoryList(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All that are known, until when, and the oldest version that they were compared with."""

    known_until: str
    oldest: str
    advisory: tuple[Advisory, ...]


def load_advisories() -> AdvisoryList:
    """The list that came with this release."""
    file = importlib.resources.files("stockade.infra.host_walls") / "wasmtime_advisories.toml"
    return msgspec.convert(tomllib.loads(file.read_text(encoding="utf-8")), AdvisoryList)


def installed_engine(package: str = "wasmtime") -> str:
    """The version of the engine's package; empty when it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def touching(engine: str, known: AdvisoryList, machine: str) -> tuple[Advisory, ...]:
    """The advisories that touch this version; those that a guest can reach come first."""
    found = (item for item in known.advisory if item.touches(engine, machine))
    return tuple(sorted(found, key=lambda item: not item.reached))


def judge_engine(engine: str, known: AdvisoryList, machine: str = "") -> WallReport:
    """How the wall stands that the engine is."""
    machine = machine or platform.machine()
    state, finding = _judged(engine, known, machine)
    meaning, remedy = remedies.words(Wall.ENGINE, state)
    return WallReport(Wall.ENGINE, state, finding, meaning, remedy, {"version": engine})


def _judged(engine: str, known: AdvisoryList, machine: str) -> tuple[WallState, str]:
    if _VERSION.fullmatch(engine) is None:
        return WallState.MISSING, f"the version of wasmtime is unknown ({engine or 'none'})"
    found = touching(engine, known, machine)
    reached = [item.id for item in found if item.reached]
    if reached:
        return WallState.MISSING, f"wasmtime {engine}; guests can reach {', '.join(reached)}"
    if _parts(engine) < _parts(known.oldest):
        return WallState.MISSING, f"wasmtime {engine} is older than the list's {known.oldest}"
    if found:
        number = f"{len(found)} advisories known until {known.known_until}"
        return WallState.WEAK, f"wasmtime {engine}: {number}, none that a guest can reach"
    return WallState.OK, f"wasmtime {engine}: no advisory known until {known.known_until}"


def _parts(text: str) -> _Version:
    found = _VERSION.match(text)
    if found is None:
        raise ValueError(f"{text!r} is no version of the engine")
    return int(found[1]), int(found[2]), int(found[3])
