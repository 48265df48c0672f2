import re
import tomllib
from pathlib import Path

import msgspec
import pytest

from stockade.core.walls import WallState
from stockade.infra.host_walls.engine_advisories import (
    Advisory,
    installed_engine,
    judge_engine,
    load_advisories,
    touching,
)

ROOT = Path(__file__).parents[4]
OK, WEAK, MISSING = WallState.OK, WallState.WEAK, WallState.MISSING


def _advisory(**facts: object) -> Advisory:
    given = {"id": "GHSA-1", "about": "a", "reached": True, "because": "b", **facts}
    return msgspec.convert(given, Advisory)


@pytest.mark.parametrize(
    ("engine", "touched"),
    [
        ("35.9.9", False),
        ("36.0.0", True),
        ("36.0.6", True),
        ("36.0.7", False),
        ("36.1.0", False),
        ("37.0.0", True),
        ("42.0.1", True),
        ("42.0.2", False),
        ("43.0.0", True),
        ("43.0.1", False),
        ("44.0.0", False),
        ("100.0.0", False),
    ],
)
def test_an_advisory_touches_what_was_not_mended(engine: str, *, touched: bool) -> None:
    advisory = _advisory(introduced="36.0.0", fixed=["43.0.1", "36.0.7", "42.0.2"])
    assert advisory.touches(engine, "x86_64") is touched


def test_an_advisory_touches_only_its_machines() -> None:
    advisory = _advisory(fixed=["2.0.0"], machines=["aarch64"])
    assert advisory.touches("1.0.0", "aarch64")
    assert not advisory.touches("1.0.0", "x86_64")


def test_the_list_names_each_advisory_once_as_its_publisher_does() -> None:
    known = load_advisories()
    names = [name for item in known.advisory for name in (item.id, *item.aliases)]
    assert len(names) == len(set(names))
    form = r"GHSA(-[23456789cfghjmpqrvwx]{4}){3}|RUSTSEC-\d{4}-\d{4}|CVE-\d{4}-\d{4,7}"
    assert [name for name in names if not re.fullmatch(form, name)] == []
    assert all(item.id.startswith("GHSA-") for item in known.advisory)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", known.known_until)


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_engine_that_this_release_names_has_no_defect_that_a_guest_reaches(
    machine: str,
) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (named,) = (item for item in project["dependencies"] if item.startswith("wasmtime"))
    report = judge_engine(named.removeprefix("wasmtime=="), load_advisories(), machine)
    assert report.state is not MISSING, report.finding


def test_the_advisories_of_one_release_are_told_for_the_one_before() -> None:
    found = touching("50.0.1", load_advisories(), "x86_64")
    assert len(found) == 9
    assert judge_engine("50.0.1", load_advisories(), "x86_64").state is WEAK
    assert judge_engine("50.0.3", load_advisories(), "x86_64").state is OK
    assert judge_engine("51.0.0", load_advisories(), "x86_64").state is OK


@pytest.mark.parametrize(
    ("engine", "machine", "finding"),
    [
        ("", "x86_64", "unknown (none)"),
        ("50.0", "x86_64", "unknown (50.0)"),
        ("50.0.3rc1", "x86_64", "unknown"),
        ("49.0.6", "x86_64", "older than the list"),
        ("42.0.1", "x86_64", "GHSA-6wgr-89rj-399p"),
        ("48.0.1", "aarch64", "GHSA-mghf-wjfp-p5xm"),
    ],
)
def test_an_engine_that_is_old_or_unknown_is_no_wall(
    engine: str, machine: str, finding: str
) -> None:
    report = judge_engine(engine, load_advisories(), machine)
    assert report.state is MISSING
    assert finding in report.finding


def test_a_list_with_a_version_that_is_none_is_our_own_mistake() -> None:
    with pytest.raises(ValueError, match="no version of the engine"):
        _advisory(fixed=["soon"]).touches("1.0.0", "x86_64")


def test_an_engine_that_is_not_installed_has_no_version() -> None:
    assert installed_engine("wasmtime-that-is-not-there") == ""


def test_the_installed_engine_is_found() -> None:
    assert judge_engine(installed_engine(), load_advisories()).readings["version"]
