"""The walls around a jailed process: their names, how they stand on a host, which must stand."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from stockade.core.errors import StockadeError


class Wall(StrEnum):
    """What a host can put between a guest and itself."""

    SECCOMP = "seccomp"
    NO_NEW_PRIVS = "no_new_privs"
    RLIMITS = "rlimits"
    PIDFD = "pidfd"
    JAIL = "jail"
    LANDLOCK = "landlock"
    NOBODY = "nobody"
    CGROUP = "cgroup"
    USER_NAMESPACES = "user_namespaces"
    ASLR = "aslr"
    PROC = "proc"
    KERNEL = "kernel"
    PROCESSOR = "processor"
    ENGINE = "engine"
    DURABILITY = "durability"


ALWAYS_REQUIRED = frozenset(
    {Wall.SECCOMP, Wall.NO_NEW_PRIVS, Wall.RLIMITS, Wall.PIDFD, Wall.JAIL},
)
"""Without one of these no jailed process starts at all; no setting takes them off."""

DEFAULT_REQUIRED = Wall.LANDLOCK.value
"""What processes require beyond that, unless they are told otherwise; see ADR 13."""

REQUIRABLE = tuple(wall for wall in Wall if wall is not Wall.DURABILITY)
"""What a process can be told to require; durability is the queue's, not the host's."""


class WallState(StrEnum):
    """How a wall stands."""

    OK = "ok"
    WEAK = "weak"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class WallReport:
    """How one wall stands on this host.

    Args:
        wall: Which.
        state: `weak` is there with a gap, or is not all that it could be.
        finding: What was seen, in a few words.
        meaning: What follows from it for those who run guests here.
        remedy: What to do to make it stand, a command or a setting; None when it does.
        readings: What each attempt came to, by name.
    """

    wall: Wall
    state: WallState
    finding: str
    meaning: str
    remedy: str | None = None
    readings: dict[str, str] = field(default_factory=dict)


def parse_walls(text: str) -> frozenset[Wall]:
    """The walls that a setting names, separated by commas, and those that are always required.

    Raises:
        ValueError: nothing is named, or something that is no wall of a host.
    """
    names = [part.strip() for part in text.split(",")]
    if not set(names) <= set(REQUIRABLE):
        raise ValueError(
            f"name walls, separated by commas, from: {', '.join(REQUIRABLE)};"
            " 'seccomp' alone leaves those that are always required"
        )
    return frozenset(map(Wall, names)) | ALWAYS_REQUIRED


def missing_walls(reports: Iterable[WallReport], required: frozenset[Wall]) -> tuple[Wall, ...]:
    """The required walls that are missing, or of which nothing is known."""
    standing = {report.wall for report in reports if report.state is not WallState.MISSING}
    return tuple(wall for wall in Wall if wall in required - standing)


def walls_missing(missing: Iterable[Wall]) -> StockadeError:
    """The refusal to start without them."""
    names = ", ".join(missing)
    return StockadeError(
        "jail.wall_missing",
        f"This host does not give the walls that are required here: {names}. Run"
        " 'stockade doctor': it says why, and how to get them.",
        detail={"walls": names.split(", ")},
    )
