"""The examples build from source, and both their builds do what their manifests say.

The driver here speaks the ABI by itself, so that it also checks the SDKs against `sdk/abi`.
"""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from wasmtime import (
    Config,
    Engine,
    ExitTrap,
    Func,
    FuncType,
    Instance,
    Linker,
    Memory,
    Module,
    Store,
    Trap,
    TrapCode,
    ValType,
    WasiConfig,
)

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples" / "wasm"
NAMES = sorted(path.parent.name for path in EXAMPLES.glob("*/stockade.toml"))
KIND = [name for name in NAMES if name != "infinite-loop"]
DEFAULT_LIMITS = {"fuel": 1_000_000_000, "memory_bytes": 64 << 20, "output_bytes": 6 << 20}
MAX_MODULE_BYTES = 700_000
WASI = "wasi_snapshot_preview1"
WASI_CALLS = {"fd_close", "fd_fdstat_get", "fd_read", "fd_seek", "fd_write", "proc_exit"}
UNUSED_PROPOSALS = (
    "wasm_threads",
    "wasm_tail_call",
    "wasm_memory64",
    "wasm_multi_memory",
    "wasm_exceptions",
    "wasm_function_references",
    "wasm_gc",
    "wasm_relaxed_simd",
)


@dataclass(frozen=True)
class Example:
    directory: Path
    manifest: dict[str, Any]

    @property
    def module(self) -> str:
        return str(self.manifest["module"])

    @property
    def committed(self) -> Path:
        return self.directory / self.module

    @property
    def input(self) -> bytes:
        return (self.directory / str(self.manifest["input"])).read_bytes()

    @property
    def limits(self) -> dict[str, int]:
        return {**DEFAULT_LIMITS, **self.manifest["limits"]}


@dataclass(frozen=True)
class Ran:
    outcome: str
    body: bytes = b""
    limit: str | None = None
    retryable: bool = False


@dataclass
class Guest:
    """One instance of a module with an example's limits."""

    engine: Engine
    module: Module
    example: Example
    directory: Path
    logs: list[tuple[int, bytes]] = field(default_factory=list)

    def run(self, data: bytes) -> Ran:
        self.store = Store(self.engine)
        self.store.set_fuel(self.example.limits["fuel"])
        self.store.set_limits(memory_size=self.example.limits["memory_bytes"])
        speak = self._run_wasi if self.example.manifest["abi"] == "wasi:preview1" else self._run_v1
        try:
            return speak(data)
        except Trap as trap:
            if trap.trap_code is TrapCode.OUT_OF_FUEL:
                return Ran("limit_exceeded", limit="fuel")
            return Ran("trapped", str(trap).encode())

    def _run_v1(self, data: bytes) -> Ran:
        linker = Linker(self.engine)
        i32 = ValType.i32()
        linker.define_func("stockade:v1", "log", FuncType([i32, i32, i32], []), self._log)
        self.instance = linker.instantiate(self.store, self.module)
        pointer = self._call("stockade_v1_alloc", len(data))
        self._memory().write(self.store, data, pointer)
        start, length = unpack(self._call("stockade_v1_run", pointer, len(data)))
        return read_frame(self._read(start, length))

    def _run_wasi(self, data: bytes) -> Ran:
        stdin, stdout = self.directory / "stdin", self.directory / "stdout"
        stdin.write_bytes(data)
        streams = WasiConfig()
        streams.stdin_file = str(stdin)
        streams.stdout_file = str(stdout)
        self.store.set_wasi(streams)
        linker = Linker(self.engine)
        linker.define_wasi()
        self.instance = linker.instantiate(self.store, self.module)
        try:
            self._call("_start")
        except ExitTrap as exited:
            return Ran("completed" if exited.code == 0 else "rejected", stdout.read_bytes())
        return Ran("completed", stdout.read_bytes())

    def _log(self, level: int, pointer: int, length: int) -> None:
        self.logs.append((level, self._read(pointer, length)))

    def _read(self, pointer: int, length: int) -> bytes:
        return bytes(self._memory().read(self.store, pointer, pointer + length))

    def _memory(self) -> Memory:
        memory = _exports(self.instance, self.store)["memory"]
        assert isinstance(memory, Memory)
        return memory

    def _call(self, name: str, *arguments: int) -> int:
        function = _exports(self.instance, self.store)[name]
        assert isinstance(function, Func)
        return int(function(self.store, *arguments) or 0)


def _exports(instance: Instance, store: Store) -> dict[str, object]:
    exports = instance.exports(store)
    return dict(zip(exports, exports.values(), strict=True))


def unpack(packed: int) -> tuple[int, int]:
    return (packed >> 32) & 0xFFFFFFFF, packed & 0xFFFFFFFF


def read_frame(frame: bytes) -> Ran:
    match list(frame[:2]):
        case [0, *_]:
            return Ran("completed", frame[1:])
        case [1, (0 | 1) as retryable]:
            return Ran("rejected", frame[2:], retryable=retryable == 1)
        case _:
            return Ran("trapped")


@pytest.fixture(scope="session")
def engine() -> Engine:
    config = Config()
    config.consume_fuel = True
    for proposal in UNUSED_PROPOSALS:
        setattr(config, proposal, False)
    return Engine(config)


@pytest.fixture
def start(engine: Engine, tmp_path: Path) -> Callable[[Path, Example], Guest]:
    def start(path: Path, example: Example) -> Guest:
        return Guest(engine, Module.from_file(engine, str(path)), example, tmp_path)

    return start


