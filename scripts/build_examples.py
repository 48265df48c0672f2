"""Builds the example guests under `examples/wasm` from source.

Each language builds all of its examples at once. Modules go to `build/examples`, or to `--out`, so
that the committed ones stay as they are; `--update` overwrites those as well. A language whose
toolchain is missing is skipped with a word on what to install, or fails the build where CI=true.

    python scripts/build_examples.py --check
    python scripts/build_examples.py --language rust --update
"""

import argparse
import fcntl
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples" / "wasm"
DEFAULT_OUT = ROOT / "build" / "examples"
TOOL_SECONDS = 480
"""How long a compiler or an installer may take."""
RUST_TARGET = "wasm32-unknown-unknown"


class MissingToolchain(Exception):
    """A language cannot be built here; the message says what to install."""


@dataclass(frozen=True)
class Example:
    """One directory of `examples/wasm`, as its manifest tells."""

    name: str
    language: str
    directory: Path
    module: str


@dataclass(frozen=True)
class Cargo:
    """How Rust guests are built here: which cargo, with which switches and environment."""

    program: str
    arguments: tuple[str, ...] = ()
    rustflags: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Language:
    """`find` looks for the toolchain and raises MissingToolchain; `build` fills a directory."""

    find: Callable[[], object]
    build: Callable[[Sequence[Example], Path], None]


def read_examples() -> list[Example]:
    """All examples, by name."""
    return [_read_example(path) for path in sorted(EXAMPLES.glob("*/stockade.toml"))]


def _read_example(manifest: Path) -> Example:
    facts = tomllib.loads(manifest.read_text())
    return Example(facts["name"], facts["language"], manifest.parent, facts["module"])


def find_cargo() -> Cargo:
    """An installed wasm32 target first, else Debian's toolchain, which builds std itself.

    Raises:
        MissingToolchain: there is neither.
    """
    cargo = _find_cargo_with_target() or _find_debian_cargo()
    if cargo is None:
        raise MissingToolchain(
            f"run `rustup target add {RUST_TARGET}`, or on Debian"
            " `apt-get install rustc-web cargo-web rust-web-src lld`"
        )
    return cargo


def _find_cargo_with_target() -> Cargo | None:
    rustc, cargo = shutil.which("rustc"), shutil.which("cargo")
    if rustc is None or cargo is None:
        return None
    asked = [rustc, "--print", "target-libdir", "--target", RUST_TARGET]
    answer = subprocess.run(asked, capture_output=True, text=True, check=False)
    installed = answer.returncode == 0 and any(Path(answer.stdout.strip()).glob("libstd-*"))
    return Cargo(cargo) if installed else None


def _find_debian_cargo() -> Cargo | None:
    """Debian's rustc and cargo by package: rustup's may come first on PATH, and do not fit."""
    rustc = _find_in_package("rustc-web", "/bin/rustc")
    cargo = _find_in_package("cargo-web", "/bin/cargo")
    source = _find_in_package("rust-web-src", "/library/std/Cargo.toml")
    linker = shutil.which("wasm-ld")
    if rustc is None or cargo is None or source is None or linker is None:
        return None
    return Cargo(
        cargo,
        arguments=("-Zbuild-std=std,panic_abort",),
        # A panic's place would only tell where this machine keeps its sources.
        rustflags=("-Zlocation-detail=none", f"-Clinker={linker}"),
        environment={"RUSTC": rustc, "RUSTC_BOOTSTRAP": "1"},
    )


def _find_in_package(package: str, ending: str) -> str | None:
    dpkg = shutil.which("dpkg")
    if dpkg is None:
        return None
    listing = subprocess.run([dpkg, "-L", package], capture_output=True, text=True, check=False)
    return next((path for path in listing.stdout.splitlines() if path.endswith(ending)), None)


def build_rust(examples: Sequence[Example], out: Path) -> None:
    """Builds crates of the workspace; cargo names a module after its crate."""
    cargo = find_cargo()
    target = EXAMPLES / "target"
    command = [cargo.program, "build", "--release", "--locked", "--target", RUST_TARGET]
    command += ["--target-dir", str(target), *cargo.arguments]
    command += [f"--package={example.name}" for example in examples]
    rustflags = "\x1f".join([*_path_remaps(), *cargo.rustflags])
    network = {"CARGO_NET_RETRY": "5", "CARGO_HTTP_TIMEOUT": "20"}
    _run(command, {"CARGO_ENCODED_RUSTFLAGS": rustflags, **network, **cargo.environment})
    for example in examples:
        crate = example.name.replace("-", "_")
        shutil.copyfile(target / RUST_TARGET / "release" / f"{crate}.wasm", out / example.module)


def _path_remaps() -> list[str]:
    """Keeps this machine's paths out of the modules."""
    cargo_home = os.getenv("CARGO_HOME", str(Path.home() / ".cargo"))
    return [f"--remap-path-prefix={cargo_home}=/cargo", f"--remap-path-prefix={ROOT}=/stockade"]


def find_npm() -> str:
    """The npm that installs the AssemblyScript compiler.

    Raises:
        MissingToolchain: there is none.
    """
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        raise MissingToolchain("install Node.js 20 or later with npm")
    return npm


