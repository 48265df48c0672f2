"""Modules put together byte by byte, so that a test can break exactly one thing; and fixed keys."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from registry.keys import public_bytes
from registry.signature_format import encode_u32
from stockade.core.modules import Signer

HEADER = b"\0asm\x01\0\0\0"
I32, I64 = b"\x7f", b"\x7e"
FUNCTION, TABLE, MEMORY, GLOBAL, TAG = range(5)
TYPES, IMPORTS, FUNCTIONS, TABLES, MEMORIES, GLOBALS, EXPORTS, START, ELEMENTS, CODE, DATA = range(
    1, 12
)
DATA_COUNT = 12
NOW = 1_800_000_000_000


def section(number: int, payload: bytes) -> bytes:
    return bytes([number]) + encode_u32(len(payload)) + payload


def text(name: str | bytes) -> bytes:
    raw = name.encode() if isinstance(name, str) else name
    return encode_u32(len(raw)) + raw


def custom(name: str | bytes, payload: bytes = b"") -> bytes:
    return section(0, text(name) + payload)


def vector(items: Sequence[bytes]) -> bytes:
    return encode_u32(len(items)) + b"".join(items)


def function_type(parameters: bytes, results: bytes) -> bytes:
    return b"\x60" + vector([bytes([one]) for one in parameters]) + text(results)


def imported(module: str | bytes, name: str | bytes, type_index: int) -> bytes:
    return text(module) + text(name) + b"\0" + encode_u32(type_index)


def exported(name: str | bytes, kind: int, index: int) -> bytes:
    return text(name) + bytes([kind]) + encode_u32(index)


def body(instructions: bytes, local_runs: Sequence[tuple[int, bytes]] = ()) -> bytes:
    runs = vector([encode_u32(count) + kind for count, kind in local_runs])
    return text(runs + instructions + b"\x0b")


ALLOC, RUN, LOG, NOTHING = range(4)
DECLARED = (
    function_type(I32, I32),
    function_type(I32 + I32, I64),
    function_type(I32 * 3, b""),
    function_type(b"", b""),
    function_type(I32 * 4, I32),
)
WRITE = 4


def assemble(sections: Mapping[int, bytes | None]) -> bytes:
    """A module of these sections, in the specification's order."""
    order = [1, 2, 3, 4, 5, 6, 7, 8, 9, DATA_COUNT, CODE, DATA]
    found = [(number, sections.get(number)) for number in order]
    parts = [section(number, payload) for number, payload in found if payload is not None]
    return HEADER + b"".join(parts)


def guest(
    *, imports: Sequence[bytes] = (), changes: Mapping[int, bytes | None] | None = None
) -> bytes:
    """A stockade:v1 guest; `changes` replaces or drops whole sections."""
    first = len(imports)
    sections: dict[int, bytes | None] = {
        TYPES: vector(DECLARED),
        IMPORTS: vector(imports) if imports else None,
        FUNCTIONS: vector([bytes([ALLOC]), bytes([RUN])]),
        MEMORIES: b"\1\0\1",
        EXPORTS: vector([
            exported("memory", MEMORY, 0),
            exported("stockade_v1_alloc", FUNCTION, first),
            exported("stockade_v1_run", FUNCTION, first + 1),
        ]),
        CODE: vector([body(b"\x41\0"), body(b"\x42\0")]),
    }  # fmt: skip
    return assemble(sections | dict(changes or {}))


def command(
    *, imports: Sequence[bytes] = (), changes: Mapping[int, bytes | None] | None = None
) -> bytes:
    """A WASI command."""
    exports = [exported("memory", MEMORY, 0), exported("_start", FUNCTION, len(imports))]
    sections: dict[int, bytes | None] = {
        FUNCTIONS: vector([bytes([NOTHING])]),
        EXPORTS: vector(exports),
        CODE: vector([body(b"")]),
    }
    return guest(imports=imports, changes=sections | dict(changes or {}))


def secret(number: int) -> Ed25519PrivateKey:
    """A key that is the same in every run."""
    return Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)


def signer(number: int, **changes: int | None) -> Signer:
    return replace(Signer(f"signer-{number}", public_bytes(secret(number))), **changes)  # type: ignore[arg-type] # only times are changed
