"""The real `stockade dev`: started, refused twice, stopped, killed, started again."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from registry.keys import generate_secret_key, public_bytes, public_key_pem
from registry.signing import sign
from stockade_client import Client, StockadeApiError
from tests.guest import guests

PATIENCE_SECONDS = 60.0


class Dev:
    """A running `stockade dev`."""

    def __init__(self, data_dir: Path, *words: str) -> None:
        self.data_dir = data_dir
        self._log = (data_dir.parent / f"{data_dir.name}.log").open("ab")
        self.process = subprocess.Popen(
            command("dev", "--port", "0", "--data-dir", str(data_dir), *words),
            stdout=subprocess.PIPE,
            stderr=self._log,
            process_group=0,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, Path(self._log.name).read_text()
        self.ready = json.loads(line)
        self.children = descendants(self.process.pid)

    @property
    def key(self) -> str:
        return Path(self.ready["api_key_file"]).read_text()

    def client(self) -> Client:
        return Client(self.ready["url"], self.key, transport=httpx.HTTPTransport())

    def child(self, name: str) -> int:
        found = [pid for pid in descendants(self.process.pid) if name in arguments_of(pid)]
        assert found, f"no {name} runs"
        return found[0]

    @property
    def log(self) -> str:
        return Path(self._log.name).read_text()

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.wait_for_end()

    def end_from_terminal(self) -> int:
        """Ctrl-C: the terminal sends it to the whole group."""
        os.killpg(self.process.pid, signal.SIGINT)
        return self.wait_for_end()

    def wait_for_end(self) -> int:
        code = self.process.wait(PATIENCE_SECONDS)
        assert self.process.stdout is not None
        assert self.process.stdout.read() == b"", "more than one line on stdout"
        return code

    def clean_up(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close() if self.process.stdout else None
        self._log.close()


def command(*words: str) -> tuple[str, ...]:
    return (sys.executable, "-P", "-m", "stockade.cli.main", *words)


def refused(*words: str) -> str:
    """What `stockade dev` says on its way out; it must not say that it is ready."""
    done = subprocess.run(
        command("dev", *words), capture_output=True, check=False, timeout=PATIENCE_SECONDS
    )
    assert (done.returncode, done.stdout) == (1, b"")
    return done.stderr.decode()


def descendants(pid: int) -> set[int]:
    parents = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(entry.parent.name)] = int(entry.read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {pid}


def arguments_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def alive(pids: set[int]) -> set[int]:
    return {pid for pid in pids if arguments_of(pid)}


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():
            await asyncio.sleep(0.05)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Dev]]:
    started: list[Dev] = []

    def begin(*words: str) -> Dev:
        started.append(Dev(tmp_path / "data", *words))
        return started[-1]

    yield begin
    for dev in started:
        dev.clean_up()


def deploy_echo(client: Client) -> None:
    key = generate_secret_key()
    client.add_signer("me", public_key_pem(public_bytes(key)).decode())
    module = client.upload_module(sign(guests.ECHO, key))
    client.put_function("echo", module.digest)


def live_and_let_die(client: Client) -> None:
    """A canary, a rollback, a deletion and a restoration, each seen by what is invoked."""
    digest = client.function("echo").module
    made = client.put_function("echo", digest, limits={"fuel": 50_000_000}, message="Less fuel")
    assert client.rehearse_function("echo", digest, against=1).passes
    assert client.diff("echo", 1, made.version).changes.keys() == {"limits"}
    client.put_alias("echo", "prod", version=1, expected_revision=0)
    half = client.promote("echo", "prod", made.version, percent=50, expected_revision=1)
    runs = {
        client.get(client.invoke("echo", alias="prod").invocation_id).version for _ in range(24)
    }
    assert runs == {1, 2}
    client.promote("echo", "prod", made.version)
    assert client.rollback("echo", "prod").percent == half.percent
    assert client.rollback("echo", "prod").weights == {1: 1}
    queued = client.submit("echo", b"queued", alias="prod")
    client.delete_function("echo")
    with pytest.raises(StockadeApiError) as caught:
        client.invoke("echo", alias="prod")
    assert caught.value.code == "function.deleted"
    assert client.wait(queued, 30).outcome == "completed"
    client.restore_function("echo")
    assert client.invoke("echo", b"back", alias="prod").output == b"back"


async def test_one_round_and_another_on_the_same_data(
    start: Callable[..., Dev], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for package in ("gateway", "redis", "sandbox_worker", "stockade"):
        (tmp_path / f"{package}.py").write_text("raise SystemExit('not what was installed')")
    dev = start("--workers-capacity", "1", "--fsync", "everysec")
    assert dev.ready.keys() == {"ready", "url", "api_key_file", "worker_metrics_url"}
    assert dev.ready["ready"] is True
    assert dev.data_dir.stat().st_mode & 0o777 == 0o700
    assert Path(dev.ready["api_key_file"]).stat().st_mode & 0o777 == 0o600
    key = dev.key
    with dev.client() as client:
        deploy_echo(client)
        first = client.invoke("echo", b"hello")
        assert first.output == b"hello"
        async with httpx.AsyncClient() as http:
            told = (await http.get(dev.ready["worker_metrics_url"])).text
        assert 'stockade_invocations_total{outcome="completed",tenant="dev"} 1.0' in told
        await until(lambda: client.status().working)
        status = client.status()
        assert (status.scope, status.capacity, len(status.workers)) == ("installation", 1, 1)
        live_and_let_die(client)
    assert len(dev.children) >= 3
    assert dev.end(signal.SIGTERM) == 0
    await until(lambda: not alive(dev.children))

    again = start()
    assert again.key == key
    with again.client() as client:
        assert client.result(first.invocation_id) == b"hello"
        assert client.invoke("echo", b"again").output == b"again"
    assert again.end_from_terminal() == 0
    assert "queue.unavailable" not in again.log


def test_a_second_one_on_the_same_data_or_port_is_refused(
    start: Callable[..., Dev], tmp_path: Path
) -> None:
    dev = start()
    same_data = refused("--port", "0", "--data-dir", str(dev.data_dir))
    assert "[dev.already_running]" in same_data
    assert f"process {dev.process.pid}" in same_data
    assert "--data-dir" in same_data

    port = dev.ready["url"].rpartition(":")[2]
    same_port = refused("--port", port, "--data-dir", str(tmp_path / "other"))
    assert f"Port {port}" in same_port
    assert "--port" in same_port
    assert dev.end(signal.SIGTERM) == 0


def test_a_part_that_never_starts_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOCKADE_MAX_MODULE_BYTES", "0")
    told = refused("--port", "0", "--data-dir", str(tmp_path / "data"))
    assert "--max-module-bytes (STOCKADE_MAX_MODULE_BYTES)" in told
    assert "The gateway ended 4 times before it could serve" in told
    assert "Traceback" not in told


async def test_killed_it_leaves_nothing_and_starts_again(start: Callable[..., Dev]) -> None:
    dev = start()
    with dev.client() as client:
        deploy_echo(client)
        accepted = client.submit("echo", b"kept")
    dev.children |= descendants(dev.process.pid)
    dev.end(signal.SIGKILL)
    await until(lambda: not alive(dev.children))

    again = start()
    with again.client() as client:
        assert client.wait(accepted, PATIENCE_SECONDS).outcome == "completed"
        assert client.result(accepted) == b"kept"
    assert again.end(signal.SIGTERM) == 0


@pytest.mark.parametrize("name", ["serve gateway", "serve worker", "valkey-server"])
async def test_a_part_that_dies_is_started_again(start: Callable[..., Dev], name: str) -> None:
    dev = start()
    with dev.client() as client:
        deploy_echo(client)
        before = dev.child(name)
        os.kill(before, signal.SIGKILL)
        await until(lambda: before not in descendants(dev.process.pid))
        await until(lambda: [p for p in descendants(dev.process.pid) if name in arguments_of(p)])
        await until(lambda: client.health().ready)
        accepted = client.submit("echo", b"still here", idempotency_key="once")
        assert client.wait(accepted, PATIENCE_SECONDS).outcome == "completed"
    assert dev.end(signal.SIGTERM) == 0


def test_a_second_signal_does_not_wait(start: Callable[..., Dev]) -> None:
    dev = start()
    os.kill(dev.child("serve gateway"), signal.SIGSTOP)
    dev.process.send_signal(signal.SIGTERM)
    assert dev.process.poll() is None
    children = dev.children
    dev.process.send_signal(signal.SIGINT)
    dev.process.wait(PATIENCE_SECONDS)
    assert not alive(children)


def test_the_demo_runs_every_example() -> None:
    words = command("demo")
    done = subprocess.run(words, capture_output=True, check=False, timeout=2 * PATIENCE_SECONDS)
    assert done.returncode == 0, done.stderr.decode()
    shown = done.stdout.decode()
    assert "limit_exceeded: fuel" in shown
    assert "module.unsigned" in shown
    assert "✗" not in shown
    assert "module.signer_revoked" in shown
    rows = len(list(Path("examples/wasm").glob("*/stockade.toml"))) + len(
        ("hostile", "unsigned", "revoked")
    )
    assert shown.count("✓") == rows
    assert "Everything is as expected." in done.stderr.decode()
