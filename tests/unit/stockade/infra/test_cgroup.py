"""Cgroups for executors, on a directory that stands for the kernel's; and on the kernel's own."""

from pathlib import Path

import pytest

from stockade.core.errors import StockadeError
from stockade.infra.cgroup import CgroupBounds, NoBounds

UNIFIED = [Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified")]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "cgroup.controllers").write_text("cpu memory pids\n", encoding="ascii")
    return tmp_path


def test_a_process_is_put_into_a_group_of_its_own(root: Path) -> None:
    bounds = CgroupBounds.open(root, 1000)
    assert (root / "cgroup.subtree_control").read_text() == "+memory +pids"
    bounds.hold(42)
    group = root / "executor-42"
    written = {path.name: path.read_text() for path in group.iterdir()}
    assert written == {
        "memory.max": "1000",
        "memory.swap.max": "0",
        "memory.oom.group": "1",
        "pids.max": "8",
        "cgroup.procs": "42",
    }


@pytest.mark.parametrize(
    ("events", "told"),
    [("low 0\noom 1\noom_kill 1\n", True), ("low 0\noom 1\noom_kill 0\n", False), ("", False)],
)
def test_an_end_at_the_bound_is_told(root: Path, events: str, *, told: bool) -> None:
    bounds = CgroupBounds.open(root, 1000)
    bounds.hold(42)
    assert bounds.ran_out_of_memory(42) is False
    (root / "executor-42" / "memory.events").write_text(events, encoding="ascii")
    assert bounds.ran_out_of_memory(42) is told
    assert bounds.ran_out_of_memory(43) is False


def test_a_group_is_removed_with_its_process(root: Path) -> None:
    bounds = CgroupBounds.open(root, 1000)
    (root / "executor-42").mkdir()
    bounds.let_go(42)
    assert not (root / "executor-42").exists()
    bounds.let_go(42)


def test_a_group_that_cannot_be_made_is_logged(root: Path) -> None:
    bounds = CgroupBounds.open(root, 1000)
    (root / "executor-42").write_text("a file where the group should be")
    bounds.hold(42)


def test_a_subtree_that_cannot_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StockadeError) as refused:
        CgroupBounds.open(tmp_path, 1000)
    assert refused.value.code == "config.cgroup_unusable"
    (tmp_path / "cgroup.controllers").write_text("cpu pids\n", encoding="ascii")
    with pytest.raises(StockadeError, match="no controller memory"):
        CgroupBounds.open(tmp_path, 1000)


@pytest.mark.parametrize("root", UNIFIED)
def test_the_kernels_own_root_is_told_apart(root: Path) -> None:
    controllers = root / "cgroup.controllers"
    if not controllers.exists():
        pytest.skip(f"{root} is no cgroup v2 mount")
    if "memory" in controllers.read_text(encoding="ascii").split():
        pytest.skip("the whole host's group has the controller here; nothing of it is touched")
    with pytest.raises(StockadeError) as refused:
        CgroupBounds.open(root, 1000)
    assert refused.value.code == "config.cgroup_unusable"


def test_without_cgroups_nothing_is_held() -> None:
    bounds = NoBounds()
    bounds.hold(1)
    bounds.let_go(1)
    assert bounds.ran_out_of_memory(1) is False
