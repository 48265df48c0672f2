"""Builds `tests/assets/bad`: small modules, each named by the one thing that is wrong with it.

`python -m scripts.build_bad_modules` (from the root, with `src` on `PYTHONPATH`) writes them and
`index.json`, which says the code that each is refused with, whose signatures are trusted, and what
time it is. The keys are fixed, so the bytes are the same every time.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from registry.keys import default_key_id, public_bytes
from registry.signature_format import (
    SignatureRecord,
    SignedHashes,
    attach,
    encode_payload,
    encode_u32,
    module_hashes,
)
from registry.signing import sign
from stockade.core.modules import Signer
from tests.unit.registry import modules as m
from tests.unit.registry import points

FOLDER = Path(__file__).parents[1] / "tests" / "assets" / "bad"
TRUSTED, REVOKED, EXPIRED, EARLY, FOREIGN = (m.secret(number) for number in range(1, 6))
SIGNERS = (
    Signer("trusted", public_bytes(TRUSTED)),
    Signer("revoked", public_bytes(REVOKED), revoked_ms=m.NOW - 1),
    Signer("expired", public_bytes(EXPIRED), not_after_ms=m.NOW),
    Signer("early", public_bytes(EARLY), not_before_ms=m.NOW + 1),
)
Cases = dict[str, tuple[str, bytes]]
WASI = "wasi_snapshot_preview1"
LOG = ("stockade:v1", "log", m.LOG)
DELIMITER = m.custom("signature_delimiter", b"d" * 16)
BODY = m.guest()
PARTS = m.HEADER + m.custom("first") + DELIMITER + BODY[8:]
HASHES = module_hashes(BODY)
GOOD = SignatureRecord(
    default_key_id(public_bytes(TRUSTED)), TRUSTED.sign(SignedHashes(HASHES, ()).message)
)


def unreadable() -> Cases:
    """Files that are no core module, or whose sections cannot be read."""
    return {
        "empty": ("module.not_wasm", b""),
        "text": ("module.not_wasm", b'(module (memory (export "memory") 1))'),
        "header-cut": ("module.not_wasm", m.HEADER[:7]),
        "component": ("module.is_component", b"\0asm\x0d\0\1\0"),
        "version-2": ("module.version_unsupported", b"\0asm\x02\0\0\0" + BODY[8:]),
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


def payload_cases() -> Cases:
    """Signature payloads that are not of the format."""
    good = encode_payload((SignedHashes(HASHES, (GOOD,)),))
    short = SignatureRecord(GOOD.key_id, GOOD.signature[:63])
    payloads = {
        "empty": b"",
        "cut": good[:-1],
        "followed-by-a-byte": good + b"\0",
        "version-2": b"\2" + good[1:],
        "for-components": good[:1] + b"\2" + good[2:],
        "other-hash-function": good[:2] + b"\2" + good[3:],
        "entries-too-many": encode_payload((SignedHashes(HASHES, (GOOD,)),) * 65),
        "hashes-too-many": encode_payload((SignedHashes(HASHES * 65, (GOOD,)),)),
        "signatures-too-many": encode_payload((SignedHashes(HASHES, (GOOD,) * 257),)),
        "entries-without-end": good[:3] + b"\xff\xff\xff\xff\x0f",
        "integer-overlong": good[:3] + b"\x81\x80\x80\x80\x80\0" + good[4:],
        "too-short": encode_payload((SignedHashes(HASHES, (short,)),)),
    }
    return {
        f"signature-{name}": ("module.signature_malformed", attach(BODY, payload))
        for name, payload in payloads.items()
    }


def signed(body: bytes, hashes: tuple[bytes, ...], *records: SignatureRecord) -> bytes:
    """The body with these records over these hashes, right or wrong."""
    return attach(body, encode_payload((SignedHashes(hashes, records),)))


def partly_signed() -> Cases:
    """Valid signatures that do not cover all of the module, or another one."""
    whole = sign(PARTS, TRUSTED)
    first = module_hashes(PARTS)[:1]
    prefix = SignatureRecord(GOOD.key_id, TRUSTED.sign(SignedHashes(first, ()).message))
    moved = m.HEADER + DELIMITER + m.custom("first") + BODY[8:]
    cut = PARTS[: PARTS.index(DELIMITER) + len(DELIMITER)]
    payload = encode_payload((SignedHashes(HASHES, (GOOD,)),))
    parts_payload = whole[whole.index(b"\x09signature") + 10 : -len(PARTS) + 8]
    return {
        "signature-of-a-part": ("module.signature_partial", signed(PARTS, first, prefix)),
        "section-appended": ("module.signature_mismatch", attach(BODY + m.custom("x"), payload)),
        "byte-changed": ("module.signature_mismatch", attach(BODY[:-2] + b"\1\x0b", payload)),
        "delimiter-moved": ("module.signature_mismatch", attach(moved, parts_payload)),
        "cut-at-a-delimiter": ("module.signature_mismatch", attach(cut, parts_payload)),
    }


def signature_cases() -> Cases:
    """Whole modules whose signatures are misplaced, forged, or not of a signer that counts."""
    section = m.custom("signature", encode_payload((SignedHashes(HASHES, (GOOD,)),)))
    message = SignedHashes(HASHES, ()).message
    as_component = TRUSTED.sign(message.replace(b"wasmsig\1\1", b"wasmsig\1\2"))
    forgeries = {
        "signature-of-a-foreign-key-under-a-trusted-id": FOREIGN.sign(message),
        "signature-as-a-component": as_component,
        "signature-with-large-s": points.with_large_s(GOOD.signature),
        "signature-with-small-r": points.with_small_commitment(TRUSTED, message),
    }
    cases: Cases = {
        "unsigned": ("module.unsigned", BODY),
        "signature-of-nobody": ("module.unsigned", signed(BODY, HASHES)),
        "signature-not-first": ("module.signature_misplaced", BODY + section),
        "signature-twice": ("module.signature_duplicate", m.HEADER + section * 2 + BODY[8:]),
        "signer-unknown": ("module.signer_unknown", sign(BODY, FOREIGN)),
        "signer-revoked": ("module.signer_revoked", sign(BODY, REVOKED)),
        "signer-expired": ("module.signer_expired", sign(BODY, EXPIRED)),
        "signer-not-yet-valid": ("module.signer_not_yet_valid", sign(BODY, EARLY)),
    }
    for name, forged in forgeries.items():
        record = SignatureRecord(GOOD.key_id, forged)
        cases[name] = "module.signature_invalid", signed(BODY, HASHES, record)
    return cases


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
