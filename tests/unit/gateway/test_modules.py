"""Uploads: judged, compiled and kept once; what is refused leaves nothing."""

import asyncio
import base64

import pytest
from structlog.testing import capture_logs

from registry.keys import public_bytes
from stockade.core.digests import digest_of
from stockade.core.errors import StockadeError
from stockade.core.module_store import StoragePolicy, StorageQuota
from stockade.core.modules import Signer
from stockade.infra.memory.memory_blobs import MemoryBlobStore
from tests.unit.gateway.installation import GOOD, Installation, installed, refused
from tests.unit.registry.signed_modules import BODY, OTHER_KEY, custom, payload, signed


async def test_an_upload_is_compiled_and_kept_once(gateway: Installation) -> None:
    first, second = await gateway.upload(), await gateway.upload()
    assert (first.status_code, second.status_code) == (201, 200)
    assert (
        first.json()
        == second.json()
        == {
            "digest": digest_of(BODY),
            "signers": ["ci"],
            "imports": [],
            "exports": ["memory", "stockade_v1_alloc", "stockade_v1_run"],
            "abi": "stockade:v1",
            "deterministic": True,
            "size_bytes": len(BODY),
        }
    )
    assert gateway.compiler.compiled == [BODY]
    assert await gateway.blobs.get(digest_of(BODY)) == BODY
    shown = await gateway.http.get(f"/v1/modules/{digest_of(BODY)}")
    assert shown.json()["digest"] == digest_of(BODY)


async def test_a_second_signer_is_added_to_the_same_module(gateway: Installation) -> None:
    await gateway.catalog.add_signer("alice", Signer("other", public_bytes(OTHER_KEY)))
    assert (await gateway.upload()).json()["signers"] == ["ci"]
    answer = await gateway.upload(signed(BODY, OTHER_KEY))
    assert (answer.status_code, answer.json()["signers"]) == (200, ["other"])
    stored = await gateway.catalog.module("alice", digest_of(BODY))
    assert stored is not None
    assert len(stored.signatures) == 2


async def test_a_detached_signature(gateway: Installation) -> None:
    detached = base64.b64encode(payload(BODY)).decode()
    answer = await gateway.upload(BODY, **{"stockade-signature": detached})
    assert (answer.status_code, answer.json()["digest"]) == (201, digest_of(BODY))
    for text in ("%%%", "é", "a"):
        sent = text.encode("latin-1")
        answer = await gateway.upload(BODY, **{"stockade-signature": sent})  # type: ignore[arg-type]
        refused(answer, 400, "request.header_invalid")


async def test_an_upload_mends_a_lost_blob(gateway: Installation) -> None:
    await gateway.upload()
    gateway.blobs._blobs.clear()
    assert (await gateway.upload()).status_code == 200
    assert await gateway.blobs.get(digest_of(BODY)) == BODY


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "module.not_wasm"),
        (b"(module)", "module.not_wasm"),
        (b"\0asm\x0d\0\x01\0", "module.is_component"),
        (GOOD[:-1], "module.malformed"),
        (BODY, "module.unsigned"),
        (signed(BODY, OTHER_KEY), "module.signer_unknown"),
        (signed(b"\0asm\x01\0\0\0"), "module.abi_unknown"),
    ],
)
async def test_what_is_refused_is_neither_compiled_nor_kept(
    gateway: Installation, content: bytes, code: str
) -> None:
    refused(await gateway.upload(content), 422, code)
    assert gateway.compiler.compiled == []
    assert gateway.blobs._blobs == {}


async def test_what_the_compiler_refuses_is_not_kept(gateway: Installation) -> None:
    gateway.compiler.failure = StockadeError("module.too_costly", "Make it smaller.")
    refused(await gateway.upload(), 422, "module.too_costly")
    assert gateway.blobs._blobs == {}
    refused(await gateway.http.get(f"/v1/modules/{digest_of(BODY)}"), 404, "module.not_found")


