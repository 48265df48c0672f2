"""Admission by the real service: a flood is refused and told when to come back, others go on."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from registry.signing import sign
from stockade.core.api_keys import ApiKey, generate_key
from stockade.infra.sql.sql_catalog import SqlCatalog
from stockade.infra.system_clock import SystemClock
from stockade_client import Client, StockadeApiError
from tests.e2e.service import KEY, PUBLIC, Service, running_service
from tests.e2e.test_bad_requests import _child_named, _until, refused
from tests.guest import guests

POLICIES = Path(__file__).parents[2] / "policies"
SHARES = """
[default]
[tenants]
flood = { rate_per_second = 0.5, burst = 3 }
once = { rate_per_second = 0.001, burst = 1 }
crowd = { backlog = 3 }
[shedding]
waiting_limit = 20
low = 0.2
few = 0
"""
SUBMIT = "/v1/functions/echo/invocations"
IN_AN_HOUR = datetime.fromtimestamp(SystemClock().now_ms() / 1000 + 3600, UTC)
LATER = {"Stockade-Run-At": IN_AN_HOUR.isoformat()}


@pytest.fixture(scope="module")
def bounded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """An installation with bounds that a test can pass."""
    place = tmp_path_factory.mktemp("admission")
    shutil.copytree(POLICIES, place / "policies")
    (place / "policies" / "shares.toml").write_text(SHARES, encoding="utf-8")
    policies = str(place / "policies")
    with running_service(place / "data", STOCKADE_POLICY_DIR=policies) as service:
        yield service


@contextmanager
def tenant(service: Service, name: str) -> Iterator[httpx.Client]:
    """A client with the key of a new tenant that has deployed the echo."""
    key = asyncio.run(_added(service, name))
    (service.data_dir / f"{name}.key").write_text(key, encoding="ascii")
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=service.url, headers=headers, timeout=60) as http:
        trusted = {"name": "tests", "public_key": PUBLIC}
        assert http.post("/v1/signers", json=trusted).status_code == 201
        wasm = {"content-type": "application/wasm"}
        module = http.post("/v1/modules", content=sign(guests.ECHO, KEY), headers=wasm).json()
        deployed = http.put("/v1/functions/echo", json={"module": module["digest"]})
        assert deployed.status_code == 201, deployed.text
        yield http


async def _added(service: Service, name: str) -> str:
    catalog = await SqlCatalog.open(f"sqlite:///{service.data_dir}/catalog.sqlite")
    text, key = generate_key("dev")
    await catalog.ensure_tenant(name)
    await catalog.add_key(ApiKey(key.id, name, "tests", key.secret_hash, 0))
    await catalog.aclose()
    return text


def test_a_flood_is_refused_waits_as_told_and_gets_through(bounded: Service) -> None:
    with (
        tenant(bounded, "flood") as flood,
        tenant(bounded, "calm") as calm,
        ThreadPoolExecutor(8) as threads,
    ):
        began = time.monotonic()
        sent = [threads.submit(flood.post, SUBMIT, content=b"x") for _ in range(40)]
        for n in range(10):
            answer = calm.post("/v1/functions/echo/invoke", content=b"%d" % n)
            assert (answer.status_code, answer.content) == (200, b"%d" % n)
        answers = [one.result() for one in sent]
        taken = [answer for answer in answers if answer.status_code == 202]
        assert 3 <= len(taken) <= 4 + (time.monotonic() - began) / 2
        over = [answer for answer in answers if answer.status_code != 202]
        assert over
        for answer in over:
            facts = refused(answer, 429, "tenant.rate_limited")["facts"]
            assert isinstance(facts, dict)
            assert 0 < facts["retry_after_ms"] <= 2000
            assert answer.headers["retry-after"] in {"1", "2"}
        _waits_as_told(bounded)
        for answer in taken:
            _until(lambda place=answer.headers["location"]: _state(flood, place) == "done")


def _waits_as_told(service: Service) -> None:
    key = (service.data_dir / "flood.key").read_text(encoding="ascii")
    with Client(service.url, key) as client:
        seconds = _refused_for(client)
        while seconds is None:
            seconds = _refused_for(client)
        at = time.monotonic() + seconds
        _until(lambda: time.monotonic() > at)
        assert client.wait(client.submit("echo", b"in time"), 30).outcome == "completed"


def _refused_for(client: Client) -> float | None:
    try:
        client.submit("echo", b"once more")
    except StockadeApiError as refusal:
        assert refusal.code == "tenant.rate_limited"  # noqa: PT017 (either may happen)
        return refusal.retry_after_seconds
    return None


def _state(http: httpx.Client, place: str) -> object:
    return http.get(place).json()["state"]


def test_a_rate_outlives_the_queues_server_and_fails_closed(bounded: Service) -> None:
    with tenant(bounded, "once") as once:
        assert once.post(SUBMIT, headers={"Idempotency-Key": "k"}).status_code == 202
        refused(once.post(SUBMIT), 429, "tenant.rate_limited")
        valkey = _child_named(bounded.process.pid, "valkey-server")
        os.kill(valkey, signal.SIGSTOP)
        try:
            refused(once.post(SUBMIT), 503, "queue.unavailable")
        finally:
            os.kill(valkey, signal.SIGKILL)
        _until(lambda: once.get("/readyz").status_code == 200)
        answer = once.post(SUBMIT)
        refused(answer, 429, "tenant.rate_limited")
        assert 900 < int(answer.headers["retry-after"]) <= 1000
        assert once.post(SUBMIT, headers={"Idempotency-Key": "k"}).status_code == 202
    key_file = bounded.data_dir / "once.key"
    command = [sys.executable, "-m", "stockade.cli.main", "invoke", "echo", "--async"]
    told = subprocess.run(
        [*command, "--url", bounded.url, "--api-key-file", str(key_file)],
        input=b"",
        capture_output=True,
        check=False,
    )
    assert told.returncode == 2
    assert b"[tenant.rate_limited]" in told.stderr
    assert b"Try again in 9" in told.stderr


def test_what_waits_is_bounded_for_a_tenant_and_for_all(bounded: Service) -> None:
    with tenant(bounded, "crowd") as crowd, tenant(bounded, "other") as other:
        kept = [crowd.post(SUBMIT, headers=LATER) for _ in range(3)]
        answer = crowd.post(SUBMIT, headers=LATER)
        assert refused(answer, 429, "queue.full")["facts"] == {
            "limit": 3,
            "waiting": 3,
            "retry_after_ms": 5000,
        }
        assert answer.headers["retry-after"] == "5"
        kept.append(other.post(SUBMIT, headers=LATER))
        low = {"Stockade-Priority": "low"}
        answer = other.post(SUBMIT, headers=low)
        refused(answer, 503, "queue.shedding")
        assert answer.headers["retry-after"] == "2"
        assert other.post(SUBMIT).status_code == 202
        for http, answer in zip([crowd] * 3 + [other], kept, strict=True):
            assert http.post(f"{answer.headers['location']}/cancel").status_code == 200
        assert other.post(SUBMIT, headers=low).status_code == 202
        counted = httpx.get(f"{bounded.url}/metrics").text
        assert 'stockade_gateway_refusals_total{code="queue.shedding"} 1.0' in counted
        assert not any(name in counted for name in ("crowd", "other", "echo"))
