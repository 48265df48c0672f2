"""Every example does in the real runner what its manifest says; a stand-in for the supervisor."""

import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from wasmtime import Engine, Module

from sandbox_worker.guest.deadline import Deadline
from sandbox_worker.guest.engine import build_engine
from sandbox_worker.guest.frames import HostCall, HostReply, Ran, Run
from sandbox_worker.guest.public_machine import PublicMachine
from sandbox_worker.guest.raw_machine import RawMachine
from sandbox_worker.guest.runner import Runner
from stockade.core.limits import Limits
from stockade.core.modules import Abi
from stockade.core.outcomes import Outcome
from tests.guest.abi_host import Example, World

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "wasm"
NAMES = sorted(path.parent.name for path in EXAMPLES.glob("*/stockade.toml"))
SDKS = ["host-calls-rust", "host-calls-assemblyscript"]
Machines = PublicMachine | RawMachine


class Sandbox:
    """The real engine, executor's side and all, before an in-memory world."""

    def __init__(self, engine: Engine, machine: type[Machines], deadline: Deadline) -> None:
        self.world = World()
        self._engine = engine
        self._runner = Runner(engine, machine)
        self._runner.attach(deadline, self._ask)

    def _ask(self, call: HostCall) -> HostReply:
        world, text = self.world, call.text.encode()
        answers = {
            "progress": lambda: self._note_progress(call),
            "secret_get": lambda: world.secret_get(text),
            "kv_get": lambda: world.kv_get(text),
            "kv_set": lambda: world.kv_set(text, call.data, call.number),
            "kv_delete": lambda: world.kv_delete(text),
            "kv_add": lambda: world.kv_add(text, call.number),
            "http_fetch": lambda: world.http_fetch(call.data),
        }
        reply = answers[call.name]()
        return HostReply(reply[0], reply[1:])

    def _note_progress(self, call: HostCall) -> bytes:
        self.world.progress.append((call.number, call.text))
        return b"\x00"

    def run(self, name: str, data: bytes | None = None, limits: Limits | None = None) -> Ran:
        place = EXAMPLES / name
        example = Example(place, tomllib.loads((place / "stockade.toml").read_text()))
        self.world.grants += example.grants
        module = Module.from_file(self._engine, str(example.committed))
        self._runner.load(name, Abi(example.manifest["abi"]), bytes(module.serialize()))
        bounds = limits or Limits(**example.manifest["limits"])
        content = example.input if data is None else data
        return self._runner.run(Run(name, bounds, content, env=tuple(example.env.items())))

    def tell(self, name: str, *lines: str) -> list[str]:
        ran = self.run(name, "\n".join(lines).encode())
        assert ran.outcome is Outcome.COMPLETED, ran.detail
        return [line.partition(": ")[2] for line in ran.output.decode().splitlines()]


@pytest.fixture(scope="module")
def engine() -> Engine:
    return build_engine()


@pytest.fixture(params=[PublicMachine, RawMachine])
def sandbox(engine: Engine, request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    deadline = Deadline(engine)
    yield Sandbox(engine, request.param, deadline)
    deadline.close()


@pytest.mark.parametrize("name", NAMES)
def test_an_example_does_what_its_manifest_says(sandbox: Sandbox, name: str) -> None:
    manifest = tomllib.loads((EXAMPLES / name / "stockade.toml").read_text())
    ran = sandbox.run(name)
    assert (ran.outcome, ran.limit) == (
        manifest["expected_outcome"],
        manifest.get("expected_limit"),
    )
    if "expected" in manifest:
        assert ran.output == (EXAMPLES / name / manifest["expected"]).read_bytes()


@pytest.mark.parametrize("name", SDKS)
def test_what_a_guest_tells_is_in_its_record(sandbox: Sandbox, name: str) -> None:
    ran = sandbox.run(name)
    assert [(line.level, line.text) for line in ran.logs] == [(2, "the settings first")]
    assert [(event.name, event.data) for event in ran.events] == [("finished", '{"calls": 19}')]
    told = [(30, "then the store"), (90, "then what is not granted")]
    assert sandbox.world.progress == told
    assert [(span.name, span.parent) for span in ran.spans] == [("work", 0), ("step", 1)]
    assert ran.spans[1].attributes == (("value", "of two words"),)
    # The line about a span makes several calls; AssemblyScript closes the outer one alone.
    spans = {"host-calls-rust": 5, "host-calls-assemblyscript": 4}[name]
    assert ran.host_calls == len(ran.output.splitlines()) - 1 + spans


@pytest.mark.parametrize("name", SDKS)
def test_time_goes_on_and_randomness_varies(sandbox: Sandbox, name: str) -> None:
    before, after = (int(told) for told in sandbox.tell(name, "now_ms", "now_ms"))
    assert 1_700_000_000_000 < before <= after
    first, second = sandbox.tell(name, "random 70000", "random 70000")
    assert len(first) == len(second) == 140_000
    assert first != second
    assert first[-64:] != "0" * 64


@pytest.mark.parametrize("name", SDKS)
def test_values_cross_at_their_largest(sandbox: Sandbox, name: str) -> None:
    sandbox.world.grants.append("kv:a")
    value = "v" * 65_536
    assert sandbox.tell(name, f"kv_set a/b 9 {value}", "kv_get a/b") == ["ok", f"ok {value}"]
    lowest = -(2**63)
    assert sandbox.tell(name, f"kv_add a/n {lowest}") == [f"ok {lowest}"]


@pytest.mark.parametrize("name", SDKS)
def test_events_beyond_the_bound_are_dropped_and_the_run_goes_on(
    sandbox: Sandbox, name: str
) -> None:
    lines = "\n".join(f"emit e{number} {'x' * 100}" for number in range(10))
    ran = sandbox.run(name, lines.encode(), Limits(log_bytes=300))
    assert ran.outcome is Outcome.COMPLETED
    assert [event.name for event in ran.events] == ["e0", "e1"]
    assert ran.events_truncated


@pytest.mark.parametrize("name", SDKS)
def test_more_calls_than_allowed_end_the_run(sandbox: Sandbox, name: str) -> None:
    ran = sandbox.run(name, b"now_ms\nnow_ms\nnow_ms", Limits(host_calls=2))
    assert (ran.outcome, ran.limit) == (Outcome.LIMIT_EXCEEDED, "host_calls")


def test_visits_are_counted_from_run_to_run(sandbox: Sandbox) -> None:
    outputs = [sandbox.run("visit-counter", b"/pricing").output.decode() for _ in range(3)]
    assert ['"visits": 1,' in outputs[0], '"visits": 3,' in outputs[2]] == [True, True]
    assert sandbox.world.values == {"visits/pricing": b"3"}
