"""Uploads: judged, compiled and kept once; what is refused leaves nothing."""

import base64

import pytest
from structlog.testing import capture_logs

from registry.keys import public_bytes
from stockade.core.digests import digest_of
from stockade.core.errors import StockadeError
from stockade.core.modules import Signer
from stockade.infra.memory_blobs import MemoryBlobStore
from tests.unit.gateway.installation import GOOD, Installation, installed, refused
from tests.unit.registry.signed_modules import BODY, OTHER_KEY, payload, signed


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