@pytest.fixture(scope="session")
def rebuild(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Example], Path]:
    """Builds a language once, when its first example is asked for."""
    built: dict[str, Path] = {}

    def rebuild(example: Example) -> Path:
        language = example.manifest["language"]
        if language not in built:
            _need_toolchain(language)
            out = tmp_path_factory.mktemp(language)
            _build_script("--language", language, "--out", str(out)).check_returncode()
            built[language] = out
        return built[language] / example.module

    return rebuild


def _need_toolchain(language: str) -> None:
    found = _build_script("--check", "--language", language)
    if found.returncode:
        _skip_or_fail(found.stdout.strip())


def _skip_or_fail(reason: str) -> None:
    if os.getenv("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def _build_script(*arguments: str) -> subprocess.CompletedProcess[str]:
    script = ROOT / "scripts" / "build_examples.py"
    command = [sys.executable, str(script), *arguments]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)


@pytest.fixture
def example(request: pytest.FixtureRequest) -> Example:
    directory = EXAMPLES / request.param
    return Example(directory, tomllib.loads((directory / "stockade.toml").read_text()))


def assert_as_promised(example: Example, ran: Ran) -> None:
    manifest = example.manifest
    assert (ran.outcome, ran.limit) == (
        manifest["expected_outcome"],
        manifest.get("expected_limit"),
    )
    if "expected" in manifest:
        assert ran.body == (example.directory / manifest["expected"]).read_bytes()
        assert len(ran.body) <= example.limits["output_bytes"]


@pytest.mark.parametrize("example", NAMES, indirect=True)
def test_the_committed_module_does_what_its_manifest_says(
    example: Example, start: Callable[[Path, Example], Guest]
) -> None:
    assert_as_promised(example, start(example.committed, example).run(example.input))


@pytest.mark.parametrize("example", NAMES, indirect=True)
def test_the_rebuilt_module_does_what_its_manifest_says(
    example: Example,
    start: Callable[[Path, Example], Guest],
    rebuild: Callable[[Example], Path],
) -> None:
    assert_as_promised(example, start(rebuild(example), example).run(example.input))


@pytest.mark.parametrize("data", [b"", b"\xff\xfe", b"\xc0\x80" * 32, b"\xf0\x9f\x98"])
@pytest.mark.parametrize("example", KIND, indirect=True)
def test_input_of_the_wrong_kind_is_rejected_not_trapped(
    example: Example, start: Callable[[Path, Example], Guest], data: bytes
) -> None:
    ran = start(example.committed, example).run(data)
    assert ran.outcome == "rejected"
    assert not ran.retryable


@pytest.mark.parametrize("example", KIND, indirect=True)
def test_input_that_breaks_off_anywhere_never_traps(
    example: Example, start: Callable[[Path, Example], Guest]
) -> None:
    guest = start(example.committed, example)
    for length in range(0, len(example.input), 1 + len(example.input) // 40):
        assert guest.run(example.input[:length]).outcome in {"completed", "rejected"}


@pytest.mark.parametrize("example", NAMES, indirect=True)
def test_a_module_imports_only_what_the_host_offers(example: Example, engine: Engine) -> None:
    module = Module.from_file(engine, str(example.committed))
    wasi = example.manifest["abi"] == "wasi:preview1"
    offered = {(WASI, call) for call in WASI_CALLS} if wasi else {("stockade:v1", "log")}
    assert {(needed.module, needed.name) for needed in module.imports} <= offered


def test_a_pure_function_imports_nothing(engine: Engine) -> None:
    for name in ("markdown-to-html", "image-thumbnail", "order-pricing"):
        path = EXAMPLES / name / f"{name}.wasm"
        assert not Module.from_file(engine, str(path)).imports


@pytest.mark.parametrize("example", NAMES, indirect=True)
def test_a_committed_module_is_small_and_tells_no_paths(example: Example) -> None:
    content = example.committed.read_bytes()
    assert len(content) < MAX_MODULE_BYTES
    for path in (b"/root/", b"/home/", b"/usr/", b"/tmp/", b".cargo", str(ROOT).encode()):
        assert path not in content


@pytest.mark.parametrize("name", ["csv-aggregate", "text-redaction"])
def test_the_sdks_log_through_the_host(name: str, start: Callable[[Path, Example], Guest]) -> None:
    directory = EXAMPLES / name
    example = Example(directory, tomllib.loads((directory / "stockade.toml").read_text()))
    guest = start(example.committed, example)
    guest.run(example.input)
    logged = {
        "csv-aggregate": [(3, b"rows without a figure, left out: 1")],
        "text-redaction": [(2, b"e-mail addresses: 3, card numbers: 2, phone numbers: 3")],
    }
    assert guest.logs == logged[name]


def test_frames_are_read_as_the_vectors_say() -> None:
    vectors = json.loads((ROOT / "sdk" / "abi" / "vectors.json").read_text())
    for vector in vectors["frames"]:
        ran = read_frame(bytes.fromhex(vector["frame"]))
        assert ran.outcome == vector["outcome"], vector["name"]
        if ran.outcome == "completed":
            assert ran.body == bytes.fromhex(vector["output"]), vector["name"]
        if ran.outcome == "rejected":
            assert ran.retryable == vector["retryable"], vector["name"]
            assert ran.body.decode(errors="replace") == vector["message"], vector["name"]
    for vector in vectors["packed"]:
        assert unpack(int(vector["packed"], 16)) == (vector["pointer"], vector["length"])


@pytest.mark.parametrize("manifest", ["sdk/rust/Cargo.toml", "examples/wasm/Cargo.toml"])
def test_the_rust_unit_tests_pass(manifest: str) -> None:
    cargo = shutil.which("cargo")
    if cargo is None:
        _skip_or_fail("cargo is missing; install Rust")
    command = [str(cargo), "test", "--quiet", "--locked", "--manifest-path", str(ROOT / manifest)]
    subprocess.run(command, check=True)
