"""Another tenant's objects read exactly like absent ones, at every call."""

import asyncio
from collections.abc import Iterator

import httpx
import pytest

from registry.signing import sign
from stockade.core.api_keys import ApiKey, generate_key
from stockade.infra.sql.sql_catalog import SqlCatalog
from tests.e2e.service import KEY, PUBLIC, Service, running_service
from tests.guest import guests

ABSENT_ID = "0190a1b2-0000-7000-8000-000000000000"
ABSENT_DIGEST = "sha256:" + "0" * 64


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running_service(tmp_path_factory.mktemp("isolation") / "data") as running:
        trusted = {"name": "tests", "public_key": PUBLIC}
        assert running.http.post("/v1/signers", json=trusted).status_code == 201
        yield running


@pytest.fixture(scope="module")
def rival(service: Service) -> Iterator[httpx.Client]:
    key = asyncio.run(_add_tenant(service, "rival"))
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=service.url, headers=headers, timeout=60) as client:
        yield client


async def _add_tenant(service: Service, tenant: str) -> str:
    catalog = await SqlCatalog.open(f"sqlite:///{service.data_dir}/catalog.sqlite")
    text, key = generate_key("dev")
    await catalog.ensure_tenant(tenant)
    await catalog.add_key(ApiKey(key.id, tenant, "tests", key.secret_hash, 0))
    await catalog.aclose()
    return text


def same_refusal(foreign: httpx.Response, absent: httpx.Response) -> None:
    """The two refusals differ in nothing but the name that was asked for."""
    assert foreign.status_code == absent.status_code == 404
    assert set(foreign.headers) == set(absent.headers)
    left, right = foreign.json(), absent.json()
    assert set(left) == set(right)
    assert left["code"] == right["code"]


def test_nothing_of_another_tenant_can_be_read_or_changed(
    service: Service, rival: httpx.Client
) -> None:
    digest = service.deploy("private", guests.ECHO)["module"]
    done = service.invoke("private", b"secret").headers["stockade-invocation-id"]
    for method, path, absent in [
        ("GET", f"/v1/modules/{digest}", f"/v1/modules/{ABSENT_DIGEST}"),
        ("GET", "/v1/functions/private", "/v1/functions/absent"),
        ("POST", "/v1/functions/private/invoke", "/v1/functions/absent/invoke"),
        ("POST", "/v1/functions/private/invocations", "/v1/functions/absent/invocations"),
        ("GET", f"/v1/invocations/{done}", f"/v1/invocations/{ABSENT_ID}"),
        ("GET", f"/v1/invocations/{done}/result", f"/v1/invocations/{ABSENT_ID}/result"),
        ("GET", f"/v1/invocations/{done}/logs", f"/v1/invocations/{ABSENT_ID}/logs"),
        ("POST", f"/v1/invocations/{done}/cancel", f"/v1/invocations/{ABSENT_ID}/cancel"),
        ("POST", "/v1/signers/tests/revoke", "/v1/signers/absent/revoke"),
    ]:
        same_refusal(rival.request(method, path), rival.request(method, absent))
    assert rival.get("/v1/functions").json()["functions"] == []
    assert rival.get("/v1/signers").json() == {"signers": []}
    assert service.invoke("private", b"still").content == b"still"


def test_a_module_of_another_tenant_cannot_be_deployed(
    service: Service, rival: httpx.Client
) -> None:
    digest = service.deploy("private", guests.ECHO)["module"]
    foreign = rival.put("/v1/functions/mine", json={"module": digest})
    absent = rival.put("/v1/functions/mine", json={"module": ABSENT_DIGEST})
    same_refusal(foreign, absent)


def test_a_signer_of_another_tenant_counts_for_nothing(
    service: Service, rival: httpx.Client
) -> None:

    service.deploy("private", guests.ECHO)
    headers = {"content-type": "application/wasm"}
    answer = rival.post("/v1/modules", content=sign(guests.ECHO, KEY), headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (422, "module.signer_unknown")


def test_idempotency_keys_are_each_tenants_own(service: Service, rival: httpx.Client) -> None:
    service.deploy("shared-name", guests.ECHO)
    rival.post("/v1/signers", json={"name": "tests", "public_key": PUBLIC})
    other = Service(service.url, service.data_dir, service.process, rival)
    other.deploy("shared-name", guests.ECHO)
    key = {"idempotency-key": "the-same"}
    ours = service.invoke("shared-name", b"ours", **key)
    theirs = other.invoke("shared-name", b"theirs", **key)
    assert (ours.content, theirs.content) == (b"ours", b"theirs")
