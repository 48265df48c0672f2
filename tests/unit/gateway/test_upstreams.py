"""A tenant sees its own upstreams that fail, and lets calls out again."""

from stockade.core.api_keys import ApiKey, generate_key
from stockade.core.principals import Role
from stockade.core.upstreams import CallFailure
from tests.unit.gateway.installation import Installation, refused

API, STAR = "http_fetch:api.example.org", "http_fetch:*.example.org:8443"
PATHS = {API: "http_fetch:api.example.org", STAR: "http_fetch:%2A.example.org%3A8443"}


async def fail(gateway: Installation, tenant: str, upstream: str, times: int) -> None:
    for _ in range(times):
        await gateway.services.upstreams.fail(tenant, upstream, CallFailure("5xx", 4, 12))


async def test_what_fails_is_listed(gateway: Installation) -> None:
    assert (await gateway.http.get("/v1/upstreams")).json() == {"upstreams": []}
    await fail(gateway, "alice", STAR, 1)
    await fail(gateway, "alice", API, 3)
    once, out = (await gateway.http.get("/v1/upstreams")).json()["upstreams"]
    assert set(out) == {
        *("upstream", "state", "failures", "cause", "since_ms", "next_probe_ms", "failed_probes")
    }
    assert (out["upstream"], out["state"], out["failures"]) == (API, "open", 3)
    assert out["since_ms"] <= out["next_probe_ms"]
    assert (once["upstream"], once["state"], once["cause"]) == (STAR, "closed", "5xx")
    assert once["next_probe_ms"] is None


async def test_a_reset_forgets_it_and_tells_the_workers(gateway: Installation) -> None:
    news = gateway.services.upstream_news
    await news.hear(0)
    for upstream, path in PATHS.items():
        await fail(gateway, "alice", upstream, 3)
        assert (await gateway.http.delete(f"/v1/upstreams/{path}")).status_code == 204
        refused(await gateway.http.delete(f"/v1/upstreams/{path}"), 404, "upstream.not_found")
        assert await news.hear(0) == [("alice", upstream)]
    assert (await gateway.http.get("/v1/upstreams")).json() == {"upstreams": []}


async def test_another_tenants_are_not_there(gateway: Installation) -> None:
    await fail(gateway, "alice", API, 3)
    async with gateway.client(await gateway.new_key("bob")) as bob:
        assert (await bob.get("/v1/upstreams")).json() == {"upstreams": []}
        refused(await bob.delete(f"/v1/upstreams/{API}"), 404, "upstream.not_found")
    assert len((await gateway.http.get("/v1/upstreams")).json()["upstreams"]) == 1


async def test_names_that_are_none_are_not_found(gateway: Installation) -> None:
    for name in ("x" * 301, "%0d%0a", "%00", "http_fetch:"):
        answer = await gateway.http.delete(f"/v1/upstreams/{name}")
        refused(answer, 404, "upstream.not_found")
        assert len(answer.content) < 1000


async def test_a_viewer_lists_and_does_not_reset(gateway: Installation) -> None:
    await fail(gateway, "alice", API, 3)
    text, made = generate_key("test")
    key = ApiKey(made.id, "alice", "k", made.secret_hash, 0, role=Role.VIEWER)
    await gateway.catalog.add_key(key)
    async with gateway.client(text) as viewer:
        assert (await viewer.get("/v1/upstreams")).status_code == 200
        refused(await viewer.delete(f"/v1/upstreams/{API}"), 403, "auth.denied")
