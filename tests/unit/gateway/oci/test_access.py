"""Who may push and pull: the roles, policies and the log of everything else."""

import pytest

from gateway import sources
from stockade.core.api_keys import ApiKey, generate_key
from stockade.core.audit import AuditQuery
from stockade.core.digests import digest_of
from stockade.core.principals import Role
from tests.unit.gateway.oci.registry import (
    EMPTY,
    REPOSITORY,
    OciGateway,
    basic,
    encoded,
    image,
    refused,
)

DIGEST = digest_of(EMPTY)


async def key_of(oci: OciGateway, role: Role, *scopes: str) -> str:
    text, made = generate_key("test")
    key = ApiKey(made.id, "alice", "k", made.secret_hash, 0, role=role, scopes=scopes)
    await oci.it.catalog.add_key(key)
    return text


CALLS = [
    ("GET", f"blobs/{DIGEST}"),
    ("GET", "manifests/latest"),
    ("POST", "blobs/uploads/"),
    ("PUT", "manifests/latest"),
    ("DELETE", "manifests/latest"),
    ("DELETE", f"blobs/{DIGEST}"),
]


@pytest.mark.parametrize(
    ("role", "scopes", "allowed"),
    [
        (Role.VIEWER, (), 2),
        (Role.INVOKER, (), 2),
        (Role.DEVELOPER, (), 6),
        (Role.DEVELOPER, ("read",), 2),
        (Role.ADMIN, (), 6),
    ],
)
async def test_roles_and_scopes(
    oci: OciGateway, role: Role, scopes: tuple[str, ...], allowed: int
) -> None:
    await oci.push_image()
    async with oci.it.client(None) as http:
        login = basic(await key_of(oci, role, *scopes))
        sent = login | {"content-type": "application/vnd.oci.image.manifest.v1+json"}
        body = encoded(image())
        answers = [
            await http.request(method, f"{REPOSITORY}/{path}", headers=sent, content=body)
            for method, path in CALLS
        ]
    assert [answer.status_code < 300 for answer in answers] == [
        place < allowed for place in range(len(CALLS))
    ]
    for answer in answers[allowed:]:
        code = "auth.scope_missing" if scopes else "auth.denied"
        refused(answer, 403, "DENIED", code)


async def test_who_may_deploy_one_function_pushes_and_deletes_nothing(oci: OciGateway) -> None:
    await oci.push_image()
    async with oci.it.client(await key_of(oci, Role.DEVELOPER, "deploy:f")) as http:
        begun = await http.post(f"{REPOSITORY}/blobs/uploads/")
        assert begun.status_code == 202
        gone = await http.delete(f"{REPOSITORY}/manifests/latest")
        refused(gone, 403, "DENIED", "auth.scope_missing")


async def test_wrong_passwords_are_slowed(oci: OciGateway) -> None:
    unknown, _ = generate_key("test")
    async with oci.it.client(None) as http:
        for _ in range(sources.BURST):
            answer = await http.get("/v2/", headers=basic(unknown))
            refused(answer, 401, "UNAUTHORIZED", "auth.key_invalid")
        answer = await http.get("/v2/", headers=basic(unknown))
        refused(answer, 429, "TOOMANYREQUESTS", "auth.too_many_failures")
        assert int(answer.headers["retry-after"]) > 0


async def test_the_audit_log_tells_of_manifests_and_not_of_their_pieces(oci: OciGateway) -> None:
    pushed = await oci.push_image(b"layer")
    digest = pushed.headers["docker-content-digest"]
    place = await oci.begin()
    await oci.http.patch(place, content=b"piece")
    await oci.http.delete(f"{REPOSITORY}/manifests/latest")
    await oci.http.delete(f"{REPOSITORY}/blobs/{digest_of(b'layer')}")
    log = oci.it.services.audit
    entries = await log.find("alice", AuditQuery())
    done = [
        (entry.facts.action, entry.facts.object) for entry in entries if entry.facts.kind == "done"
    ]
    assert sorted(done) == [
        ("delete_artifact", "alice/tools/hello:latest"),
        ("delete_artifact", f"alice/tools/hello@{digest_of(b'layer')}"),
        ("upload", f"alice/tools/hello@{digest}"),
    ]


async def test_the_key_is_in_no_answer(oci: OciGateway) -> None:
    async with oci.it.client(None) as http:
        for path in ("/v2/", "/v2/alice/x/tags/list", "/v2/mallory/x/tags/list"):
            answer = await http.get(path, headers=basic(oci.it.key))
            assert oci.it.key not in answer.text + str(answer.headers)
