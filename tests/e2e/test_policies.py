"""A running installation follows its policies: within seconds, and never half of them."""

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.service import PUBLIC, Service, running_service
from tests.guest import guests

SHIPPED = Path(__file__).parents[2] / "policies"
CLOSED = '@id("closed") forbid (principal, action == Action::"invoke", resource);\n'
WITHIN_SECONDS = 10.0


@pytest.fixture(scope="module")
def policies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(SHIPPED, tmp_path_factory.mktemp("policies") / "p"))


@pytest.fixture(scope="module")
def service(policies: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    data = tmp_path_factory.mktemp("stockade") / "data"
    with running_service(data, STOCKADE_POLICY_DIR=str(policies)) as running:
        trusted = {"name": "tests", "public_key": PUBLIC}
        assert running.http.post("/v1/signers", json=trusted).status_code == 201
        running.deploy("hello", guests.ECHO)
        yield running


def soon(holds: Callable[[], bool]) -> None:
    ends = time.monotonic() + WITHIN_SECONDS
    while not holds():
        assert time.monotonic() < ends
        time.sleep(0.05)


def stale(service: Service, files: str) -> bool:
    return f'stockade_policies_stale{{files="{files}"}} 1.0' in service.http.get("/metrics").text


def test_a_change_is_in_force_within_seconds_and_a_broken_one_never(
    service: Service, policies: Path
) -> None:
    rule = policies / "authorization" / "mine.cedar"
    assert service.invoke("hello", b"x").content == b"x"
    rule.write_text(CLOSED)
    soon(lambda: service.invoke("hello").status_code == 403)
    problem = service.invoke("hello").json()
    assert problem["code"] == "auth.denied"
    assert problem["facts"] == {"action": "invoke", "policies": ["closed"]}
    rule.write_text("permit (principal, action, resou")
    soon(lambda: stale(service, "authorization"))
    ready = service.http.get("/readyz")
    assert (ready.status_code, ready.json()["policies"]) == (200, "stale")
    assert service.invoke("hello").json()["facts"]["policies"] == ["closed"]
    log = (service.data_dir.parent / "data.log").read_text()
    assert "changed_files_refused" in log
    assert "mine.cedar:1: the policy does not end with" in log
    rule.unlink()
    soon(lambda: service.invoke("hello", b"y").content == b"y")
    assert not stale(service, "authorization")
    assert service.http.get("/readyz").json()["policies"] == "ok"


def test_a_plan_is_in_force_within_seconds(service: Service, policies: Path) -> None:
    book = policies / "plans.toml"
    shipped = book.read_text()
    digest = service.http.get("/v1/functions/hello").json()["module"]
    asked = {"module": digest, "limits": {"wall_ms": 100_000}}
    book.write_text(shipped + 'dev = "small"\n')
    soon(lambda: service.http.put("/v1/functions/big", json=asked).status_code == 400)
    problem = service.http.put("/v1/functions/big", json=asked).json()
    assert (problem["code"], problem["facts"]["plan"]) == ("limits.above_ceiling", "small")
    assert service.invoke("hello", b"x" * 2_000_000).status_code == 413
    book.write_text(shipped + 'dev = "none"\n')
    soon(lambda: stale(service, "plans"))
    assert service.http.put("/v1/functions/big", json=asked).status_code == 400
    book.write_text(shipped)
    soon(lambda: service.http.put("/v1/functions/big", json=asked).status_code == 200)
    assert not stale(service, "plans")
    assert service.invoke("hello", b"x" * 2_000_000).status_code == 200


def test_workers_follow_what_policies_say_of_signers(service: Service, policies: Path) -> None:
    rule = policies / "authorization" / "signers.cedar"
    rule.write_text('@id("nobody") forbid (principal, action == Action::"vouch", resource);')
    soon(lambda: service.invoke("hello").status_code >= 400)
    rule.unlink()
    soon(lambda: service.invoke("hello", b"z").content == b"z")
