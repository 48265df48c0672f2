"""What the clients say about attestations."""

import httpx

from stockade_client import AsyncClient, Attestation, Client
from tests.unit.sdk_python.fake_gateway import DIGEST, FakeGateway

PLACE = f"/v1/modules/{DIGEST}/attestations"
ID = "sha256:" + "b" * 64
SHOWN = {
    "id": ID,
    "created_ms": 5,
    "signers": ["ci"],
    "predicate_type": "https://slsa.dev/provenance/v1",
    "builders": ["https://example.org/builder"],
    "sources": ["https://example.org/app", "https://example.org/app@0123"],
    "refusal": None,
}
FOUND = Attestation(
    ID,
    5,
    ("ci",),
    "https://slsa.dev/provenance/v1",
    ("https://example.org/builder",),
    ("https://example.org/app", "https://example.org/app@0123"),
)
REFUSED = SHOWN | {
    "signers": [],
    "predicate_type": None,
    "refusal": {"code": "attestation.signer_revoked", "detail": "Gone.", "status": 422},
}


def gateway() -> FakeGateway:
    made = FakeGateway().on(f"POST {PLACE}", httpx.Response(201, json=SHOWN))
    made.on(f"GET {PLACE}", httpx.Response(200, json={"attestations": [SHOWN, REFUSED]}))
    return made.on(f"GET {PLACE}/{ID}", httpx.Response(200, content=b"envelope"))


def test_attestations_are_put_listed_and_fetched() -> None:
    fake = gateway()
    client = Client("http://gateway", "stk_key", transport=fake.transport)
    assert client.attest_module(DIGEST, b"envelope") == FOUND
    assert fake.last.content == b"envelope"
    assert fake.last.headers["content-type"] == "application/vnd.dsse.envelope.v1+json"
    good, bad = client.attestations(DIGEST)
    assert good == FOUND
    assert bad.refusal == ("attestation.signer_revoked", "Gone.")
    assert client.attestation(DIGEST, ID) == b"envelope"


async def test_the_asyncio_client_says_the_same() -> None:
    transport = gateway().transport
    async with AsyncClient("http://gateway", "stk_key", transport=transport) as client:
        assert await client.attest_module(DIGEST, b"envelope") == FOUND
        assert (await client.attestations(DIGEST))[0] == FOUND
        assert await client.attestation(DIGEST, ID) == b"envelope"
