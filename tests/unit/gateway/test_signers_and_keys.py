"""Trust and keys over HTTP."""

import pytest

from registry.keys import public_bytes, public_key_pem
from tests.unit.gateway.installation import Installation, refused
from tests.unit.registry.signed_modules import BODY, OTHER_KEY, signed

PEM = public_key_pem(public_bytes(OTHER_KEY)).decode()
OTHER = {"name": "other", "public_key": PEM}
BEGIN, END = "2030-01-01T00:00:00Z", "2031-01-01T00:00:00+01:00"


async def test_a_signer_is_trusted_until_revoked(gateway: Installation) -> None:
    first = await gateway.http.post("/v1/signers", json=OTHER)
    again = await gateway.http.post("/v1/signers", json=OTHER)
    assert (first.status_code, again.status_code) == (201, 200)
    assert (await gateway.upload(signed(BODY, OTHER_KEY))).status_code == 201
    revoked = await gateway.http.post("/v1/signers/other/revoke")
    assert revoked.json() == {"name": "other", "revoked": True}
    refused(await gateway.upload(signed(BODY, OTHER_KEY)), 422, "module.signer_revoked")
    listed = (await gateway.http.get("/v1/signers")).json()["signers"]
    assert [(one["name"], one["revoked_ms"] is None) for one in listed] == [
        ("ci", True),
        ("other", False),
    ]


async def test_a_window(gateway: Installation) -> None:
    asked = OTHER | {"not_before": BEGIN, "not_after": END}
    shown = (await gateway.http.post("/v1/signers", json=asked)).json()
    assert (shown["not_before_ms"], shown["not_after_ms"]) == (1893456000000, 1924988400000)
    answer = await gateway.upload(signed(BODY, OTHER_KEY))
    refused(answer, 422, "module.signer_not_yet_valid")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"name": "Bad Name"}, "signer.name_invalid"),
        ({"name": 1}, "request.invalid"),
        ({"public_key": "no key"}, "signer.key_invalid"),
        ({"public_key": "\x00é"}, "signer.key_invalid"),
        ({"not_after": "soon"}, "request.invalid"),
        ({"not_before": END, "not_after": BEGIN}, "signer.window_invalid"),
        ({"not_before": BEGIN, "not_after": BEGIN}, "signer.window_invalid"),
        ({"more": 1}, "request.unknown_field"),
    ],
)
async def test_a_bad_signer(gateway: Installation, change: dict[str, object], code: str) -> None:
    refused(await gateway.http.post("/v1/signers", json=OTHER | change), 400, code)


async def test_a_taken_name_and_an_unknown_one(gateway: Installation) -> None:
    answer = await gateway.http.post("/v1/signers", json=OTHER | {"name": "ci"})
    refused(answer, 409, "signer.exists")
    refused(await gateway.http.post("/v1/signers/none/revoke"), 404, "signer.not_found")
    refused(await gateway.http.post("/v1/signers/NONE/revoke"), 400, "signer.name_invalid")


async def test_a_new_key_is_shown_once_and_opens_the_own_tenant(gateway: Installation) -> None:
    await gateway.deploy()
    made = await gateway.http.post("/v1/keys", json={"name": "ci"})
    assert made.status_code == 201
    assert made.json()["key"].startswith("stk_dev_")
    async with gateway.client(made.json()["key"]) as http:
        assert (await http.get("/v1/functions/f")).status_code == 200
    stored = await gateway.catalog.find_key(made.json()["id"])
    assert stored is not None
    assert made.json()["key"] not in repr(stored)
    refused(await gateway.http.post("/v1/keys", json={"name": "A"}), 400, "key.name_invalid")
