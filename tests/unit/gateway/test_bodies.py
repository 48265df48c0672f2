"""Bodies are bounded, plain, whole, and of one shape."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import ExitStack

import pytest
from starlette.requests import Request

import gateway.bodies
from gateway.bodies import read_bounded
from gateway.body_room import BodyRoom
from stockade.core.errors import StockadeError
from tests.unit.gateway.installation import SETTINGS, Installation, installed, refused

JSON = {"content-type": "application/json"}
WASM = {"content-type": "application/wasm"}


async def endless() -> AsyncIterator[bytes]:
    while True:
        yield b"\0" * (1 << 20)


async def test_a_declared_length_beyond_the_bound(gateway: Installation) -> None:
    for length in (str((16 << 20) + 1), "9" * 19, "9" * 5000):
        headers = WASM | {"content-length": length}
        answer = await gateway.http.post("/v1/modules", content=b"x", headers=headers)
        refused(answer, 413, "request.too_large")


async def test_a_body_without_end(gateway: Installation) -> None:
    for path, headers in (("/v1/modules", WASM), ("/v1/keys", JSON)):
        for claim in ({}, {"content-length": "1"}):
            answer = await gateway.http.post(path, content=endless(), headers=headers | claim)
            refused(answer, 413, "request.too_large")


@pytest.mark.parametrize("call", ["invoke", "invocations"])
async def test_an_input_over_its_bound_is_not_read_to_its_end(
    gateway: Installation, call: str
) -> None:
    await gateway.deploy()
    read = 0

    async def counted() -> AsyncIterator[bytes]:
        nonlocal read
        async for piece in endless():
            read += len(piece)
            yield piece

    answer = await gateway.http.post(f"/v1/functions/f/{call}", content=counted())
    problem = refused(answer, 413, "request.too_large")
    assert problem["facts"] == {"max_bytes": 6 << 20}
    assert str(6 << 20) in str(problem["detail"])
    assert read <= 8 << 20
    assert gateway.payloads.held_ids() == []


@pytest.mark.parametrize("encoding", ["gzip", "br", "identity, gzip", ""])
async def test_a_content_encoding(gateway: Installation, encoding: str) -> None:
    headers = WASM | {"content-encoding": encoding}
    answer = await gateway.http.post("/v1/modules", content=b"x", headers=headers)
    refused(answer, 415, "request.encoding_unsupported")


@pytest.mark.parametrize("path", ["/v1/modules", "/v1/keys", "/v1/signers"])
@pytest.mark.parametrize("kind", ["", "text/html", "application/x-www-form-urlencoded"])
async def test_a_content_type(gateway: Installation, path: str, kind: str) -> None:
    answer = await gateway.http.post(path, content=b"{}", headers={"content-type": kind})
    refused(answer, 415, "request.content_type")


async def test_a_content_type_may_have_parameters(gateway: Installation) -> None:
    headers = {"content-type": "Application/JSON; charset=utf-8"}
    answer = await gateway.http.post("/v1/keys", content=b'{"name":"a"}', headers=headers)
    assert answer.status_code == 201


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"[]", b"null", b'"x"', b"\xff", b'{"name":"\xff"}', b'{"name":NaN}'),
        *(b'{"name":1e999}', b'{"name":"\\ud800"}', b'{"name":"a"} x', b"[" * 100_000),
        *(b'{"name":' * 20_000, b"{}", b'{"name":null}', b"\xef\xbb\xbf{}"),
    ],
)
async def test_broken_json(gateway: Installation, body: bytes) -> None:
    problem = refused(
        await gateway.http.post("/v1/keys", content=body, headers=JSON), 400, "request.invalid"
    )
    assert len(json.dumps(problem)) < 1000


async def test_of_fields_given_twice_one_value_counts(gateway: Installation) -> None:
    twice = b'{"name":"UPPER","name":"a"}'
    answer = await gateway.http.post("/v1/keys", content=twice, headers=JSON)
    assert (answer.status_code, answer.json()["name"]) == (201, "a")


def _request(*messages: dict[str, object]) -> Request:
    waiting = iter(messages)

    async def receive() -> dict[str, object]:
        message = next(waiting, None)
        if message is None:
            await asyncio.Event().wait()
        return message or {}

    return Request({"type": "http", "method": "POST", "path": "/", "headers": []}, receive)


HALF = {"type": "http.request", "body": b"half", "more_body": True}


async def test_a_body_that_ends_early() -> None:
    with pytest.raises(StockadeError) as caught:
        await read_bounded(_request(HALF, {"type": "http.disconnect"}), 100)
    assert caught.value.code == "request.incomplete"


async def test_a_body_that_does_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway.bodies, "BODY_SECONDS", 0.01)
    with pytest.raises(StockadeError) as caught:
        await read_bounded(_request(HALF), 100)
    assert (caught.value.code, caught.value.retryable) == ("request.timeout", True)


async def test_many_bodies_at_once_have_bounded_room() -> None:
    settings = SETTINGS.model_copy(update={"body_memory_bytes": 4000})
    async with installed(settings=settings) as it:
        await it.deploy()
        room = it.app.state.context.room
        with room.holding("alice") as take:
            take(900)
            problem = refused(await it.invoke(b"x" * 101), 503, "request.no_room")
            assert problem["retryable"] is True
            refused(await it.upload(b"x" * 101), 503, "request.no_room")
            assert (await it.worked(it.invoke(b"x" * 100))).status_code == 200
            async with it.client(await it.new_key("bob")) as http:
                sent = {"content-type": "application/wasm"}
                answer = await http.post("/v1/modules", content=b"x" * 900, headers=sent)
                refused(answer, 422, "module.not_wasm")
        assert (await it.worked(it.invoke(b"x" * 1000))).status_code == 200
        assert not room._taken


def test_all_tenants_share_the_room() -> None:
    room = BodyRoom(40)
    with ExitStack() as held:
        for tenant in "abcd":
            held.enter_context(room.holding(tenant))(10)
        with pytest.raises(StockadeError), room.holding("e") as take:
            take(1)
    assert not room._taken
