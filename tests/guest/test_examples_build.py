"""The examples build from source, and both their builds do what their manifests say.

The driver, `abi_host.py`, speaks the ABI by itself, so that it also checks the SDKs.
"""

import json
import shutil
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from wasmtime import Config, Engine, Module

from stockade.core.grants import ALWAYS
from stockade.core.host_functions import OFFERED
from tests.guest.abi_host import Example, Guest, Ran, read_frame, unpack
from tests.guest.toolchains import build_examples, need_toolchain, skip_or_fail

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples" / "wasm"
NAMES = sorted(path.parent.name for path in EXAMPLES.glob("*/stockade.toml"))
KIND = [name for name in NAMES if name != "infinite-loop"]
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
            need_toolchain(language)
            out = tmp_path_factory.mktemp(language)
            build_examples("--language", language, "--out", str(out)).check_returncode()
            built[language] = out
        return built[language] / example.module

    return rebuild


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


def imported_calls(example: Example, engine: Engine) -> set[tuple[str, str]]:
    module = Module.from_file(engine, str(example.committed))
    return {(needed.module, str(needed.name)) for needed in module.imports}


def calls_of(grant: str) -> set[str]:
    name = grant.partition(":")[0]
    named = {"kv": {"kv_get", "kv_set", "kv_delete", "kv_add"}, "secret": {"secret_get"}}
    return named.get(name, {name})


@pytest.mark.parametrize("example", NAMES, indirect=True)
def test_a_module_imports_only_what_it_is_granted(example: Example, engine: Engine) -> None:
    imports = imported_calls(example, engine)
    if example.manifest["abi"] == "wasi:preview1":
        assert imports <= {(WASI, call) for call in WASI_CALLS}
        return
    granted = {call for grant in example.grants for call in calls_of(grant)}
    assert imports <= {("stockade:v1", call) for call in {*ALWAYS, *granted}}


@pytest.mark.parametrize("example", NAMES, indirect=True)
def test_a_manifest_grants_only_what_is_used(example: Example, engine: Engine) -> None:
    used = {call for _, call in imported_calls(example, engine)}
    assert not [grant for grant in example.grants if not calls_of(grant) & used]


@pytest.mark.parametrize(
    ("name", "calls"),
    [
        ("csv-aggregate", {"log"}),
        ("text-redaction", {"log"}),
        ("visit-counter", {"config_get", "emit", "kv_add", "now_ms", "progress"}),
        ("link-preview", {"config_get", "http_fetch", "secret_get"}),
        ("host-calls-rust", set(OFFERED)),
        ("host-calls-assemblyscript", set(OFFERED)),
    ],
)
def test_the_sdks_import_just_what_is_called(name: str, calls: set[str], engine: Engine) -> None:
    module = Module.from_file(engine, str(EXAMPLES / name / f"{name}.wasm"))
    assert {needed.name for needed in module.imports} == calls


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
    assert guest.world.logs == logged[name]


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
        skip_or_fail("cargo is missing; install Rust")
    command = [str(cargo), "test", "--quiet", "--locked", "--manifest-path", str(ROOT / manifest)]
    subprocess.run(command, check=True)
