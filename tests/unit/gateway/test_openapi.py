"""The OpenAPI document tells bodies, headers, refusals and which calls want no key."""

from tests.unit.gateway.installation import Installation

BODIES = {
    "/v1/functions/{name}": "put",
    "/v1/functions/{name}/aliases/{alias}": "put",
    "/v1/functions/{name}/trust": "put",
    "/v1/functions/{name}/aliases/{alias}/promote": "post",
    "/v1/signers": "post",
    "/v1/signers/{name}/rotate": "post",
    "/v1/signers/{name}/revoke": "post",
    "/v1/keys": "post",
    "/v1/keys/{key_id}/rotate": "post",
    "/v1/oidc/token": "post",
    "/v1/modules": "post",
    "/v1/modules/{digest}/attestations": "post",
    "/v1/modules:from-oci": "post",
    "/v1/modules:to-oci": "post",
    "/v1/functions/{name}/invoke": "post",
    "/v1/functions/{name}/invocations": "post",
    "/v1/functions/{name}/invocations:batch": "post",
    "/v1/dead-letters/redrive": "post",
    "/v1/schedules/{name}": "put",
    "/v1/secrets/{name}": "put",
    "/v1/retries/import": "post",
}


async def test_the_document(gateway: Installation) -> None:
    document = (await gateway.http.get("/openapi.json")).json()
    assert document["security"] == [{"key": []}]
    for path, calls in document["paths"].items():
        for method, call in calls.items():
            assert call["summary"], path
            assert call["description"], path
            assert "default" in call["responses"], path
            wants_key = path.startswith("/v1/") and path != "/v1/oidc/token"
            assert (call.get("security") == []) is not wants_key, path
            assert ("requestBody" in call) is (BODIES.get(path) == method), path
    invoke = document["paths"]["/v1/functions/{name}/invoke"]["post"]
    named = {parameter["name"] for parameter in invoke["parameters"]}
    assert {"name", "alias", "version", "Idempotency-Key", "Stockade-Wait-Seconds"} <= named
    assert {"200", "202", "422"} <= set(invoke["responses"])


async def test_every_reference_leads_somewhere(gateway: Installation) -> None:
    document = (await gateway.http.get("/openapi.json")).json()

    def references(part: object) -> list[str]:
        if isinstance(part, dict):
            own = [part["$ref"]] if "$ref" in part else []
            return own + [one for value in part.values() for one in references(value)]
        if isinstance(part, list):
            return [one for value in part for one in references(value)]
        return []

    known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert set(references(document)) <= known
    assert "#/components/schemas/DeployRequest" in references(document)
