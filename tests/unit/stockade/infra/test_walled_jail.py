from pathlib import Path

import pytest

from stockade.core.errors import StockadeError
from stockade.core.jail_control import JailRole
from stockade.infra.walled_jail import open_jail

POLICIES = Path(__file__).parents[4] / "policies"


async def test_a_jail_opens_where_its_walls_stand() -> None:
    jail = await open_jail(POLICIES, "seccomp")
    try:
        child = await jail.fork(JailRole.EXECUTOR)
        child.connection.close()
        assert await child.ended() == 0
    finally:
        await jail.aclose()


async def test_no_jail_opens_without_a_required_wall(tmp_path: Path) -> None:
    with pytest.raises(StockadeError) as refused:
        await open_jail(tmp_path, "seccomp")
    assert refused.value.code == "jail.wall_missing"
