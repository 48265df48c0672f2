"""The floors: what the parts cost by themselves, measured in the same run."""

import asyncio
import contextlib
import multiprocessing
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator

import redis
import redis.asyncio
from wasmtime import Config, Engine, Linker, Module, Store

from bench.http_load import closed_loop
from bench.modules import ECHO
from stockade.core.limits import Limits

_HOPS = 2000
_ECHO_APP = """
from fastapi import FastAPI, Request, Response
app = FastAPI()
@app.post("/echo")
async def echo(request: Request) -> Response:
    return Response(await request.body())
"""


async def stream_hop_seconds(url: str, payload: bytes) -> list[float]:
    """A message to another process over one stream and back over another, closed loop."""
    echo = multiprocessing.get_context("spawn").Process(target=_echo_hops, args=(url,))
    async with redis.asyncio.from_url(url) as client:
        await client.delete("bench:there", "bench:back")
        await client.xgroup_create("bench:there", "g", id="0", mkstream=True)
        echo.start()
        times, last = [], "0"
        for _ in range(_HOPS):
            started = time.perf_counter()
            await client.xadd("bench:there", {"d": payload}, maxlen=100)
            answer = await client.xread({"bench:back": last}, block=10_000)
            times.append(time.perf_counter() - started)
            ((_, ((last, _),)),) = _entries(answer)
        await client.delete("bench:there", "bench:back")
    echo.join()
    return times[_HOPS // 10 :]


def _entries(answer: object) -> list[tuple[object, list[tuple[str, object]]]]:
    return [*answer.items()] if isinstance(answer, dict) else list(answer)  # type: ignore[call-overload]


def _echo_hops(url: str) -> None:
    client = redis.from_url(url)
    for _ in range(_HOPS):
        answer = client.xreadgroup("g", "c", {"bench:there": ">"}, count=1, block=10_000)
        ((_, ((entry, fields),)),) = _entries(answer)
        client.xadd("bench:back", fields, maxlen=100)
        client.xack("bench:there", "g", entry)
    client.close()


async def http_echo_seconds(body: bytes, clients: int, requests: int) -> tuple[list[float], float]:
    """A bare FastAPI application on uvicorn that answers with the request's body."""
    async with _echo_server() as url:
        await closed_loop(url, {}, body, clients=clients, requests=200, expect=200)
        return await closed_loop(url, {}, body, clients=clients, requests=requests, expect=200)


@contextlib.asynccontextmanager
async def _echo_server() -> AsyncIterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = (
        f"import uvicorn\n{_ECHO_APP}\n"
        f"uvicorn.run(app, port={port}, log_level='error', access_log=False)"
    )
    server = subprocess.Popen([sys.executable, "-c", program])  # noqa: ASYNC220 (quick to start)
    try:
        while True:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                break
            await asyncio.sleep(0.05)
        yield f"http://127.0.0.1:{port}/echo"
    finally:
        server.terminate()
        server.wait()


def naive_run_seconds(data: bytes, runs: int) -> list[float]:
    """The same guest by the bindings' public calls, as their documentation shows."""
    config = Config()
    config.consume_fuel = True
    config.epoch_interruption = True
    engine = Engine(config)
    module, linker = Module(engine, ECHO), Linker(engine)
    limits, times = Limits(), []
    for _ in range(runs):
        started = time.perf_counter()
        store = Store(engine)
        store.set_limits(memory_size=limits.memory_bytes)
        store.set_fuel(limits.fuel)
        store.set_epoch_deadline(1)
        exports = linker.instantiate(store, module).exports(store)
        pointer = exports["stockade_v1_alloc"](store, len(data))
        exports["memory"].write(store, data, pointer)
        packed = exports["stockade_v1_run"](store, pointer, len(data))
        start = packed >> 32
        bytes(exports["memory"].read(store, start, start + (packed & 0xFFFFFFFF)))
        times.append(time.perf_counter() - started)
    return times[runs // 10 :]


def reused_instance_seconds(data: bytes, runs: int) -> list[float]:
    """The same guest in one instance that is used again and again: no isolation between runs."""
    config = Config()
    config.consume_fuel = True
    engine = Engine(config)
    store = Store(engine)
    exports = Linker(engine).instantiate(store, Module(engine, ECHO)).exports(store)
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        store.set_fuel(Limits().fuel)
        pointer = exports["stockade_v1_alloc"](store, len(data))
        exports["memory"].write(store, data, pointer)
        packed = exports["stockade_v1_run"](store, pointer, len(data))
        start = packed >> 32
        bytes(exports["memory"].read(store, start, start + (packed & 0xFFFFFFFF)))
        times.append(time.perf_counter() - started)
    return times[runs // 10 :]
