"""All walls of a host at once: for `stockade doctor`, and for processes before they start."""

from collections.abc import Collection
from pathlib import Path

import structlog

from stockade.core.walls import Wall, WallReport, WallState, missing_walls, walls_missing
from stockade.infra.host_walls.cgroup import judge_cgroup
from stockade.infra.host_walls.engine_advisories import (
    installed_engine,
    judge_engine,
    load_advisories,
)
from stockade.infra.host_walls.host_facts import judge_kernel, judge_processor
from stockade.infra.host_walls.probing import probe_walls
from stockade.infra.host_walls.verdicts import judge

_log = structlog.get_logger()
_TOLD_AT_START = frozenset({Wall.LANDLOCK, Wall.NOBODY})
"""Looked at by every process that starts jails, required or not: their absence is logged."""


def survey_walls(
    seccomp_policy: Path, walls: Collection[Wall], cgroup: Path | None = None
) -> tuple[WallReport, ...]:
    """How these walls of the host stand, in the order of `Wall`.

    Args:
        seccomp_policy: The file with the system calls of jailed processes.
        walls: Which ones.
        cgroup: The subtree that the worker gets; None for the cgroup of this process.

    Raises:
        StockadeError: `jail.probe_failed`.
    """
    probed = probe_walls(seccomp_policy, walls)
    reports = [judge(wall, readings) for wall, readings in probed.items()]
    if Wall.CGROUP in walls:
        reports.append(judge_cgroup(cgroup))
    if Wall.KERNEL in walls:
        reports.append(judge_kernel())
    if Wall.PROCESSOR in walls:
        reports.append(judge_processor())
    if Wall.ENGINE in walls:
        reports.append(judge_engine(installed_engine(), load_advisories()))
    order = list(Wall)
    return tuple(sorted(reports, key=lambda report: order.index(report.wall)))


def require_walls(seccomp_policy: Path, required: frozenset[Wall]) -> tuple[Wall, ...]:
    """Returns when the required walls stand: those that are not whole, which it logs.

    Raises:
        StockadeError: `jail.wall_missing`, or `jail.probe_failed`.
    """
    reports = survey_walls(seccomp_policy, required | _TOLD_AT_START)
    for report in reports:
        if report.state is not WallState.OK:
            _log.warning(
                "wall_not_whole",
                wall=report.wall,
                state=report.state,
                required=report.wall in required,
                finding=report.finding,
            )
    missing = missing_walls(reports, required)
    if missing:
        raise walls_missing(missing)
    return tuple(report.wall for report in reports if report.state is not WallState.OK)
