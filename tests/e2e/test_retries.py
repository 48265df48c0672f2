"""Retries end to end: a limit that is too low is raised by what was learned, and all of it told."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.service import PUBLIC, Service, running_service
from tests.guest import guests

COUNT = guests.module(
    """(local i32)
    (loop (local.set 2 (i32.add (local.get 2) (i32.const 1)))
      (br_if 0 (i32.lt_u (local.get 2) (i32.const 400000))))
    (i32.store8 (i32.const 2048) (i32.const 0))"""
    + guests.answer("(i32.const 2048)", "(i32.const 1)")
)
"""Needs more than two million of fuel, and less than four."""
LIMITS = {"fuel": 2_000_000}


def record_of(service: Service, name: str) -> dict[str, Any]:
    answer = service.invoke(name)
    invocation = answer.headers["stockade-invocation-id"]
    record: dict[str, Any] = service.http.get(f"/v1/invocations/{invocation}").json()
    return record


def command(service: Service, *words: str) -> str:
    key = service.http.headers["Authorization"].removeprefix("Bearer ")
    return subprocess.run(
        [sys.executable, "-m", "stockade.cli.main", *words, "--url", service.url],
        env={"STOCKADE_API_KEY": key, "PATH": "", "COLUMNS": "300"},
        check=True,
        capture_output=True,
        text=True,
    ).stdout


def told(service: Service, path: str, is_told: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The answer, once workers have told what they saw."""
    for _ in range(300):
        found: dict[str, Any] = service.http.get(path).json()
        if is_told(found):
            return found
        time.sleep(0.05)
    raise AssertionError(found)


def test_a_run_that_needs_more_fuel_than_it_has_completes_at_the_second_attempt(
    service: Service,
) -> None:
    service.deploy("needy", COUNT, limits=LIMITS, retry={"policy": "learned"})
    record = record_of(service, "needy")
    assert record["outcome"] == "completed"
    first, second = record["attempts"]
    assert (first["outcome"], first["limit"], first["code"]) == (
        "limit_exceeded",
        "fuel",
        "limit_raised",
    )
    assert first["reason"].startswith("The fuel limit rises from 2000000 to 4000000")
    assert (first["policy"], first["success"] > 0) == ("learned", True)
    assert (first["shadow"]["policy"], first["shadow"]["code"]) == ("fixed", "certain")
    assert (second["outcome"], second["limits"]["fuel"]) == ("completed", 4_000_000)
    shown = command(service, "runs", "show", str(record["id"]))
    assert "The fuel limit rises from 2000000 to 4000000" in shown
    assert "fuel=4000000" in shown
    assert "The fuel limit was raised after attempt 1." in shown
    assert "The module is deterministic: the same input fails again." in shown
    report = told(service, "/v1/functions/needy/retry-report", lambda one: one["attempts"] == 2)
    assert (report["decisions"], report["shadow_stops"]) == (1, 1)
    effect = report["effect"]
    assert (effect["saved_attempts"], effect["lost_successes"]) == (1, 1)
    assert "shadow loses      1 successes" in command(service, "retries", "report", "needy")
    assert "PRESENT" in command(service, "functions", "advise", "needy")


@pytest.mark.parametrize("policy", ["fixed", "never"])
def test_other_policies_give_such_a_run_up_at_once(service: Service, policy: str) -> None:
    service.deploy(f"needy-{policy}", COUNT, limits=LIMITS, retry={"policy": policy})
    (attempt,) = record_of(service, f"needy-{policy}")["attempts"]
    assert (attempt["outcome"], attempt["policy"]) == ("limit_exceeded", policy)
    assert attempt["code"] == {"fixed": "certain", "never": "never"}[policy]
    shadow = attempt["shadow"]
    assert (shadow and shadow["code"]) == {"fixed": "limit_raised", "never": None}[policy]


def test_automatic_limits_follow_what_runs_needed(service: Service) -> None:
    service.deploy("auto", COUNT, limits={"fuel": "auto"})
    first = record_of(service, "auto")["attempts"][0]
    assert (first["limits"], first["outcome"]) == (None, "completed")
    assert first["limits_reason"].startswith("Automatic limits: fuel by default")
    for _ in range(35):
        service.invoke("auto")
    for _ in range(100):
        attempt = record_of(service, "auto")["attempts"][0]
        if attempt["limits"] is not None:
            break
    used = attempt["usage"]["fuel"]
    assert 2 * used <= attempt["limits"]["fuel"] <= 2.3 * used
    assert "by the need of" in attempt["limits_reason"]
    path = "/v1/functions/auto/advice"
    fuel = told(service, path, lambda one: one["limits"][0]["runs"] >= 30)["limits"][0]
    assert fuel["automatic"]
    assert fuel["most"] < fuel["suggested"] < fuel["ceiling"]


def test_what_was_learned_outlives_a_restart_and_can_be_frozen_and_forgotten(
    tmp_path: Path,
) -> None:
    path = "/v1/functions/needy/retries"
    with running_service(tmp_path / "data") as first:
        trusted = {"name": "tests", "public_key": PUBLIC}
        assert first.http.post("/v1/signers", json=trusted).status_code == 201
        first.deploy("needy", COUNT, limits=LIMITS, retry={"policy": "learned"})
        for _ in range(5):
            first.invoke("needy")
    with running_service(tmp_path / "data") as again:
        found = told(again, path, lambda one: one["first_attempts"]["trials"] > 4.9)
        (rate,) = found["retries"]
        assert (rate["basis"][:6], rate["trials"] > 4.9, rate["success"] > 0.7) == (
            "lim.f.", True, True,
        )  # fmt: skip
        second = record_of(again, "needy")["attempts"][1]
        assert second["outcome"] == "completed"
        told(again, path, lambda one: one["first_attempts"]["trials"] > 5.9)
        command(again, "retries", "freeze", "needy")
        exported = command(again, "retries", "export", "needy")
        told(again, path, lambda one: one["frozen"])
        again.invoke("needy")
        command(again, "retries", "reset", "--tenant")
        assert not again.http.get(path).json()["retries"]
        (tmp_path / "learned.json").write_text(exported)
        command(again, "retries", "import", str(tmp_path / "learned.json"))
        assert again.http.get(path).json()["first_attempts"]["trials"] > 5.9
        assert "lim.f." in command(again, "retries", "state", "needy")
