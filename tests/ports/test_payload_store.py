"""What every payload store promises, sentence by sentence of the port."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from stockade.core.digests import digest_of
from stockade.core.errors import StockadeError
from stockade.core.ports import PayloadStore
from stockade.infra.blobs.directory_payloads import DirectoryPayloadStore
from stockade.infra.blobs.object_store import open_object_store
from stockade.infra.blobs.obstore_payloads import ObstorePayloadStore
from stockade.infra.memory.memory_payloads import MemoryPayloadStore
from stockade.infra.system_clock import SystemClock

CLOCK = SystemClock()
ID, OTHER = CLOCK.new_id(), CLOCK.new_id()
RETENTION_SECONDS = 3600.0


@pytest.fixture(params=["memory", "directory", "s3"])
def payloads(request: pytest.FixtureRequest, tmp_path: Path) -> PayloadStore:
    if request.param == "memory":
        return MemoryPayloadStore(CLOCK, RETENTION_SECONDS)
    if request.param == "s3":
        store = open_object_store(request.getfixturevalue("bucket"), CLOCK)
        return ObstorePayloadStore(store, CLOCK, RETENTION_SECONDS)
    return DirectoryPayloadStore(tmp_path / "payloads", RETENTION_SECONDS)


@pytest.fixture
def grow_old(
    payloads: PayloadStore, tmp_path: Path, request: pytest.FixtureRequest
) -> Callable[[], None]:
    """Makes everything stored so far older than records are kept."""

    def age() -> None:
        if isinstance(payloads, MemoryPayloadStore):
            held = payloads._payloads.items()
            payloads._payloads = {key: (0, content) for key, (_, content) in held}
        if isinstance(payloads, ObstorePayloadStore):
            server, place = map(request.getfixturevalue, ("s3", "bucket"))
            server.grow_old(place)
        for path in tmp_path.glob("payloads/*/*"):
            os.utime(path, (1, 1))

    return age


async def nothing_kept(_tenant: str, _invocation_id: str) -> bool:
    return False


async def test_bytes_come_back_to_their_invocation_alone(payloads: PayloadStore) -> None:
    digest = await payloads.put("acme", ID, b"large")
    assert digest == digest_of(b"large")
    assert await payloads.get("acme", ID, digest) == b"large"
    assert await payloads.get("acme", OTHER, digest) is None
    assert await payloads.get("other", ID, digest) is None
    assert await payloads.get("acme", ID, digest_of(b"absent")) is None


async def test_input_and_output_of_one_invocation_stand_side_by_side(
    payloads: PayloadStore,
) -> None:
    digests = [await payloads.put("acme", ID, content) for content in (b"in", b"out", b"in")]
    assert [await payloads.get("acme", ID, one) for one in digests] == [b"in", b"out", b"in"]


async def test_damage_is_found(
    payloads: PayloadStore, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    digest = await payloads.put("acme", ID, b"large")
    if isinstance(payloads, MemoryPayloadStore):
        payloads._payloads["acme", ID, digest] = (0, b"spoilt")
    if isinstance(payloads, ObstorePayloadStore):
        server, place = map(request.getfixturevalue, ("s3", "bucket"))
        server.spoil(place, f"payloads/acme/{ID}.{digest.removeprefix('sha256:')}")
    for path in tmp_path.glob("payloads/acme/*"):
        path.write_bytes(b"spoilt")
    with pytest.raises(StockadeError) as failure:
        await payloads.get("acme", ID, digest)
    assert failure.value.code == "blobs.corrupt"


@pytest.mark.parametrize("digest", ["", "sha256:../../x", "sha256:" + "AB" * 32, "x" * 71])
async def test_what_is_no_digest_names_nothing(payloads: PayloadStore, digest: str) -> None:
    for call in (payloads.get, payloads.discard):
        with pytest.raises(StockadeError) as failure:
            await call("acme", ID, digest)
        assert failure.value.code == "module.digest_invalid"


async def test_a_discarded_payload_is_gone_and_only_that(payloads: PayloadStore) -> None:
    digest = await payloads.put("acme", ID, b"large")
    other = await payloads.put("acme", OTHER, b"large")
    for _ in range(2):
        await payloads.discard("acme", ID, digest)
    assert await payloads.get("acme", ID, digest) is None
    assert await payloads.get("acme", OTHER, other) == b"large"


async def test_only_what_is_old_and_without_a_record_is_swept(
    payloads: PayloadStore, grow_old: Callable[[], None]
) -> None:
    gone, kept = await payloads.put("acme", ID, b"a"), await payloads.put("acme", OTHER, b"b")
    elsewhere = await payloads.put("other", OTHER, b"c")
    asked: list[tuple[str, str]] = []

    async def has_record(tenant: str, invocation_id: str) -> bool:
        asked.append((tenant, invocation_id))
        return (tenant, invocation_id) == ("acme", OTHER)

    assert await payloads.sweep(has_record) == 0
    assert asked == []
    grow_old()
    young = await payloads.put("acme", ID, b"young")
    assert await payloads.sweep(has_record) == 2
    assert sorted(asked) == sorted([("acme", ID), ("acme", OTHER), ("other", OTHER)])
    assert await payloads.get("acme", ID, gone) is None
    assert await payloads.get("other", OTHER, elsewhere) is None
    assert await payloads.get("acme", OTHER, kept) == b"b"
    assert await payloads.get("acme", ID, young) == b"young"


async def test_a_sweep_that_cannot_look_records_up_deletes_nothing(
    payloads: PayloadStore, grow_old: Callable[[], None]
) -> None:
    digest = await payloads.put("acme", ID, b"a")
    grow_old()

    async def away(_tenant: str, _invocation_id: str) -> bool:
        raise StockadeError("queue.unavailable", "Away.", retryable=True)

    with pytest.raises(StockadeError):
        await payloads.sweep(away)
    assert await payloads.get("acme", ID, digest) == b"a"


async def test_an_empty_store_is_swept(payloads: PayloadStore) -> None:
    assert await payloads.sweep(nothing_kept) == 0


async def test_files_that_another_sweeper_took_are_passed_over(
    tmp_path: Path,
) -> None:
    first, second = (DirectoryPayloadStore(tmp_path, RETENTION_SECONDS) for _ in range(2))
    for content in (b"a", b"b", b"c"):
        await first.put("acme", ID, content)
    for path in tmp_path.glob("acme/*"):
        os.utime(path, (1, 1))

    async def meanwhile(_tenant: str, _invocation_id: str) -> bool:
        await second.sweep(nothing_kept)
        return False

    assert await first.sweep(meanwhile) == 3
    assert list(tmp_path.glob("acme/*")) == []


async def test_a_store_out_of_reach_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    store = DirectoryPayloadStore(tmp_path / "file", RETENTION_SECONDS)
    digest = digest_of(b"x")
    calls = (
        store.put("acme", ID, b"x"),
        store.get("acme", ID, digest),
        store.discard("acme", ID, digest),
    )
    for call in calls:
        with pytest.raises(StockadeError) as failure:
            await call
        assert failure.value.code == "blobs.unavailable"
