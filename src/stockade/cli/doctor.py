"""`stockade doctor`: which walls stand on this host, what is missing, how to get it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stockade.cli.options import JsonFlag
from stockade.cli.paths import policy_dir as default_policy_dir
from stockade.cli.reporting import reported
from stockade.cli.words import EXIT_PLATFORM, fail
from stockade.core.walls import (
    DEFAULT_REQUIRED,
    REQUIRABLE,
    Wall,
    WallReport,
    missing_walls,
    parse_walls,
)

if TYPE_CHECKING:
    from stockade.cli.doctor_report import Findings

_PolicyDir = Annotated[
    Path | None,
    typer.Option(
        envvar="STOCKADE_POLICY_DIR",
        exists=True,
        file_okay=False,
        help="Directory with the policies. Default: those that were installed.",
        show_default=False,
    ),
]
_Required = Annotated[
    str,
    typer.Option(
        "--require-walls",
        envvar="STOCKADE_REQUIRE_WALLS",
        metavar="WALL,…",
        help="The walls that must stand, as for 'stockade serve'.",
    ),
]
_Cgroup = Annotated[
    Path | None,
    typer.Option(
        envvar="STOCKADE_CGROUP",
        help="Cgroup v2 directory that the worker gets. Default: this process's own.",
        show_default=False,
    ),
]
_RedisUrl = Annotated[
    str | None,
    typer.Option(
        envvar="STOCKADE_REDIS_URL",
        metavar="URL",
        help="Ask this Redis or Valkey, too, whether it keeps what it acknowledged.",
        show_default=False,
    ),
]
_Strict = Annotated[
    bool, typer.Option("--strict", help="Exit with 1 when a required wall is missing.")
]


@reported
def doctor(
    *,
    strict: _Strict = False,
    require_walls: _Required = DEFAULT_REQUIRED,
    policy_dir: _PolicyDir = None,
    cgroup: _Cgroup = None,
    redis_url: _RedisUrl = None,
    as_json: JsonFlag = False,
) -> None:
    """Try the walls of this host: what stands between it and a guest, and how to get the rest.

    Each wall is tried for real, in processes that are thrown away; nothing is changed.

    Run it where workers run: on their host, in their container, as their user.
    """
    from stockade.cli.doctor_report import show  # noqa: PLC0415 - keeps --help fast

    required = _required(require_walls)
    findings = _findings(policy_dir or default_policy_dir(), required, cgroup, redis_url)
    show(findings, as_json=as_json)
    if strict and findings.missing:
        names = ", ".join(findings.missing)
        message = f"Required walls are missing: {names}. What to do stands with each of them."
        fail(message, "jail.wall_missing", status=EXIT_PLATFORM)


def _required(text: str) -> frozenset[Wall]:
    try:
        return parse_walls(text)
    except ValueError as error:
        raise typer.BadParameter(f"{error}.", param_hint="--require-walls") from error


def _findings(
    policies: Path, required: frozenset[Wall], cgroup: Path | None, redis_url: str | None
) -> "Findings":
    import platform  # noqa: PLC0415 - keeps --help fast

    from stockade.cli.doctor_report import Findings  # noqa: PLC0415 - likewise
    from stockade.infra.host_walls import engine_advisories  # noqa: PLC0415 - likewise
    from stockade.infra.host_walls.survey import survey_walls  # noqa: PLC0415 - likewise

    reports = survey_walls(policies / "seccomp" / "guest.toml", REQUIRABLE, cgroup)
    if redis_url is not None:
        reports = (*reports, _durability(redis_url))
    engine, known = engine_advisories.installed_engine(), engine_advisories.load_advisories()
    touching = engine_advisories.touching(engine, known, platform.machine())
    return Findings(reports, required, missing_walls(reports, required), touching)


def _durability(url: str) -> WallReport:
    import asyncio  # noqa: PLC0415 - keeps --help fast

    from stockade.infra.host_walls.durability import judge_durability  # noqa: PLC0415 - likewise

    return asyncio.run(judge_durability(url))
