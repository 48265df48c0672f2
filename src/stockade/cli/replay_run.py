"""Runs a replay here: in a jail of our own, by the worker's code, never in this process."""

import asyncio
from pathlib import Path

import typer

from sandbox_worker.replay import Replayed, ReplayPlan, replay
from stockade.cli.paths import policy_dir as default_policy_dir
from stockade.core.jail_control import engine_of
from stockade.core.walls import Wall, missing_walls, parse_walls, walls_missing
from stockade.infra.host_walls.survey import survey_walls
from stockade.infra.jailed_compiler import JailedCompiler
from stockade.infra.zygote_jail import ZygoteJail


def run_again(plan: ReplayPlan, policies: Path | None, walls: str) -> tuple[str, Replayed]:
    """The engine that is here, and how the run ended in it.

    Raises:
        StockadeError: `jail.…`, `module.…`, `replay.secret_differs`, `cli.policies_missing`.
        typer.BadParameter: `walls` names none.
    """
    try:
        required = parse_walls(walls)
    except ValueError as error:
        raise typer.BadParameter(f"{error}.", param_hint="--require-walls") from error
    policy = (policies or default_policy_dir()) / "seccomp" / "guest.toml"
    missing = missing_walls(survey_walls(policy, required), required)
    if missing:
        raise walls_missing(missing)
    return asyncio.run(_run(plan, policy, required))


async def _run(
    plan: ReplayPlan, seccomp_policy: Path, required: frozenset[Wall]
) -> tuple[str, Replayed]:
    jail = ZygoteJail(seccomp_policy, landlock_required=Wall.LANDLOCK in required)
    try:
        engine = engine_of(await jail.engine_fingerprint())
        return engine, await replay(jail, JailedCompiler(jail), plan)
    finally:
        await jail.aclose()
