"""What the clients say about recordings: what goes out, and how it is read."""

import base64

import httpx
import pytest

from stockade_client import (
    AsyncClient,
    Blank,
    Client,
    Ending,
    RecordedAttempt,
    RecordedCall,
    Recording,
    StockadeApiError,
)
from tests.unit.sdk_python.fake_gateway import DIGEST, ID, FakeGateway, problem

PLACE = f"/v1/invocations/{ID}"
TOLD: dict[str, object] = {
    "id": ID,
    "function": "hello",
    "version": 2,
    "attempt": 1,
    "module": DIGEST,
    "abi": "stockade:v1",
    "deterministic": False,
    "env": {"A": "b"},
    "limits": {"fuel": 1000, "wall_ms": 10},
    "engine": "wasmtime-1",
    "input_digest": DIGEST,
    "ending": {
        "outcome": "completed",
        "limit": None,
        "detail": None,
        "fuel": 7,
        "peak_memory_bytes": 65536,
        "host_calls": 2,
        "output_digest": DIGEST,
    },
    "recording": {
        "cut": None,
        "calls": [
            {
                "number": 2,
                "name": "secret_get",
                "arguments": "a" * 32,
                "status": 0,
                "answer": base64.b64encode(b"0a1b").decode(),
                "blanks": [{"secret": "KEY", "start": 0, "length": 4}],
            }
        ],
    },
    "something_new": 1,
}
READ = RecordedAttempt(
    id=ID,
    function="hello",
    version=2,
    attempt=1,
    module=DIGEST,
    abi="stockade:v1",
    deterministic=False,
    engine="wasmtime-1",
    input_digest=DIGEST,
    ending=Ending("completed", None, None, 7, 65536, 2, DIGEST),
    limits={"fuel": 1000, "wall_ms": 10},
    env={"A": "b"},
    recording=Recording(
        (RecordedCall(2, "secret_get", "a" * 32, 0, b"0a1b", (Blank("KEY", 0, 4),)),)
    ),
)


@pytest.fixture
def gateway() -> FakeGateway:
    made = FakeGateway().on(f"GET {PLACE}/recording", httpx.Response(200, json=TOLD))
    made.on(f"GET {PLACE}/input", httpx.Response(200, content=b"in"))
    return made.on(f"GET {PLACE}/module", httpx.Response(200, content=b"\0asm"))


def test_a_recording_is_read_whole(gateway: FakeGateway) -> None:
    client = Client("http://gateway", "stk_key", transport=gateway.transport)
    assert client.recording(ID) == READ
    assert dict(gateway.last.url.params) == {}
    client.recording(ID, 3)
    assert dict(gateway.last.url.params) == {"attempt": "3"}
    assert (client.input_of(ID), client.module_of(ID)) == (b"in", b"\0asm")


def test_nothing_recorded_is_none(gateway: FakeGateway) -> None:
    gateway.on(f"GET {PLACE}/recording", httpx.Response(200, json=TOLD | {"recording": None}))
    client = Client("http://gateway", "stk_key", transport=gateway.transport)
    assert client.recording(ID).recording is None


@pytest.mark.parametrize(
    "change",
    [
        {"ending": None},
        {"limits": {"fuel": "x"}},
        {"recording": {"calls": [{"number": 1, "name": "now_ms"}]}},
        {"recording": {"calls": [{**TOLD["recording"]["calls"][0], "answer": "no base64!"}]}},  # type: ignore[index]
    ],
)
def test_what_is_no_recording_is_refused(gateway: FakeGateway, change: dict[str, object]) -> None:
    gateway.on(f"GET {PLACE}/recording", httpx.Response(200, json=TOLD | change))
    client = Client("http://gateway", "stk_key", transport=gateway.transport)
    with pytest.raises(StockadeApiError) as refused:
        client.recording(ID)
    assert refused.value.code == "client.unexpected_answer"


async def test_the_asyncio_client_says_the_same(gateway: FakeGateway) -> None:
    gateway.on(f"GET {PLACE}/input", problem(410, "invocation.input_gone"))
    async with AsyncClient("http://gateway", "stk_key", transport=gateway.transport) as client:
        assert await client.recording(ID, 1) == READ
        assert await client.module_of(ID) == b"\0asm"
        with pytest.raises(StockadeApiError) as gone:
            await client.input_of(ID)
    assert gone.value.code == "invocation.input_gone"


def test_a_deploy_asks_for_recording(gateway: FakeGateway) -> None:
    answer = httpx.Response(201, json={"name": "hello", "version": 1})
    gateway.on("PUT /v1/functions/hello", answer)
    client = Client("http://gateway", "stk_key", transport=gateway.transport)
    client.put_function("hello", DIGEST, record=True)
    assert gateway.last_json == {"module": DIGEST, "record": True}
