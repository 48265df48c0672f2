"""What a user sees: invocations over HTTP against `stockade dev`, from a signed upload on."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import httpx
import redis.asyncio

from bench.http_load import closed_loop
from bench.modules import ECHO
from registry.keys import generate_secret_key, public_bytes, public_key_pem
from registry.signing import sign
from stockade_client import Client

ASYNC_RUNS = 5000


@dataclass(frozen=True, slots=True)
class Service:
    """A running `stockade dev` with the echo function deployed."""

    url: str
    api_key: str
    redis_url: str

    @property
    def headers(self) -> dict[str, str]:
        """What every request carries."""
        return {
            "Authorization": f"Bearer {self.api_key}",
            "Content-Type": "application/octet-stream",
        }

    @property
    def invoke_url(self) -> str:
        """Where the echo is invoked and waited for."""
        return f"{self.url}/v1/functions/echo/invoke"

    @property
    def submit_url(self) -> str:
        """Where the echo is submitted."""
        return f"{self.url}/v1/functions/echo/invocations"


@contextlib.contextmanager
def running_service(fsync: str, variables: dict[str, str] | None = None) -> Iterator[Service]:
    """Starts `stockade dev` on a fresh data directory, under these settings, with the echo."""
    with tempfile.TemporaryDirectory() as directory:
        data = Path(directory)
        command = [sys.executable, "-m", "stockade.cli.main", "dev", "--port", "0"]
        command += ["--data-dir", str(data), "--fsync", fsync]
        env = {**os.environ, **(variables or {})}  # noqa: TID251 - for a child
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env
        ) as dev:
            try:
                assert dev.stdout is not None
                ready = json.loads(dev.stdout.readline())
                key = Path(ready["api_key_file"]).read_text(encoding="utf-8").strip()
                _deploy(ready["url"], key)
                yield Service(ready["url"], key, _redis_url(data))
            finally:
                dev.terminate()
                dev.wait(60)


def _redis_url(data: Path) -> str:
    lines = (data / "valkey" / "valkey.conf").read_text(encoding="utf-8").splitlines()
    settings = dict(line.split(maxsplit=1) for line in lines if " " in line)
    password = settings["requirepass"].strip('"')
    return f"redis://:{password}@127.0.0.1:{settings['port']}/0"


def _deploy(url: str, api_key: str) -> None:
    secret = generate_secret_key()
    with Client(url, api_key) as client:
        client.add_signer("bench", public_key_pem(public_bytes(secret)).decode())
        module = client.upload_module(sign(ECHO, secret))
        client.put_function("echo", module.digest)


async def invoke_seconds(
    service: Service, body: bytes, clients: int, requests: int
) -> tuple[list[float], float]:
    """Synchronous invocations, closed loop."""
    target = service.invoke_url
    await closed_loop(target, service.headers, body, clients=clients, requests=200, expect=200)
    return await closed_loop(
        target, service.headers, body, clients=clients, requests=requests, expect=200
    )


async def drain_seconds(service: Service, body: bytes) -> tuple[float, float]:
    """Seconds to submit `ASYNC_RUNS` invocations, and until every one of them is done."""
    started = time.perf_counter()
    _, submitted = await closed_loop(
        service.submit_url, service.headers, body, clients=16, requests=ASYNC_RUNS, expect=202
    )
    await _until_all_done(service)
    return submitted, time.perf_counter() - started


async def batch_seconds(service: Service, lines: int) -> tuple[float, float]:
    """Seconds until one call's lines are all acknowledged, and until every one of them is done."""
    body = b"\n".join([b'"' + b"x" * 1022 + b'"'] * lines)
    headers = service.headers | {"Content-Type": "application/x-ndjson"}
    async with httpx.AsyncClient(timeout=120.0) as client:
        started = time.perf_counter()
        answer = await client.post(f"{service.submit_url}:batch", content=body, headers=headers)
        submitted = time.perf_counter() - started
    refused = [line for line in answer.text.splitlines() if not line.startswith('{"id"')]
    if answer.status_code != HTTPStatus.ACCEPTED or refused:
        raise RuntimeError(f"the batch was answered {answer.status_code}: {refused[:3]}")
    await _until_all_done(service)
    return submitted, time.perf_counter() - started


async def _until_all_done(service: Service) -> None:
    async with redis.asyncio.from_url(service.redis_url) as client:
        while await _unfinished(client):
            await asyncio.sleep(0.02)


async def _unfinished(client: redis.asyncio.Redis) -> bool:
    """Whether anything waits or runs: entries of the ready stream, or of a tenant's backlog."""
    keys = [key async for key in client.scan_iter("sk:*:ready", count=10_000)]
    keys += [key async for key in client.scan_iter("sk:*:backlog:*", count=10_000)]
    sizes = [await (client.xlen(k) if k.endswith(b"ready") else client.zcard(k)) for k in keys]
    return any(sizes)
