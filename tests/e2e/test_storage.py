"""A whole installation whose blobs stand in a bucket: gateway and worker share no directory."""

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from registry.admission import admit
from registry.keys import public_bytes
from registry.signing import sign
from registry.verification import verify_module
from stockade.core.blob_place import BlobPlace
from stockade.core.modules import FunctionContent, Signer, StoredModule
from stockade.infra.blobs.object_store import open_object_store
from stockade.infra.blobs.obstore_blobs import ObstoreBlobStore
from stockade.infra.sql.sql_catalog import SqlCatalog
from stockade.infra.system_clock import SystemClock
from tests.e2e.service import KEY, PUBLIC, Service, running_service
from tests.guest import guests
from tests.s3_server import SECRET, S3Server, s3_server

CLOCK = SystemClock()
BODIES = {
    name: guests.module("(unreachable)", extra=f'(func (export "{name}"))')
    for name in ("spoilt", "gone")
}


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


@pytest.fixture(scope="module")
def place(s3: S3Server, tmp_path_factory: pytest.TempPathFactory) -> BlobPlace:
    return s3.new_bucket(tmp_path_factory.mktemp("s3") / "credentials.toml")


@pytest.fixture(scope="module")
def settings(place: BlobPlace) -> dict[str, str]:
    assert place.bucket is not None
    return {
        "STOCKADE_BLOBS_URL": f"s3://{place.bucket.name}/{place.bucket.prefix}",
        "STOCKADE_BLOBS_ENDPOINT": place.endpoint,
        "STOCKADE_BLOBS_REGION": place.region,
        "STOCKADE_BLOBS_CREDENTIALS_FILE": str(place.credentials_file),
    }


@pytest.fixture(scope="module")
def service(
    settings: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    with running_service(tmp_path_factory.mktemp("stockade") / "data", **settings) as running:
        trusted = {"name": "tests", "public_key": PUBLIC}
        assert running.http.post("/v1/signers", json=trusted).status_code == 201
        yield running


def _key(digest: str) -> str:
    return f"sha256/{digest[7:9]}/{digest[9:]}"


def test_modules_and_large_payloads_go_through_the_bucket_alone(
    service: Service, s3: S3Server, place: BlobPlace
) -> None:
    deployed = service.deploy("echo", guests.ECHO)
    data = bytes(range(250)) * 1000
    assert service.invoke("echo", b"small").content == b"small"
    assert service.invoke("echo", data).content == data
    keys = s3.keys(place)
    assert _key(str(deployed["module"])) in keys
    assert [key for key in keys if re.fullmatch(r"payloads/dev/[0-9a-f-]{36}\.[0-9a-f]{64}", key)]
    blobs = (service.data_dir / "blobs").rglob("*")
    assert [path for path in blobs if path.is_file()] == []


def test_a_module_that_is_damaged_or_gone_never_runs_until_an_upload_mends_it(
    s3: S3Server, place: BlobPlace, settings: dict[str, str], tmp_path: Path
) -> None:
    data_dir = tmp_path / "data"
    data_dir.mkdir(mode=0o700)
    digests = asyncio.run(_installed(data_dir, place))
    s3.spoil(place, _key(digests["spoilt"]))
    s3.lose(place, _key(digests["gone"]))
    found = _checked(data_dir, settings)
    assert found["missing"] == [["dev", digests["gone"]]]
    assert found["corrupt"] == [["dev", digests["spoilt"]]]
    with running_service(data_dir, **settings) as service:
        for name, code in (("spoilt", "blobs.corrupt"), ("gone", "blobs.missing")):
            refused = service.invoke(name).json()
            assert refused["code"] == "invocation.cancelled"
            assert code in json.dumps(refused)
            assert service.upload(sign(BODIES[name], KEY)).status_code == 200
            assert service.invoke(name).json()["code"] == "invocation.trapped"
    assert _checked(data_dir, settings)["sound"] is True
    log = data_dir.with_name("data.log").read_text()
    assert "module_damaged" in log
    assert "module_missing" in log


def test_a_bucket_that_is_away_costs_a_clear_answer_and_no_more(
    service: Service, s3: S3Server
) -> None:
    body = guests.module("(unreachable)", extra='(func (export "away"))')
    with s3.away():
        answer = service.upload(sign(body, KEY))
        assert (answer.status_code, answer.json()["code"]) == (503, "blobs.unavailable")
        assert answer.json()["retryable"] is True
        assert service.http.get("/healthz").status_code == 200
    assert service.upload(sign(body, KEY)).status_code == 201


def test_no_log_has_the_credentials(service: Service) -> None:
    log = (service.data_dir.parent / f"{service.data_dir.name}.log").read_text()
    assert "blob_store_failed" in log
    assert SECRET not in log


def test_an_upload_cut_on_its_way_leaves_nothing(
    service: Service, s3: S3Server, place: BlobPlace
) -> None:
    before = s3.keys(place)
    body = sign(guests.module("(unreachable)", extra='(func (export "cut"))'), KEY)

    def half() -> Iterator[bytes]:
        yield body[: len(body) // 2]
        raise ConnectionAbortedError

    with pytest.raises((ConnectionAbortedError, httpx.TransportError)):
        service.http.post(
            "/v1/modules", content=half(), headers={"content-type": "application/wasm"}
        )
    assert service.http.get("/healthz").status_code == 200
    assert s3.keys(place) == before


async def _installed(data_dir: Path, place: BlobPlace) -> dict[str, str]:
    """What was uploaded and deployed before: the digest of each function's module."""
    catalog = await SqlCatalog.open(f"sqlite:///{data_dir / 'catalog.sqlite'}")
    blobs = ObstoreBlobStore(open_object_store(place, CLOCK))
    signer, now_ms, digests = Signer("tests", public_bytes(KEY)), CLOCK.now_ms(), {}
    await catalog.ensure_tenant("dev")
    await catalog.add_signer("dev", signer)
    for name, body in BODIES.items():
        verified = verify_module(sign(body, KEY), None, [signer], now_ms)
        facts = admit(verified.body)
        digests[name] = await blobs.put(verified.body)
        stored = StoredModule("dev", verified.digest, facts, (verified.signature,), now_ms)
        await catalog.add_module(stored)
        content = FunctionContent(verified.digest, facts.abi, facts.deterministic)
        await catalog.put_function("dev", name, content, now_ms)
    await catalog.aclose()
    return digests


def _checked(data_dir: Path, settings: dict[str, str]) -> dict[str, object]:
    """What the operator's check says of this installation."""
    database = {"STOCKADE_DATABASE_URL": f"sqlite:///{data_dir / 'catalog.sqlite'}"}
    done = subprocess.run(
        [sys.executable, "-m", "stockade.cli.main", "storage", "check", "--json"],
        env=os.environ | settings | database,  # noqa: TID251 - a child's
        capture_output=True,
        check=False,
    )
    found: dict[str, object] = json.loads(done.stdout)
    assert done.returncode == (0 if found["sound"] else 1)
    return found
