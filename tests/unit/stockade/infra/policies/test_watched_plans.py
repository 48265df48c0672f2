"""Plans: whole and sound, or nothing starts; they follow their files, or the last good stay."""

import asyncio
import shutil
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from stockade.core.errors import StockadeError
from stockade.core.limits import CEILINGS, DEFAULT_LIMITS
from stockade.core.plans import Plans
from stockade.infra.policies.watched_files import WatchedFiles
from stockade.infra.policies.watched_plans import plan_files, watched_plans

FUEL = "fuel = 100_000_000\n"
SHIPPED = Path(__file__).parents[5] / "policies"


@pytest.fixture
def policies(tmp_path: Path) -> Path:
    shutil.copytree(SHIPPED / "limits", tmp_path / "limits")
    shutil.copy(SHIPPED / "plans.toml", tmp_path)
    return tmp_path


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def settle(plans: WatchedFiles[Plans]) -> list[str]:
    with capture_logs() as logs:
        plans.refresh()
        plans.refresh()
    return [log["event"] for log in logs]


def refusal(policies: Path) -> str:
    with pytest.raises(StockadeError) as caught:
        plan_files(policies)
    assert caught.value.code == "config.limits_invalid"
    return caught.value.message


def test_the_shipped_plan_of_all_is_what_core_says() -> None:
    plan = plan_files(SHIPPED).current.of("anyone")
    assert (plan.name, plan.defaults, plan.ceilings) == ("default", DEFAULT_LIMITS, CEILINGS)


def test_tenants_have_the_plans_that_are_named(policies: Path) -> None:
    change(policies / "plans.toml", "[tenants]\n", '[tenants]\nacme = "small"\nbig = "large"\n')
    change(policies / "plans.toml", 'default = "default"', 'default = "small"')
    plans = plan_files(policies).current
    assert [plans.of(tenant).name for tenant in ("acme", "big", "x")] == ["small", "large", "small"]


@pytest.mark.parametrize(
    ("file", "old", "new", "what"),
    [
        ("limits/small.toml", "[defaults]", "[defaults", "small.toml: Expected ']'"),
        ("limits/small.toml", "[ceilings]", "[other]", "small.toml: Object contains unknown field"),
        ("limits/small.toml", FUEL, "", "not so: ['fuel']"),
        ("limits/small.toml", FUEL, "fuel = 0\n", "the default of fuel is not"),
        (
            "limits/small.toml",
            FUEL,
            "fuel = 2_000_000_000\n",
            "small.toml: the d",
        ),
        ("limits/small.toml", FUEL, 'fuel = "much"\n', "Expected `int`"),
        ("limits/small.toml", FUEL, "fuel = 1\nfule = 1\n", "not so: ['fule']"),
        (
            "limits/small.toml",
            FUEL,
            "fuel = true\n",
            "Expected `int`, got `bool`",
        ),
        ("limits/large.toml", "1_073_741_824", "2_000_000_000", "the ceiling of memory_bytes is"),
        ("plans.toml", '"default"', '"none"', "plans.toml: there is no limits/none.toml"),
        ("plans.toml", "[tenants]", '[tenants]\nacme = "none"', "there is no limits/none.toml"),
        ("plans.toml", "[tenants]", '[tenants]\n"A B" = "small"', "The name of a tenant is"),
        ("plans.toml", "[tenants]", "[tenant]", "Object contains unknown field `tenant`"),
        ("plans.toml", "[tenants]", "[tenants]\nx = " + "[" * 5000, "plans.toml: "),
    ],
)
def test_broken_plans_are_refused(policies: Path, file: str, old: str, new: str, what: str) -> None:
    change(policies / file, old, new)
    assert what in refusal(policies)


def test_files_that_are_not_there_or_no_text(policies: Path) -> None:
    (policies / "limits" / "Bad Name.toml").write_text("")
    assert "The name of a plan is" in refusal(policies)
    (policies / "limits" / "Bad Name.toml").rename(policies / "limits" / ".hidden.toml")
    assert plan_files(policies).alarm is None
    (policies / "limits" / "small.toml").write_bytes(b"\xff")
    assert "small.toml" in refusal(policies)
    (policies / "limits" / "small.toml").write_bytes(b"#" * 5_000_000)
    assert "too large together" in refusal(policies)
    (policies / "plans.toml").unlink()
    assert "No such file" in refusal(policies)


def test_a_change_is_taken_and_a_broken_one_is_not(policies: Path) -> None:
    plans = plan_files(policies)
    assert settle(plans) == []
    change(policies / "plans.toml", "[tenants]\n", '[tenants]\nacme = "small"\n')
    assert settle(plans) == ["changed_files_taken"]
    assert plans.current.of("acme").name == "small"
    change(policies / "limits" / "small.toml", "[ceilings]", "[ceiling")
    assert settle(plans) == ["changed_files_refused"]
    assert plans.current.of("acme").name == "small"
    assert "small.toml" in str(plans.alarm)
    change(policies / "limits" / "small.toml", "[ceiling", "[ceilings]")
    assert settle(plans) == ["changed_files_taken"]
    assert plans.alarm is None


async def test_they_follow_their_files(policies: Path) -> None:
    async with watched_plans(policies, 0.001) as plans:
        change(policies / "plans.toml", 'default = "default"', 'default = "large"')
        async with asyncio.timeout(20):
            while plans.current.of("acme").name != "large":
                await asyncio.sleep(0.001)
