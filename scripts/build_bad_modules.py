"""Builds `tests/assets/bad`: small modules, each named by the one thing that is wrong with it.

`python -m scripts.build_bad_modules` (from the root, with `src` on `PYTHONPATH`) writes them and
`index.json`, which says the code that each is refused with, whose signatures are trusted, and what
time it is. The keys are fixed, so the bytes are the same every time.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from registry.signature_format import encode_u32
from registry.signing import sign
from scripts.bad_signatures import (
    BODY,
    SIGNERS,
    TRUSTED,
    Cases,
    partly_signed,
    payload_cases,
    signature_cases,
)
from tests.unit.registry import modules as m

FOLDER = Path(__file__).parents[1] / "tests" / "assets" / "bad"
WASI = "wasi_snapshot_preview1"
LOG = ("stockade:v1", "log", m.LOG)


def unreadable() -> Cases:
    """Files that are no core module, or whose sections cannot be read."""
    return {
        "empty": ("module.not_wasm", b""),
        "text": ("module.not_wasm", b'(module (memory (export "memory") 1))'),
        "header-cut": ("module.not_wasm", m.HEADER[:7]),
        "component": ("module.is_component", b"\0asm\x0d\0\1\0"),
        "version-2": ("module.version_unsupported", b"\0asm\x02\0\0\0" + BODY[8:]),
        "header-of-a-component": (
            "module.is_component",
            b"\0asm\x0d\0\1\0" + sign(BODY, TRUSTED)[8:],
        ),
        "header-of-another-layer": (
            "module.version_unsupported",
            b"\0asm\1\0\2\0" + sign(BODY, TRUSTED)[8:],
        ),
        "cut": ("module.malformed", BODY[:-1]),
        "section-beyond-the-end": ("module.malformed", m.HEADER + b"\1\xff\xff\xff\xff\x0f"),
        "section-length-overlong": ("module.malformed", m.HEADER + b"\1\x80\x80\x80\x80\x80\0"),
        "section-repeated": ("module.malformed", m.HEADER + m.section(m.TYPES, b"\0") * 2),
        "sections-out-of-order": (
            "module.malformed",
            m.HEADER + m.section(m.FUNCTIONS, b"\0") + m.section(m.TYPES, b"\0"),
        ),
        "section-unknown": ("module.malformed", BODY + m.section(14, b"")),
        "sections-too-many": ("module.malformed", BODY + m.custom("") * 1_001),
        "custom-name-not-utf8": ("module.malformed", BODY + m.custom(b"\xff")),
        "custom-name-too-long": ("module.malformed", BODY + m.custom("n" * 257)),
    }


def malformed_declarations() -> Iterator[tuple[str, dict[int, bytes | None]]]:
    """Sections that can be found, but whose contents cannot be read."""
    body = m.body(b"\x41\0")
    yield "type-of-no-function", {m.TYPES: m.vector([b"\x66\0"])}
    yield "types-followed-by-a-byte", {m.TYPES: m.vector(m.DECLARED) + b"\0"}
    yield "import-of-undeclared-type", {m.IMPORTS: m.vector([m.imported("a", "b", 99)])}
    yield "import-name-not-utf8", {m.IMPORTS: m.vector([m.imported(b"\xff", "b", 0)])}
    yield "export-twice", {m.EXPORTS: m.vector([m.exported("a", m.FUNCTION, 0)] * 2)}
    yield "export-of-undeclared-function", {m.EXPORTS: m.vector([m.exported("a", m.FUNCTION, 9)])}
    yield "export-name-not-utf8", {m.EXPORTS: m.vector([m.exported(b"\xff", m.FUNCTION, 0)])}
    yield "start-of-undeclared-function", {m.START: b"\2"}
    yield "body-missing", {m.CODE: m.vector([body])}
    yield "body-beyond-the-end", {m.CODE: m.vector([body, b"\x7f\0"])}


def complex_declarations() -> Iterator[tuple[str, dict[int, bytes | None]]]:
    """Counts beyond the static caps; a few bytes can claim any number."""
    yield "types-too-many", {m.TYPES: encode_u32(10_001)}
    yield "imports-too-many", {m.IMPORTS: encode_u32(65)}
    yield "functions-too-many", {m.FUNCTIONS: encode_u32(20_001)}
    yield "tables-too-many", {m.TABLES: encode_u32(9)}
    yield "globals-too-many", {m.GLOBALS: encode_u32(10_001)}
    yield "exports-too-many", {m.EXPORTS: encode_u32(257)}
    yield "element-segments-too-many", {m.ELEMENTS: encode_u32(10_001)}
    yield "data-segments-too-many", {m.DATA: encode_u32(100_001)}
    yield "body-too-large", {m.CODE: b"\2" + encode_u32(512 * 1024 + 1)}
    locals_bomb = m.body(b"\x41\0", [(200_001, m.I32)])
    yield "locals-too-many", {m.CODE: m.vector([locals_bomb, m.body(b"\x42\0")])}


def abi_cases() -> Cases:
    """Modules that can be read, but are no guests."""
    memory = m.exported("memory", m.MEMORY, 0)
    alloc, run = (m.exported(f"stockade_v1_{name}", m.FUNCTION, i) for i, name in enumerate(
        ("alloc", "run")
    ))  # fmt: skip
    both = m.vector([memory, alloc, run, m.exported("_start", m.FUNCTION, 0)])
    swapped = m.vector([
        memory,
        m.exported("stockade_v1_alloc", m.FUNCTION, 1),
        m.exported("stockade_v1_run", m.FUNCTION, 0),
    ])  # fmt: skip
    changes: dict[str, tuple[str, dict[int, bytes | None]]] = {
        "exports-nothing": ("module.abi_unknown", {m.EXPORTS: None}),
        "exports-only-run": ("module.abi_unknown", {m.EXPORTS: m.vector([memory, run])}),
        "exports-both-abis": ("module.abi_unknown", {m.EXPORTS: both}),
        "exports-swapped": ("module.abi_mismatch", {m.EXPORTS: swapped}),
        "memory-missing": ("module.memory_count", {m.MEMORIES: None}),
        "memories-two": ("module.memory_count", {m.MEMORIES: b"\2\0\1\0\1"}),
        "memory-not-exported": ("module.memory_count", {m.EXPORTS: m.vector([alloc, run])}),
    }
    return {name: (code, m.guest(changes=change)) for name, (code, change) in changes.items()}


def import_cases() -> Cases:
    """Guests that import what no host offers them."""
    kinds = {"table": b"\1\x70\0\1", "memory": b"\2\0\1", "global": b"\3\x7f\0", "tag": b"\4\0\0"}
    where = m.text("stockade:v1") + m.text("log")
    cases: Cases = {
        f"import-{kind}": (
            "module.import_kind",
            m.guest(changes={m.IMPORTS: m.vector([where + code])}),
        )
        for kind, code in kinds.items()
    }
    functions = {
        "import-unknown": ("module.import_unknown", "env", "pwn", m.LOG),
        "import-hostile-name": ("module.import_unknown", "\x1b[2J", "\u202egol\0", m.LOG),
        "import-wasi-into-stockade": ("module.import_unknown", WASI, "fd_write", m.WRITE),
        "import-misspelt": ("module.import_unknown", "stockade:v1", "http_fetsch", m.LOG),
        "import-of-another-type": ("module.import_mismatch", "stockade:v1", "log", m.RUN),
    }
    for name, (code, module, function, index) in functions.items():
        cases[name] = code, m.guest(imports=[m.imported(module, function, index)])
    old = m.imported("wasi_unstable", "fd_write", m.WRITE)
    return cases | {"import-old-wasi": ("module.import_unknown", m.command(imports=[old]))}


def all_cases() -> Cases:
    """Every bad module: its name, and the code it is refused with beside its bytes."""
    guests = abi_cases() | import_cases()
    guests |= {n: ("module.malformed", m.guest(changes=c)) for n, c in malformed_declarations()}
    guests |= {n: ("module.too_complex", m.guest(changes=c)) for n, c in complex_declarations()}
    well_signed = {name: (code, sign(body, TRUSTED)) for name, (code, body) in guests.items()}
    return unreadable() | well_signed | payload_cases() | partly_signed() | signature_cases()


def index(cases: Cases) -> str:
    """What is expected of each file, as JSON."""
    signers = [asdict(one) | {"public_key": one.public_key.hex()} for one in SIGNERS]
    codes = {f"{name}.wasm": code for name, (code, _) in sorted(cases.items())}
    return json.dumps({"now_ms": m.NOW, "signers": signers, "codes": codes}, indent=2) + "\n"


def main() -> None:
    """Writes the folder anew."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for old in FOLDER.glob("*.wasm"):
        old.unlink()
    cases = all_cases()
    for name, (_, content) in cases.items():
        (FOLDER / f"{name}.wasm").write_bytes(content)
    (FOLDER / "index.json").write_text(index(cases))
    print(f"{len(cases)} modules in {FOLDER.name}/")


if __name__ == "__main__":
    main()
