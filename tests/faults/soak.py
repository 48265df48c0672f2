"""`make soak`: random faults under load, then a count of what became of every acknowledgement.

Real gateways, workers and Valkey. The seed is printed; the same seed makes the same faults, though
not at the same instant of the load. Ends with 1 when a promise was broken.
"""

import argparse
import asyncio
import os
import random
import secrets
import signal
import sys
import tempfile
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from tests.faults.fleet import LEASE_SECONDS, Fleet, executors_of, until
from tests.guest import guests

if TYPE_CHECKING:
    import subprocess

CALLERS, WORKERS, GATEWAYS = 4, 2, 2
SETTLE_SECONDS = 180.0
# Counts the executions of each input under a key of its own.
COUNTING = guests.module(
    f"""(memory.copy (i32.const 105) (local.get 0) (local.get 1))
      (drop (call $add (i32.const 100) (i32.add (local.get 1) (i32.const 5)) (i64.const 1)))
      (i32.store8 (i32.const 39999) (i32.const 0)) (i64.const {(39999 << 32) + 1})""",
    imports='(import "stockade:v1" "kv_add" (func $add (param i32 i32 i64) (result i64)))',
    alloc='(func (export "stockade_v1_alloc") (param i32) (result i32) (i32.const 40000))',
    extra='(data (i32.const 100) "runs/")',
)


@dataclass
class Found:
    """What became of all that was acknowledged."""

    acknowledged: int
    lost: int = 0
    changed: int = 0
    named_twice: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    executions: Counter[int] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)

    @property
    def kept(self) -> bool:
        """Whether every promise was kept."""
        return self.acknowledged > 0 and not (self.lost or self.changed or self.named_twice)


class Soak:
    """One run over a fleet."""

    def __init__(self, fleet: Fleet, seed: int) -> None:
        self._fleet = fleet
        self._random = random.Random(seed)  # noqa: S311 - repeatable, not secret
        self._workers: list[subprocess.Popen[bytes]] = []
        self._gateways: list[tuple[subprocess.Popen[bytes], httpx.AsyncClient]] = []
        self._clients: list[httpx.AsyncClient] = []
        self._ids: dict[str, set[str]] = {}
        self._over = False
        self._harm: asyncio.Future[None] | None = None
        self.faults: Counter[str] = Counter()

    async def run(self, seconds: float) -> Found:
        """Load and faults for so long; then waits until all is done, and counts."""
        await self._fleet.deploy("soak", COUNTING)
        await self._fill()
        try:
            await self._harm_for(seconds)
        finally:
            for client in self._clients:
                await client.aclose()
        return await self._counted()

    async def _harm_for(self, seconds: float) -> None:
        async with asyncio.TaskGroup() as tasks:
            for caller in range(CALLERS):
                tasks.create_task(self._call(caller))
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    while True:
                        await asyncio.sleep(self._random.uniform(0.3, 1.5))
                        await self._do_harm()
            await self._mend()
            self._over = True

    async def _call(self, caller: int) -> None:
        number = 0
        while not self._over:
            number += 1
            key = f"{caller}-{number}"
            ids = self._ids[key] = set()
            # Whoever gets no answer asks again with the same key; some ask twice all the same.
            while not ids or self._random.random() < 0.1:
                gateway = self._random.choice(self._gateways)[1]
                with suppress(httpx.TransportError):
                    answer = await gateway.post(
                        "/v1/functions/soak/invocations",
                        content=key.encode(),
                        headers={"Idempotency-Key": key},
                    )
                    if answer.status_code == 202:
                        ids.add(answer.json()["id"])

    async def _do_harm(self) -> None:
        harm = self._random.choice(
            [
                self._kill_worker,
                self._stop_worker,
                self._drain_worker,
                self._kill_executors,
                self._kill_gateway,
                self._kill_valkey,
            ]
        )
        self.faults[harm.__name__.removeprefix("_")] += 1
        self._harm = asyncio.ensure_future(harm())
        await asyncio.shield(self._harm)

    async def _kill_worker(self) -> None:
        self._fleet.end(self._random.choice(self._workers))
        await self._fill()

    async def _stop_worker(self) -> None:
        worker = self._random.choice(self._workers)
        worker.send_signal(signal.SIGSTOP)
        await asyncio.sleep(2 * LEASE_SECONDS)
        worker.send_signal(signal.SIGCONT)

    async def _drain_worker(self) -> None:
        worker = self._random.choice(self._workers)
        worker.terminate()
        await asyncio.to_thread(worker.wait)
        await self._fill()

    async def _kill_executors(self) -> None:
        for pid in executors_of(self._random.choice(self._workers).pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    async def _kill_gateway(self) -> None:
        self._fleet.end(self._random.choice(self._gateways)[0])
        await self._fill()

    async def _kill_valkey(self) -> None:
        await self._fleet.kill_valkey()
        await self._fleet.valkey.start()

    async def _fill(self) -> None:
        """Starts what is missing."""
        self._workers = [one for one in self._workers if one.poll() is None]
        while len(self._workers) < WORKERS:
            self._workers.append(self._fleet.worker())
        kept = [(one, client) for one, client in self._gateways if one.poll() is None]
        while len(kept) < GATEWAYS:
            port = await self._fleet.gateway()
            self._clients.append(await self._fleet.client(port))
            kept.append((self._fleet.last, self._clients[-1]))
        self._gateways = kept

    async def _mend(self) -> None:
        if self._harm is not None:
            await self._harm  # the time may have ended in the middle of it
        if not self._fleet.valkey.running:
            await self._fleet.valkey.start()
        await self._fill()

    async def _counted(self) -> Found:
        acknowledged = {key: ids for key, ids in self._ids.items() if ids}
        found = Found(len(acknowledged), faults=self.faults)
        found.named_twice = sum(len(ids) > 1 for ids in acknowledged.values())
        ends = {key: await self._end_of(min(ids)) for key, ids in acknowledged.items()}
        found.lost = sum(end is None for end in ends.values())
        for key, ids in acknowledged.items():
            found.changed += await self._fleet.outcome(min(ids)) != ends[key]
            found.outcomes[str(ends[key])] += 1
            found.executions[await self._fleet.executions(key)] += 1
        return found

    async def _end_of(self, invocation_id: str) -> str | None:
        async def end() -> str | None:
            return await self._fleet.outcome(invocation_id)

        try:
            return await until(end, SETTLE_SECONDS)
        except TimeoutError:
            return None


async def soak(directory: Path, seconds: float, seed: int) -> Found:
    """Starts a fleet in a directory, harms it, and counts."""
    fleet = Fleet(directory)
    await fleet.start()
    try:
        return await Soak(fleet, seed).run(seconds)
    finally:
        await fleet.stop()


def main() -> int:
    """Runs as told on the command line; 1 when a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=120.0, help="how long faults go on")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1 << 32))
    options = parser.parse_args()
    print(f"{options.seconds:g} seconds of faults, --seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory() as directory:
        found = asyncio.run(soak(Path(directory), options.seconds, options.seed))
    print(f"faults: {dict(found.faults)}")
    print(f"acknowledged: {found.acknowledged}, outcomes: {dict(found.outcomes)}")
    print(f"lost: {found.lost}, outcomes that changed: {found.changed}")
    print(f"keys that named two invocations: {found.named_twice}")
    print(f"invocations by executions: {dict(sorted(found.executions.items()))}")
    return 0 if found.kept else 1


if __name__ == "__main__":
    sys.exit(main())
