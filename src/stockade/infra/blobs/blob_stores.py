"""Chooses where blobs and payloads are kept, as the settings say."""

from dataclasses import dataclass, replace

from stockade.core.blob_place import BlobPlace, Bucket
from stockade.core.blobs import BlobStore
from stockade.core.ports import Clock, PayloadStore
from stockade.infra.blobs.directory_blobs import DirectoryBlobStore
from stockade.infra.blobs.directory_payloads import DirectoryPayloadStore
from stockade.infra.blobs.object_store import check_object_store, open_object_store
from stockade.infra.blobs.obstore_blobs import ObstoreBlobStore
from stockade.infra.blobs.obstore_payloads import ObstorePayloadStore
from stockade.infra.queue_settings import QueueSettings


@dataclass(frozen=True, slots=True)
class BlobStores:
    """The stores of one place: of modules, and of large inputs and outputs."""

    modules: BlobStore
    payloads: PayloadStore


async def open_blob_stores(place: BlobPlace, clock: Clock) -> BlobStores:
    """The stores of the place; a bucket is looked at first.

    Raises:
        StockadeError: `config.blobs_invalid` or `config.blobs_refused`.
    """
    retention_seconds = QueueSettings().retention_seconds
    if place.bucket is not None:
        store = open_object_store(place, clock)
        await check_object_store(store)
        payloads = ObstorePayloadStore(store, clock, retention_seconds)
        return BlobStores(ObstoreBlobStore(store), payloads)
    if place.directory is None:
        raise RuntimeError("blobs have neither a bucket nor a directory")
    return BlobStores(
        DirectoryBlobStore(place.directory),
        DirectoryPayloadStore(place.directory / "payloads", retention_seconds),
    )


def open_area(place: BlobPlace, area: str, clock: Clock) -> BlobStore:
    """A store of its own within the place, whose blobs are not the others'.

    Args:
        place: What the settings say.
        area: Its name, such as `oci`: the directory, or the part of the bucket, below the place's.
        clock: For credentials that are read again.

    Raises:
        StockadeError: `config.blobs_invalid`.
    """
    if place.bucket is not None:
        prefix = f"{place.bucket.prefix}/{area}".strip("/")
        within = replace(place, bucket=Bucket(place.bucket.name, prefix))
        return ObstoreBlobStore(open_object_store(within, clock))
    if place.directory is None:
        raise RuntimeError("blobs have neither a bucket nor a directory")
    return DirectoryBlobStore(place.directory / area)