async def test_a_full_disk_refuses_the_upload() -> None:
    class Full(MemoryBlobStore):
        async def put(self, content: bytes) -> str:
            del content
            raise StockadeError("blobs.full", "No room.", retryable=True)

    async with installed(blobs=Full()) as it:
        assert refused(await it.upload(), 507, "blobs.full")["retryable"] is True
        answer = await it.http.get(f"/v1/modules/{digest_of(BODY)}")
        refused(answer, 404, "module.not_found")


async def test_a_store_that_names_content_otherwise_is_our_fault() -> None:
    class Odd(MemoryBlobStore):
        async def put(self, content: bytes) -> str:
            return digest_of(content + b"!")

    async with installed(blobs=Odd()) as it:
        with capture_logs() as logged:
            problem = refused(await it.upload(), 500, "internal.error")
        assert [line["event"] for line in logged] == ["request_failed"]
        assert "digest" not in str(problem["detail"])


@pytest.mark.parametrize(
    "digest", ["x", "sha256:" + "A" * 64, "sha512:" + "a" * 64, "..%2f..%2fetc", "sha256:%00"]
)
async def test_a_bad_digest(gateway: Installation, digest: str) -> None:
    answer = await gateway.http.get(f"/v1/modules/{digest}")
    assert answer.json()["code"] in {"module.digest_invalid", "request.not_found"}
    assert answer.status_code in {400, 404}


OTHER = BODY + custom("one more")


async def test_an_upload_over_the_quota_is_neither_compiled_nor_stored() -> None:
    policy = StoragePolicy(StorageQuota(0, 0), {"alice": StorageQuota(len(BODY), 1)})
    async with installed(storage=policy) as gateway:
        for status in (201, 200):
            assert (await gateway.upload()).status_code == status
        body = refused(await gateway.upload(signed(OTHER)), 507, "storage.quota_exceeded")
        assert body["facts"] == {
            "wanted_bytes": len(BODY) + len(OTHER),
            "limit_bytes": len(BODY),
            "wanted_modules": 2,
            "limit_modules": 1,
        }
        assert gateway.compiler.compiled == [BODY]
        assert await gateway.blobs.get(digest_of(OTHER)) is None
        used = (await gateway.http.get("/v1/usage/storage")).json()
        assert used == {
            "used": {"module_bytes": len(BODY), "modules": 1, "oci_bytes": 0},
            "limit": {
                "module_bytes": len(BODY),
                "modules": 1,
                "oci_bytes": 10 << 30,
                "functions": 10_000,
                "versions": 20_000,
            },
        }


async def test_uploads_at_once_do_not_pass_the_quota_together() -> None:
    policy = StoragePolicy(StorageQuota(1 << 30, 3))
    async with installed(storage=policy) as gateway:
        wasm = [signed(BODY + custom(f"number {number}")) for number in range(8)]
        answers = await asyncio.gather(*map(gateway.upload, wasm))
        assert sorted(one.status_code for one in answers) == [201] * 3 + [507] * 5
        assert (await gateway.catalog.storage_usage("alice")).modules == 3


async def test_modules_are_listed_newest_first_page_by_page(gateway: Installation) -> None:
    assert (await gateway.http.get("/v1/modules")).json() == {"modules": [], "next": None}
    digests = []
    for number in range(5):
        body = BODY + custom(f"number {number}")
        await gateway.upload(signed(body))
        digests.append(digest_of(body))
    pages, after = [], ""
    while True:
        page = (await gateway.http.get(f"/v1/modules?limit=2&after={after}")).json()
        pages.append([one["digest"] for one in page["modules"]])
        if (after := page["next"]) is None:
            break
    assert [len(page) for page in pages] == [2, 2, 1]
    assert sorted([digest for page in pages for digest in page]) == sorted(digests)
    everything = (await gateway.http.get("/v1/modules?limit=1000")).json()["modules"]
    assert [one["digest"] for one in everything] == [digest for page in pages for digest in page]
    assert set(everything[0]) == {"digest", "abi", "size_bytes", "created_ms"}


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "limit=x", "limit=-1", "after=x", f"after=1-{'a' * 64}"]
)
async def test_a_list_asked_for_oddly_is_refused(gateway: Installation, query: str) -> None:
    refused(await gateway.http.get(f"/v1/modules?{query}"), 400, "request.query_invalid")


