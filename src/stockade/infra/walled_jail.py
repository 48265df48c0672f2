"""A jail on a host whose walls were tried first."""

import asyncio
from pathlib import Path

from stockade.core.walls import Wall, parse_walls
from stockade.infra.host_walls.survey import require_walls
from stockade.infra.zygote_jail import ZygoteJail


async def open_jail(policy_dir: Path, required: str) -> ZygoteJail:
    """The jail that workers and gateways use.

    Args:
        policy_dir: Where `seccomp/guest.toml` is.
        required: The walls without which there is no jail, as `parse_walls` reads them.

    Raises:
        StockadeError: `jail.wall_missing`, or `jail.probe_failed`.
    """
    walls, seccomp_policy = parse_walls(required), policy_dir / "seccomp" / "guest.toml"
    weak = await asyncio.to_thread(require_walls, seccomp_policy, walls)
    return ZygoteJail(
        seccomp_policy, landlock_required=Wall.LANDLOCK in walls, weak_walls=tuple(map(str, weak))
    )
