"""Uploads whose sender or whose gateway dies half-way go on behind the last whole chunk."""

import asyncio
import os
from pathlib import Path

import httpx
import pytest

from stockade.core.digests import digest_of
from tests.faults.fleet import TENANT, Fleet, until

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.usefixtures("alone")]
CHUNK_BYTES = 3 * 1024 * 1024  # more than is held back in memory before it is written
REPOSITORY = f"/v2/{TENANT}/uploads"


async def begun(http: httpx.AsyncClient, first: bytes) -> str:
    """An upload with one chunk; its path."""
    answer = await http.post(f"{REPOSITORY}/blobs/uploads/")
    assert answer.status_code == 202, answer.text
    place: str = answer.headers["location"]
    assert (await http.patch(place, content=first)).status_code == 202
    return place


async def half_sent(http: httpx.AsyncClient, place: str, chunk: bytes) -> asyncio.StreamWriter:
    """A connection on which half of a chunk was sent."""
    assert http.base_url.port is not None
    _, writer = await asyncio.open_connection(http.base_url.host, http.base_url.port)
    head = (
        f"PATCH {place} HTTP/1.1\r\nHost: gateway\r\nContent-Length: {len(chunk)}\r\n"
        f"Authorization: {http.headers['authorization']}\r\n\r\n"
    )
    writer.write(head.encode() + chunk[: len(chunk) // 2])
    await writer.drain()
    return writer


def asides(fleet: Fleet) -> list[Path]:
    """Files that are being written."""
    return list((fleet._directory / "blobs" / "oci-uploads" / "tmp").glob("*"))


async def is_written(fleet: Fleet) -> None:
    async def written() -> bool:
        return any(path.stat().st_size >= 1024 * 1024 for path in asides(fleet))

    await until(written)


async def finished(http: httpx.AsyncClient, place: str, first: bytes, rest: bytes) -> None:
    """Goes on behind the first chunk, and pulls what it was."""
    assert (await http.get(place)).headers["range"] == f"0-{len(first) - 1}"
    headers = {"content-range": f"{len(first)}-{len(first) + len(rest) - 1}"}
    assert (await http.patch(place, content=rest, headers=headers)).status_code == 202
    done = await http.put(place, params={"digest": digest_of(first + rest)})
    assert done.status_code == 201, done.text
    assert (await http.get(done.headers["location"])).content == first + rest


async def test_the_sender_is_gone_half_way(fleet: Fleet) -> None:
    first, rest = os.urandom(1000), os.urandom(CHUNK_BYTES)
    place = await begun(fleet.http, first)
    writer = await half_sent(fleet.http, place, rest)
    await is_written(fleet)
    writer.close()

    async def cleared() -> bool:
        return not asides(fleet)

    await until(cleared)
    await finished(fleet.http, place, first, rest)


async def test_the_gateway_is_killed_half_way_and_another_goes_on(fleet: Fleet) -> None:
    first, rest = os.urandom(1000), os.urandom(CHUNK_BYTES)
    async with await fleet.client(await fleet.gateway()) as other:
        place = await begun(other, first)
        writer = await half_sent(other, place, rest)
        await is_written(fleet)
        fleet.end(fleet.last)
        writer.close()
    assert asides(fleet)  # of no name, and swept when it is old
    await finished(fleet.http, place, first, rest)