async def test_a_module_shows_who_vouches_and_what_is_made_of_it(gateway: Installation) -> None:
    await gateway.upload()
    await gateway.deploy("f")
    shown = (await gateway.http.get(f"/v1/modules/{digest_of(BODY)}")).json()
    assert (shown["signers"], shown["signatures"], shown["refusal"]) == (["ci"], 1, None)
    assert shown["versions"] == [{"function": "f", "version": 1}]
    assert shown["created_ms"] > 0


async def test_a_module_that_would_not_run_shows_why(gateway: Installation) -> None:
    await gateway.upload()
    digest = digest_of(BODY)
    gateway.blobs._blobs[digest] = b"spoilt"
    shown = (await gateway.http.get(f"/v1/modules/{digest}")).json()
    assert (shown["signers"], shown["refusal"]["code"]) == ([], "blobs.corrupt")
    await gateway.upload()
    await gateway.catalog.revoke_signer("alice", "ci", 1)
    shown = (await gateway.http.get(f"/v1/modules/{digest}")).json()
    assert (shown["signers"], shown["refusal"]["code"]) == ([], "module.signer_revoked")


async def test_a_module_is_deleted_when_nothing_uses_it(gateway: Installation) -> None:
    await gateway.upload()
    path = f"/v1/modules/{digest_of(BODY)}"
    assert (await gateway.http.delete(path)).status_code == 204
    refused(await gateway.http.delete(path), 404, "module.not_found")
    refused(await gateway.http.get(path), 404, "module.not_found")
    deploy = await gateway.http.put("/v1/functions/f", json={"module": digest_of(BODY)})
    refused(deploy, 404, "module.not_found")
    assert (await gateway.http.get("/v1/modules")).json()["modules"] == []
    assert (await gateway.upload()).status_code == 200
    assert (await gateway.deploy("f")).status_code == 201
    body = refused(await gateway.http.delete(path), 409, "module.in_use")
    assert body["facts"] == {"versions": [{"function": "f", "version": 1}]}


async def test_another_tenants_module_is_not_deleted_nor_shown(gateway: Installation) -> None:
    await gateway.upload()
    path = f"/v1/modules/{digest_of(BODY)}"
    async with gateway.client(await gateway.new_key("bob")) as bob:
        refused(await bob.delete(path), 404, "module.not_found")
        refused(await bob.get(path), 404, "module.not_found")
        assert (await bob.get("/v1/modules")).json()["modules"] == []
        assert (await bob.get("/v1/usage/storage")).json()["used"]["modules"] == 0
    refused(await gateway.http.delete("/v1/modules/sha256:x"), 400, "module.digest_invalid")
    assert (await gateway.http.get(path)).status_code == 200


class WatchedBlobs(MemoryBlobStore):
    """Says how many modules were read at once."""

    present = most = 0

    async def get(self, digest: str) -> bytes | None:
        self.present += 1
        self.most = max(self.most, self.present)
        await asyncio.sleep(0)  # whoever else would read does so now
        self.present -= 1
        return await super().get(digest)


async def test_one_stored_module_of_a_tenant_is_in_memory_at_a_time() -> None:
    blobs = WatchedBlobs()
    async with installed(blobs=blobs) as gateway:
        digest = (await gateway.upload()).json()["digest"]
        calls = [gateway.http.get(f"/v1/modules/{digest}") for _ in range(8)]
        calls += [
            gateway.http.put(f"/v1/functions/f{name}{query}", json={"module": digest})
            for name in range(8)
            for query in ("", "?dry_run=true")
        ]
        answers = await asyncio.gather(*calls)
    assert {answer.status_code for answer in answers} == {200, 201}
    assert blobs.most == 1
