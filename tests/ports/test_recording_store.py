"""The `RecordingStore` port: sealed for one attempt of one tenant, and for no other."""

from dataclasses import replace
from pathlib import Path

import pytest

from stockade.core.errors import StockadeError
from stockade.core.ports import PayloadStore
from stockade.core.recordings import Blank, RecordedCall, Recording
from stockade.infra.blobs.directory_payloads import DirectoryPayloadStore
from stockade.infra.memory.memory_payloads import MemoryPayloadStore
from stockade.infra.sealed_recordings import SealedRecordings
from stockade.infra.secret_box import AesGcmSecretBox
from stockade.infra.system_clock import SystemClock

BOX = AesGcmSecretBox((b"k" * 32,))
CALLS = (
    RecordedCall(1, "kv_get", "a" * 32, 0, b"a value to be found nowhere"),
    RecordedCall(2, "secret_get", "b" * 32, 0, b"0a1b", (Blank("KEY", 0, 4),)),
)
RECORDING = Recording("018f4b3c-0000-7000-8000-000000000000", 1, CALLS, cut=3)


@pytest.fixture
def payloads() -> MemoryPayloadStore:
    return MemoryPayloadStore(SystemClock(), 60.0)


@pytest.mark.parametrize("kind", ["memory", "directory"])
async def test_it_is_swept_with_its_record(kind: str, tmp_path: Path) -> None:
    made = {
        "memory": MemoryPayloadStore(SystemClock(), -1.0),
        "directory": DirectoryPayloadStore(tmp_path, -1.0),
    }
    payloads = made[kind]
    store = SealedRecordings(payloads, BOX)
    reference = await store.put("acme", RECORDING)
    known = {("acme", RECORDING.invocation_id)}

    async def has_record(tenant: str, invocation_id: str) -> bool:
        return (tenant, invocation_id) in known

    assert await payloads.sweep(has_record) == 0
    assert await store.get("acme", RECORDING.invocation_id, 1, reference) == RECORDING
    known.clear()
    assert await payloads.sweep(has_record) == 1
    assert await store.get("acme", RECORDING.invocation_id, 1, reference) is None


async def refused(store: SealedRecordings, tenant: str, of: Recording, reference: str) -> None:
    with pytest.raises(StockadeError) as raised:
        await store.get(tenant, of.invocation_id, of.attempt, reference)
    assert raised.value.code == "recording.unreadable"
    assert "KEY" not in str(raised.value)


async def test_a_recording_comes_back_and_is_not_to_be_read_in_the_store(
    payloads: MemoryPayloadStore,
) -> None:
    store = SealedRecordings(payloads, BOX)
    reference = await store.put("acme", RECORDING)
    assert await store.get("acme", RECORDING.invocation_id, 1, reference) == RECORDING
    kept = await payloads.get("acme", RECORDING.invocation_id, reference)
    assert kept is not None
    assert not any(text in kept for text in (b"kv_get", b"a value", b"KEY", b"0a1b"))


async def test_it_opens_at_its_own_place_alone(payloads: MemoryPayloadStore) -> None:
    store = SealedRecordings(payloads, BOX)
    reference = await store.put("acme", RECORDING)
    sealed = await payloads.get("acme", RECORDING.invocation_id, reference) or b""
    other = replace(RECORDING, invocation_id="018f4b3c-0000-7000-8000-000000000001")
    await payloads.put("rival", RECORDING.invocation_id, sealed)
    await payloads.put("acme", other.invocation_id, sealed)
    await refused(store, "rival", RECORDING, reference)
    await refused(store, "acme", replace(RECORDING, attempt=2), reference)
    await refused(store, "acme", other, reference)
    other_key = SealedRecordings(payloads, AesGcmSecretBox((b"o" * 32,)))
    await refused(other_key, "acme", RECORDING, reference)


@pytest.mark.parametrize("at", [0, 5, 12, 25, -1])
async def test_a_changed_one_is_refused(payloads: MemoryPayloadStore, at: int) -> None:
    store = SealedRecordings(payloads, BOX)
    reference = await store.put("acme", RECORDING)
    sealed = bytearray(await payloads.get("acme", RECORDING.invocation_id, reference) or b"")
    sealed[at] ^= 1
    changed = await payloads.put("acme", RECORDING.invocation_id, bytes(sealed))
    await refused(store, "acme", RECORDING, changed)
    cut = await payloads.put("acme", RECORDING.invocation_id, bytes(sealed)[:20])
    await refused(store, "acme", RECORDING, cut)


@pytest.mark.parametrize("content", [b"", b"\x80", b"{}", b"\xc1"])
async def test_what_is_sealed_and_no_recording_is_refused(
    payloads: MemoryPayloadStore, content: bytes
) -> None:
    sealed = BOX.seal("acme", f"recording/{RECORDING.invocation_id}/1", content)
    reference = await payloads.put("acme", RECORDING.invocation_id, sealed)
    await refused(SealedRecordings(payloads, BOX), "acme", RECORDING, reference)


async def test_one_that_says_it_is_another_is_refused(payloads: MemoryPayloadStore) -> None:
    store = SealedRecordings(payloads, _FixedPlace())
    reference = await store.put("acme", RECORDING)
    await refused(store, "acme", replace(RECORDING, attempt=2), reference)


async def test_what_is_gone_is_none_and_trouble_stays_trouble(
    payloads: MemoryPayloadStore,
) -> None:
    store = SealedRecordings(payloads, BOX)
    reference = await store.put("acme", RECORDING)
    payloads.clear()
    assert await store.get("acme", RECORDING.invocation_id, 1, reference) is None
    away = SealedRecordings(_Away(), BOX)
    with pytest.raises(StockadeError) as raised:
        await away.get("acme", RECORDING.invocation_id, 1, reference)
    assert raised.value.code == "blobs.unavailable"


class _FixedPlace:
    """The `SecretBox` port, without walls between places."""

    def seal(self, tenant: str, name: str, value: bytes) -> bytes:
        del tenant, name
        return value

    def open(self, tenant: str, name: str, sealed: bytes) -> bytes:
        del tenant, name
        return sealed


class _Away(MemoryPayloadStore):
    """A `PayloadStore` that cannot be reached."""

    def __init__(self) -> None:
        super().__init__(SystemClock(), 60.0)

    async def get(self, tenant: str, invocation_id: str, digest: str) -> bytes | None:
        del tenant, invocation_id, digest
        raise StockadeError("blobs.unavailable", "It is away.", retryable=True)


_: type[PayloadStore] = _Away