def build_assemblyscript(examples: Sequence[Example], out: Path) -> None:
    """Compiles each `task.ts` with the compiler that the lock file names."""
    compiler = install_assemblyscript()
    for example in examples:
        entry = f"{example.name}/task.ts"
        # The compiler takes paths from its own directory only.
        module = os.path.relpath(out / example.module, EXAMPLES)
        _run([str(compiler), entry, "--config", "asconfig.json", "--outFile", module])


def install_assemblyscript() -> Path:
    """The compiler, installed first where it is not; others who install it wait for one another.

    Raises:
        MissingToolchain: there is no npm.
    """
    npm = find_npm()
    with (EXAMPLES / "package-lock.json").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _is_installed():
            _run([npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts"], tries=3)
    return EXAMPLES / "node_modules" / ".bin" / "asc"


def _is_installed() -> bool:
    """Whether the last installation is younger than the lock file."""
    lock, installed = EXAMPLES / "package-lock.json", EXAMPLES / "node_modules/.package-lock.json"
    return installed.exists() and installed.stat().st_mtime >= lock.stat().st_mtime


def find_zig() -> list[str]:
    """The Zig that compiles C for WASI: PyPI's beside this Python, or one on PATH.

    Raises:
        MissingToolchain: there is neither.
    """
    if importlib.util.find_spec("ziglang"):
        return [sys.executable, "-m", "ziglang"]
    zig = shutil.which("zig")
    if zig is None:
        raise MissingToolchain("run `pip install ziglang` for this Python")
    return [zig]


def build_c(examples: Sequence[Example], out: Path) -> None:
    """Compiles each `main.c` to a WASI command."""
    compiler = [*find_zig(), "cc", "--target=wasm32-wasi", "-Os", "-s", "-Wall", "-Wextra"]
    # The default stack of 16 MiB would count as the guest's memory.
    compiler += ["-Werror", "-Wl,-z,stack-size=262144"]
    for example in examples:
        _run([*compiler, "-o", str((out / example.module).resolve()), f"{example.name}/main.c"])


def _run(
    command: Sequence[str], environment: dict[str, str] | None = None, *, tries: int = 1
) -> None:
    """Runs a tool; of one that downloads and hangs all is ended, and it is tried again."""
    inherited = os.environ  # noqa: TID251 (a compiler needs PATH, HOME and proxies as they are)
    whole = {**inherited, **(environment or {})}
    seconds = TOOL_SECONDS / tries
    for left in reversed(range(tries)):
        tool = subprocess.Popen(command, cwd=EXAMPLES, env=whole, start_new_session=True)
        try:
            status = tool.wait(seconds)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            with suppress(ProcessLookupError):
                os.killpg(tool.pid, signal.SIGKILL)
            tool.wait()
        if status == 0:
            return
        if not left:
            ended = f"after {seconds:.0f} s" if status is None else f"with {status}"
            raise SystemExit(f"{command[0]} {command[1]} ended {ended}.")


LANGUAGES = {
    "rust": Language(find_cargo, build_rust),
    "assemblyscript": Language(find_npm, build_assemblyscript),
    "c": Language(find_zig, build_c),
}


def check(languages: Sequence[str]) -> bool:
    """Says for each language whether it can be built here."""
    missing = [language for language in languages if not _is_available(language)]
    return not missing


def _is_available(language: str) -> bool:
    try:
        LANGUAGES[language].find()
    except MissingToolchain as missing:
        print(f"{language}: missing; {missing}")
        return False
    print(f"{language}: found")
    return True


def build(examples: Sequence[Example], out: Path) -> list[Example]:
    """Builds what can be built here, and returns it."""
    out.mkdir(parents=True, exist_ok=True)
    built: list[Example] = []
    for language, toolchain in LANGUAGES.items():
        chosen = [example for example in examples if example.language == language]
        if chosen and _is_available(language):
            toolchain.build(chosen, out)
            built += chosen
    for example in built:
        print(f"{example.name}: {(out / example.module).stat().st_size} bytes")
    return built


def update(examples: Sequence[Example], out: Path) -> None:
    """Overwrites the committed modules with fresh ones."""
    for example in examples:
        shutil.copyfile(out / example.module, example.directory / example.module)


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--check", action="store_true", help="look for the toolchains, build nothing"
    )
    parser.add_argument("--only", metavar="NAME", action="append", help="build this example only")
    parser.add_argument("--language", choices=LANGUAGES, help="build this language's examples only")
    parser.add_argument("--out", metavar="DIR", type=Path, default=DEFAULT_OUT)
    parser.add_argument(
        "--update", action="store_true", help="also overwrite the committed modules"
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; 1 when something that had to be built was not."""
    options = parse_arguments(arguments)
    examples = [
        example
        for example in read_examples()
        if options.language in {None, example.language}
        and (options.only is None or example.name in options.only)
    ]
    if not examples:
        print("There is no such example.")
        return 1
    if options.check:
        return 0 if check(sorted({example.language for example in examples})) else 1
    out = options.out.resolve()
    built = build(examples, out)
    if options.update:
        update(built, out)
    return 1 if os.getenv("CI") == "true" and len(built) < len(examples) else 0


if __name__ == "__main__":
    sys.exit(main())
