from pathlib import Path

import pytest

from tests.faults.soak import soak


@pytest.mark.undisturbed
async def test_random_faults_under_load_break_no_promise(tmp_path: Path) -> None:
    found = await soak(tmp_path, seconds=15.0, seed=7)
    assert found.kept, found
    assert sum(found.faults.values()) >= 2
    assert found.acknowledged >= 20
    assert found.outcomes["completed"] >= 0.9 * found.acknowledged
