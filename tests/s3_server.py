"""A real S3 server on a free loopback port, in this process; and one that misbehaves."""

import asyncio
import http.client
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from moto.s3.models import s3_backends
from moto.server import ThreadedMotoServer

from stockade.core.blob_place import BlobPlace, Bucket

_ACCOUNT, _PARTITION = "123456789012", "aws"
_BUCKETS = count(1)
"""All servers of this process have the same buckets."""
_SIGNED = "AWS4-HMAC-SHA256 Credential=AKID/20260101/us-east-1/s3/aws4_request, Signature=0"
SECRET = "a-secret-that-no-log-may-show"  # noqa: S105 - no such server


class S3Server:
    """The server, and what only a test may do to it."""

    def __init__(self, port: int) -> None:
        self._server = _started(port)
        host, self._port = self._server.get_host_and_port()
        self.endpoint = f"http://{host}:{self._port}"

    def stop(self) -> None:
        """Ends it; what was stored outlives it, in this process."""
        self._server.stop()

    @contextmanager
    def away(self) -> Iterator[None]:
        """Nobody answers inside."""
        self._server.stop()
        yield
        self._server = _started(self._port)

    def new_bucket(self, credentials: Path) -> BlobPlace:
        """An empty bucket, and where it is; writes credentials that it takes."""
        bucket = Bucket(f"bucket-{next(_BUCKETS)}", "deep/down")
        assert self.request("PUT", f"/{bucket.name}") == 200
        credentials.write_text(f'access_key_id = "AKID"\nsecret_access_key = "{SECRET}"\n')
        return BlobPlace(None, bucket, self.endpoint, "us-east-1", credentials)

    def request(self, method: str, path: str, body: bytes = b"") -> int:
        """One request; its status. The server wants a signature, and looks at none."""
        connection = http.client.HTTPConnection(self.endpoint.removeprefix("http://"))
        connection.request(method, path, body, {"Authorization": _SIGNED})
        status = connection.getresponse().status
        connection.close()
        return status

    def keys(self, place: BlobPlace) -> list[str]:
        """The keys of a bucket, without the prefix."""
        assert place.bucket is not None
        return [key.removeprefix("deep/down/") for key in self._objects(place)]

    def open_uploads(self, place: BlobPlace) -> int:
        """How many uploads of many parts were begun, and neither completed nor aborted."""
        assert place.bucket is not None
        return len(s3_backends[_ACCOUNT][_PARTITION].buckets[place.bucket.name].multiparts)

    def grow_old(self, place: BlobPlace) -> None:
        """Has all objects look as if they had been there for long."""
        for stored in self._objects(place).values():
            stored.last_modified = datetime.fromtimestamp(1, UTC).replace(tzinfo=None)

    def spoil(self, place: BlobPlace, key: str) -> None:
        """Puts other bytes in an object's place."""
        assert place.bucket is not None
        assert key in self.keys(place)
        path = f"/{place.bucket.name}/{place.bucket.prefix}/{key}"
        assert self.request("PUT", path, b"spoilt") == 200

    def lose(self, place: BlobPlace, key: str) -> None:
        """Takes an object away."""
        assert place.bucket is not None
        assert key in self.keys(place)
        path = f"/{place.bucket.name}/{place.bucket.prefix}/{key}"
        assert self.request("DELETE", path) == 204

    def _objects(self, place: BlobPlace) -> dict[str, object]:
        assert place.bucket is not None
        return dict(s3_backends[_ACCOUNT][_PARTITION].buckets[place.bucket.name].keys.items())


@contextmanager
def s3_server(port: int = 0) -> Iterator[S3Server]:
    """Runs the server."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = S3Server(port)
    try:
        yield server
    finally:
        server.stop()


def _started(port: int) -> ThreadedMotoServer:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    server.start()
    return server


@asynccontextmanager
async def faulty_server(answer: bytes, *, close: bool) -> AsyncIterator[str]:
    """A server that says the same to everybody, then hangs up or is silent; its address."""
    silent = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        if not close:
            await silent.wait()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    yield f"http://{host}:{port}"
    silent.set()
    server.close()
    await server.wait_closed()
