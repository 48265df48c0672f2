"""What storing costs beside a plain fsynced file: blobs, and uploads through the gateway."""

import asyncio
import hashlib
import http.client
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from moto.server import ThreadedMotoServer

from bench.end_to_end import Service
from bench.modules import ECHO, padded
from registry.keys import generate_secret_key, public_bytes, public_key_pem
from registry.signature_format import encode_u32
from registry.signing import sign
from stockade.core.blob_place import BlobPlace, Bucket
from stockade.core.blobs import BlobStore
from stockade.infra.blobs.directory_blobs import DirectoryBlobStore
from stockade.infra.blobs.object_store import open_object_store
from stockade.infra.blobs.obstore_blobs import ObstoreBlobStore
from stockade.infra.system_clock import SystemClock
from stockade_client import Client

MB = 1_000_000
_SIGNED = "AWS4-HMAC-SHA256 Credential=bench/20260101/us-east-1/s3/aws4_request, Signature=0"


def file_seconds(folder: Path, size_bytes: int, rounds: int) -> list[float]:
    """The floor: SHA-256 of the bytes, and a plain file of them, fsynced."""
    taken = []
    for number in range(rounds):
        content = _content(number, size_bytes)
        started = time.perf_counter()
        hashlib.sha256(content).hexdigest()
        with (folder / f"plain-{number}").open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        taken.append(time.perf_counter() - started)
    return taken


def read_seconds(folder: Path, rounds: int) -> list[float]:
    """The floor of reading: those files, each through SHA-256."""
    taken = []
    for number in range(rounds):
        started = time.perf_counter()
        hashlib.sha256((folder / f"plain-{number}").read_bytes()).hexdigest()
        taken.append(time.perf_counter() - started)
    return taken


async def blob_seconds(
    blobs: BlobStore, size_bytes: int, rounds: int
) -> tuple[list[float], list[float]]:
    """Seconds for putting a new blob, and for getting it back, checked."""
    puts, gets = [], []
    for number in range(rounds):
        content = _content(number, size_bytes)
        started = time.perf_counter()
        digest = await blobs.put(content)
        between = time.perf_counter()
        await blobs.get(digest)
        puts.append(between - started)
        gets.append(time.perf_counter() - between)
    return puts, gets


def directory(folder: Path) -> BlobStore:
    """Blobs in a directory."""
    return DirectoryBlobStore(folder / "blobs")


@contextmanager
def bucket(folder: Path) -> Iterator[BlobStore]:
    """Blobs in a bucket of a server of our own: in memory, and written in Python."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    connection = http.client.HTTPConnection(host, port)
    connection.request("PUT", "/bench", headers={"Authorization": _SIGNED})
    connection.getresponse().read()
    connection.close()
    credentials = folder / "credentials.toml"
    credentials.write_text('access_key_id = "bench"\nsecret_access_key = "bench"\n')
    place = BlobPlace(None, Bucket("bench", ""), f"http://{host}:{port}", "us-east-1", credentials)
    yield ObstoreBlobStore(open_object_store(place, SystemClock()))
    server.stop()


def upload_seconds(service: Service, rounds: int) -> tuple[list[float], list[float], list[float]]:
    """Uploads of 1 MB: new and mostly data; new and all code; known already."""
    key = generate_secret_key()
    code = padded(MB)
    with Client(service.url, service.api_key, timeout_seconds=120.0) as client:
        client.add_signer("storage", public_key_pem(public_bytes(key)).decode())
        data = [sign(_marked(ECHO, number, MB), key) for number in range(rounds)]
        codes = [sign(_marked(code, number, 1), key) for number in range(max(3, rounds // 10))]
        return _uploads(client, data), _uploads(client, codes), _uploads(client, data)


def _uploads(client: Client, modules: list[bytes]) -> list[float]:
    taken = []
    for module in modules:
        started = time.perf_counter()
        client.upload_module(module)
        taken.append(time.perf_counter() - started)
    return taken


def _marked(body: bytes, number: int, filler_bytes: int) -> bytes:
    """The module with a custom section of its own, so that each is another one."""
    filler = b"\4fill" + number.to_bytes(8, "big") + bytes(filler_bytes)
    return body + b"\0" + encode_u32(len(filler)) + filler


def _content(number: int, size_bytes: int) -> bytes:
    return number.to_bytes(8, "big") + bytes(size_bytes - 8)


def run(folder: Path, size_bytes: int, rounds: int) -> dict[str, list[float]]:
    """All timings of blobs of this size, by what was timed."""
    figures = {"plain": file_seconds(folder, size_bytes, rounds)}
    figures["read"] = read_seconds(folder, rounds)
    puts, gets = asyncio.run(blob_seconds(directory(folder), size_bytes, rounds))
    figures |= {"directory put": puts, "directory get": gets}
    with bucket(folder) as blobs:
        puts, gets = asyncio.run(blob_seconds(blobs, size_bytes, rounds))
    return figures | {"bucket put": puts, "bucket get": gets}
