"""Secrets go in and never come out."""

import pytest

from gateway.routes.secrets import MAX_SECRETS
from tests.unit.gateway.installation import Installation, refused

VALUE = b"s3cret \x00\xff"


async def test_a_secret_is_set_listed_and_deleted(gateway: Installation) -> None:
    first = await gateway.http.put("/v1/secrets/API_KEY", content=VALUE)
    again = await gateway.http.put("/v1/secrets/API_KEY", content=b"new")
    assert (first.status_code, again.status_code) == (201, 204)
    listed = (await gateway.http.get("/v1/secrets")).json()["secrets"]
    assert [one["name"] for one in listed] == ["API_KEY"]
    assert set(listed[0]) == {"name", "updated_ms"}
    assert (await gateway.http.delete("/v1/secrets/API_KEY")).status_code == 204
    refused(await gateway.http.delete("/v1/secrets/API_KEY"), 404, "secret.not_found")


async def test_what_is_stored_is_sealed(gateway: Installation) -> None:
    await gateway.http.put("/v1/secrets/API_KEY", content=VALUE)
    sealed = await gateway.catalog.secret("alice", "API_KEY")
    assert sealed is not None
    assert b"s3cret" not in sealed
    assert gateway.services.secret_box.open("alice", "API_KEY", sealed) == VALUE


async def test_no_call_answers_with_a_value(gateway: Installation) -> None:
    await gateway.http.put("/v1/secrets/API_KEY", content=VALUE)
    for method in ("GET", "POST", "PATCH"):
        answer = await gateway.http.request(method, "/v1/secrets/API_KEY")
        refused(answer, 405, "request.method_not_allowed")


async def test_another_tenants_are_not_there(gateway: Installation) -> None:
    await gateway.http.put("/v1/secrets/API_KEY", content=VALUE)
    async with gateway.client(await gateway.new_key("bob")) as bob:
        assert (await bob.get("/v1/secrets")).json() == {"secrets": []}
        refused(await bob.delete("/v1/secrets/API_KEY"), 404, "secret.not_found")


@pytest.mark.parametrize("name", ["1A", "a b", "a" * 64, "a%00", "%C3%A9", "a.b"])
async def test_a_bad_name_is_refused(gateway: Installation, name: str) -> None:
    for method in ("PUT", "DELETE"):
        answer = await gateway.http.request(method, f"/v1/secrets/{name}", content=b"x")
        refused(answer, 400, "secret.name_invalid")


async def test_a_value_is_neither_empty_nor_too_large(gateway: Installation) -> None:
    refused(await gateway.http.put("/v1/secrets/A", content=b""), 400, "request.invalid")
    large = b"x" * (64 * 1024 + 1)
    refused(await gateway.http.put("/v1/secrets/A", content=large), 413, "request.too_large")
    assert (await gateway.http.put("/v1/secrets/A", content=large[1:])).status_code == 201


async def test_a_tenant_has_so_many_secrets_and_no_more(gateway: Installation) -> None:
    for number in range(MAX_SECRETS):
        await gateway.catalog.put_secret("alice", f"s{number}", b"x", 1)
    answer = await gateway.http.put("/v1/secrets/one-more", content=b"v")
    assert refused(answer, 409, "secret.too_many")["facts"] == {"most": MAX_SECRETS}
    assert (await gateway.http.put("/v1/secrets/s0", content=b"v")).status_code == 204
    assert (await gateway.http.delete("/v1/secrets/s1")).status_code == 204
    assert (await gateway.http.put("/v1/secrets/one-more", content=b"v")).status_code == 201
