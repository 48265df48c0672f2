"""Real gateways, workers and Valkey as processes of their own, for tests that kill them."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import httpx

from registry.keys import generate_secret_key, public_bytes
from registry.signing import sign
from stockade.core.api_keys import ApiKey, generate_key
from stockade.core.key_values import KeyValueQuota
from stockade.core.modules import Signer
from stockade.infra.redis.embedded_valkey import EmbeddedValkey
from stockade.infra.redis.redis_connection import RedisConnections
from stockade.infra.redis.redis_key_values import RedisKeyValueStore
from stockade.infra.redis.redis_partitions import RedisPartitions
from stockade.infra.sql.sql_catalog import SqlCatalog
from tests.guest import guests

T = TypeVar("T")
LEASE_SECONDS = 1.0
TENANT = "acme"
KEY = generate_secret_key()
POLICIES = Path(__file__).parents[2] / "policies"
PATIENCE_SECONDS = 40.0


BUSY = """(loop $l (br_if $l (i32.lt_u
  (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 400000000))))"""
"""Takes some tenths of a second."""


def counting(key: str, then: str = "") -> bytes:
    """A guest that adds one to a key of its tenant at each execution, and answers with nothing."""
    body = f"""(local $n i32) (drop (call $add (i32.const 100) (i32.const {len(key) + 5})
      (i64.const 1))) {then}
      (i32.store8 (i32.const 39999) (i32.const 0)) (i64.const {(39999 << 32) + 1})"""
    imports = '(import "stockade:v1" "kv_add" (func $add (param i32 i32 i64) (result i64)))'
    alloc = '(func (export "stockade_v1_alloc") (param i32) (result i32) (i32.const 40000))'
    return guests.module(
        body, imports=imports, alloc=alloc, extra=f'(data (i32.const 100) "runs/{key}")'
    )


async def until(look: Callable[[], Awaitable[T]], seconds: float = PATIENCE_SECONDS) -> T:
    """What `look` sees once it sees something."""
    async with asyncio.timeout(seconds):
        while not (seen := await look()):
            await asyncio.sleep(0.02)
    return seen


class Fleet:
    """An installation in `directory`; what it starts it ends.

    Args:
        directory: For all its files.
        cluster_url: Nodes to use in place of a Valkey of its own.
        partitions: How many there are.
        database_url: A database to use in place of a file of its own.
    """

    def __init__(
        self, directory: Path, cluster_url: str = "", partitions: int = 1, database_url: str = ""
    ) -> None:
        self._directory = directory
        self._cluster_url, self._partitions = cluster_url, partitions
        self._database = database_url or f"sqlite:///{self.database_file}"
        self._numbers = count()
        self._started: list[subprocess.Popen[bytes]] = []
        self.valkey = EmbeddedValkey(directory / "valkey")

    async def start(self) -> None:
        """Starts Valkey and a first gateway; the tenant trusts the tests' key."""
        if not self._cluster_url:
            await self.valkey.start()
        catalog = await SqlCatalog.open(self._database)
        await catalog.ensure_tenant(TENANT)
        text, key = generate_key("test")
        await catalog.add_key(ApiKey(key.id, TENANT, "test", key.secret_hash, 0))
        await catalog.add_signer(TENANT, Signer("tests", public_bytes(KEY)))
        await catalog.aclose()
        self._headers = {"Authorization": f"Bearer {text}"}
        places = RedisPartitions(self._redis_url, self._partitions)
        self.key_values = RedisKeyValueStore(places.connections, KeyValueQuota())
        self.http = await self.client(await self.gateway())

    async def stop(self) -> None:
        """Ends all that was started."""
        await self.http.aclose()
        await self.key_values.aclose()
        self.end_all_but(0)
        await self.valkey.stop()

    async def gateway(self, redis_url: str = "", **own: str) -> int:
        """Starts a gateway and waits until it can serve; its port."""
        port = _free_port()
        self._spawn("gateway", redis_url, STOCKADE_PORT=str(port), **own)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:

            async def ready() -> bool:
                try:
                    return (await http.get("/readyz")).status_code == 200
                except httpx.TransportError:
                    return False

            await until(ready)
        return port

    async def client(self, port: int) -> httpx.AsyncClient:
        """A client of the gateway at this port."""
        url = f"http://127.0.0.1:{port}"
        return httpx.AsyncClient(base_url=url, headers=self._headers, timeout=PATIENCE_SECONDS)

    def worker(self, redis_url: str = "", **own: str) -> subprocess.Popen[bytes]:
        """Starts a worker."""
        usual = {
            "STOCKADE_CACHE_DIR": str(self._directory / "cache"),
            "STOCKADE_LEASE_SECONDS": str(LEASE_SECONDS),
            "STOCKADE_DRAIN_SECONDS": "5",
            "STOCKADE_CAPACITY": "4",
        }
        return self._spawn("worker", redis_url, **usual | own)

    async def kill_valkey(self) -> None:
        """kill -9; the same data is there when it is started again."""
        os.kill(self.valkey.pid, signal.SIGKILL)

        async def dead() -> bool:
            return not self.valkey.running

        await until(dead)

    async def bound_memory(self, most_bytes: int) -> None:
        """Gives Valkey so much memory; 0 is all there is, and 1 is too little for any write."""
        connections = RedisConnections(self.valkey.url)
        await connections.call("CONFIG", "SET", "maxmemory", most_bytes)
        await connections.close()

    @property
    def database_file(self) -> Path:
        """The catalog, where no database was given."""
        return self._directory / "catalog.sqlite"

    @property
    def last(self) -> subprocess.Popen[bytes]:
        """What was started last."""
        return self._started[-1]

    def end(self, process: subprocess.Popen[bytes]) -> None:
        """Kills a process with all that it started; its children end with their parent."""
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()

    def end_all_but(self, count: int) -> None:
        """Kills all but the first so many."""
        for process in self._started[count:]:
            self.end(process)

    def log_of(self, process: subprocess.Popen[bytes]) -> str:
        """What a process logged so far."""
        place = self._started.index(process)
        return (self._directory / f"{place}.log").read_text()

    async def deploy(self, name: str, body: bytes, **settings: Any) -> None:  # noqa: ANN401
        """Signs, uploads and deploys a guest that may count."""
        sent = {"content-type": "application/wasm"}
        uploaded = await self.http.post("/v1/modules", content=sign(body, KEY), headers=sent)
        limits = {"fuel": 10_000_000_000, "wall_ms": 20_000}
        content = {"module": uploaded.json()["digest"], "grants": ["kv:runs"], "limits": limits}
        answer = await self.http.put(f"/v1/functions/{name}", json=content | settings)
        assert answer.is_success, answer.text

    async def deploy_counting(self, then: str = "", **settings: Any) -> str:  # noqa: ANN401
        """Deploys a guest that counts its executions under its own name; the name."""
        name = f"f{next(self._numbers)}"
        await self.deploy(name, counting(name, then), **settings)
        return name

    async def warm_up(self, name: str) -> None:
        """Runs once, so that the server knows all scripts and the worker the module."""
        done = await self.until_state(await self.submit(name), "done")
        assert (done["outcome"], await self.executions(name)) == ("completed", 1)

    async def submit(self, name: str, **headers: str) -> str:
        """Submits an invocation; its id."""
        path = f"/v1/functions/{name}/invocations"
        answer = await self.http.post(path, content=b"in", headers=headers)
        assert answer.status_code == 202, answer.text
        invocation_id: str = answer.json()["id"]
        return invocation_id

    async def record(self, invocation_id: str) -> dict[str, Any]:
        """The record as it stands."""
        answer = await self.http.get(f"/v1/invocations/{invocation_id}")
        assert answer.status_code == 200, answer.text
        shown: dict[str, Any] = answer.json()
        return shown

    async def outcome(self, invocation_id: str) -> str | None:
        """How it ended, or None when it has not, or is nowhere to be found."""
        answer = await self.http.get(f"/v1/invocations/{invocation_id}")
        outcome: str | None = answer.json().get("outcome")
        return outcome

    async def until_state(self, invocation_id: str, state: str) -> dict[str, Any]:
        """The record once it is in this state."""

        async def reached() -> dict[str, Any] | None:
            record = await self.record(invocation_id)
            return record if record["state"] == state else None

        record = await until(reached)
        assert record is not None
        return record

    async def executions(self, key: str) -> int:
        """How often the guest that counts under this key was executed."""
        value = await self.key_values.get(TENANT, "runs", key)
        return int(value or b"0")

    async def until_executed(self, key: str, times: int) -> None:
        """Waits until the guest that counts under this key was begun so often."""

        async def reached() -> bool:
            return await self.executions(key) >= times

        await until(reached)

    async def dead_letters(self) -> list[str]:
        """The ids of what failed for good."""
        answer = await self.http.get("/v1/dead-letters")
        return [letter["id"] for letter in answer.json()["dead_letters"]]

    @property
    def _redis_url(self) -> str:
        return self._cluster_url or self.valkey.url

    def _spawn(self, kind: str, redis_url: str, **own: str) -> subprocess.Popen[bytes]:
        environment = {
            "STOCKADE_REDIS_URL": redis_url or self._redis_url,
            "STOCKADE_PARTITIONS": str(self._partitions),
            "STOCKADE_DATABASE_URL": self._database,
            "STOCKADE_BLOB_DIR": str(self._directory / "blobs"),
            "STOCKADE_POLICY_DIR": str(POLICIES),
            "STOCKADE_SECRETS_KEY_FILE": str(self._directory / "secrets.key"),
        }
        with (self._directory / f"{len(self._started)}.log").open("wb") as log:
            process = subprocess.Popen(
                (sys.executable, "-P", "-m", "stockade.cli.main", "serve", kind),
                stdout=log,
                stderr=log,
                env=os.environ | environment | own,  # noqa: TID251 - a child's
            )
        self._started.append(process)
        return process


def living() -> dict[int, int]:
    """All processes that have not ended, and the parent of each."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):
            state, parent = entry.read_text().rpartition(")")[2].split()[:2]
            if state not in "XZ":
                parents[int(entry.parent.name)] = int(parent)
    return parents


def zygotes_of(worker: int) -> set[int]:
    """The worker's zygote, which is its only child."""
    return {pid for pid, parent in living().items() if parent == worker}


def executors_of(worker: int) -> set[int]:
    """The children of the worker's zygote."""
    zygotes = zygotes_of(worker)
    return {pid for pid, parent in living().items() if parent in zygotes}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
