"""The walk and the engine read every instruction to the same byte, alone and nested at random."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wasmtime import Engine, Module, WasmtimeError

from registry.instructions import InstructionWalk
from registry.reader import Malformed
from registry.signature_format import encode_u32
from sandbox_worker.guest.engine import build_engine
from stockade.core.errors import StockadeError
from tests.unit.registry.modules import HEADER, section, text, vector

COUNT = 12
"""Of everything that has an index, so that 11, the code of `end`, is an index: what the walk does
not take for an operand, it takes for an end."""
UNREACHABLE, END = b"\x00", b"\x0b"
Accepted = dict[bytes, list[bytes]]
BEFORE_CODE = (
    HEADER
    + section(1, vector([b"\x60\0\0"] * COUNT))
    + section(3, vector([b"\0"] * COUNT))
    + section(4, vector([b"\x70\0\1"] * COUNT))
    + section(5, vector([b"\0\1"]))
    + section(6, vector([b"\x7f\1\x41\0\x0b"] * COUNT))
    + section(9, vector([b"\1\0\1\0"] * COUNT))
    + section(12, encode_u32(COUNT))
)
AFTER_CODE = section(11, vector([b"\1\0"] * COUNT))
LOCALS = b"\1" + encode_u32(COUNT) + b"\x7f"
WORDS = (b"\x00", b"\x0b", b"\x8b\x00", b"\x70", b"\x01\x7f")
"""Operands: two indices, one of them also written longer than it need be; types."""
NESTING_AND_PREFIXES = {0x02, 0x03, 0x04, 0x05, 0x0B, 0x0E, 0xFC, 0xFD}
PLAIN = [bytes([code]) for code in range(256) if code not in NESTING_AND_PREFIXES]
PREFIXED = [bytes([first]) + encode_u32(code) for first in (0xFC, 0xFD) for code in range(0x140)]


def module_of(instructions: bytes) -> bytes:
    bodies = [text(LOCALS + instructions)] + [text(b"\0\x0b")] * (COUNT - 1)
    return BEFORE_CODE + section(10, vector(bodies)) + AFTER_CODE


def engine_takes(engine: Engine, instructions: bytes) -> bool:
    try:
        Module.validate(engine, module_of(instructions))
    except WasmtimeError:
        return False
    return True


def walk_takes(instructions: bytes) -> bool:
    try:
        InstructionWalk(instructions, lambda _cap, _value: None).walk(0, len(instructions))
    except (Malformed, StockadeError):
        return False
    return True


def operands(opcode: bytes) -> list[bytes]:
    words = 3 if opcode[0] == 0xFD else 2
    some = [b"".join(taken) for count in range(words + 1) for taken in product(WORDS, repeat=count)]
    return some + [fill * size for fill in (b"\x00", b"\x0b") for size in (4, 8, 16)]


@pytest.fixture(scope="module")
def engine() -> Engine:
    return build_engine()


@pytest.fixture(scope="module")
def accepted(engine: Engine) -> Accepted:
    """Every opcode that the engine takes, with operands that it takes.

    Code that cannot be reached has any types that are asked for, so only the operands matter.
    """
    found: Accepted = {}
    for opcode in PLAIN + PREFIXED:
        for some in operands(opcode):
            if engine_takes(engine, UNREACHABLE + opcode + some + UNREACHABLE + END):
                found.setdefault(opcode, []).append(opcode + some)
    return found


def test_every_instruction_of_the_engine_is_read_to_its_end(accepted: Accepted) -> None:
    # 166 of 1.0, 5 extend signs, 6 are about references, 8 saturate, 10 are bulk, 236 vectors'.
    assert len(accepted) == 166 + 5 + 6 + 8 + 10 + 236
    for instructions in accepted.values():
        for one in instructions:
            assert walk_takes(UNREACHABLE + one + UNREACHABLE + END), one.hex()


def test_what_the_engine_does_not_know_is_not_walked(accepted: Accepted) -> None:
    for opcode in PLAIN + PREFIXED:
        if opcode not in accepted and opcode[0] != 0xFD:
            assert not walk_takes(opcode + bytes(18) + END), opcode.hex()


@st.composite
def nested(draw: st.DrawFn, accepted: Accepted, depth: int = 0) -> tuple[bytes, int, int]:
    """Instructions, how deep they nest, and how many targets their tables have."""
    code, deepest, targets = b"", depth, 0
    for _ in range(draw(st.integers(0, 3))):
        if depth < 6 and draw(st.booleans()):
            inner, inner_depth, inner_targets = draw(nested(accepted, depth + 1))
            kind = draw(st.sampled_from([b"\x02\x40", b"\x03\x0b", b"\x04\x8b\0"]))
            code += UNREACHABLE + kind + inner + END
            deepest, targets = max(deepest, inner_depth), targets + inner_targets
        elif draw(st.booleans()):
            labels = draw(st.lists(st.integers(0, depth), max_size=5))
            code += UNREACHABLE + b"\x0e" + vector([encode_u32(label) for label in labels]) + b"\0"
            targets += len(labels) + 1
        else:
            some = accepted[draw(st.sampled_from(sorted(accepted)))]
            code += UNREACHABLE + draw(st.sampled_from(some))
    return code + UNREACHABLE, deepest, targets


@given(st.data())
def test_the_walk_counts_what_the_engine_accepts(
    engine: Engine, accepted: Accepted, data: st.DataObject
) -> None:
    code, deepest, targets = data.draw(nested(accepted))
    assert engine_takes(engine, code + END)
    assert counted(code + END) == {"nesting": deepest + 1, "all_branch_targets": targets}


def counted(instructions: bytes) -> dict[str, int]:
    """The most that the walk asked about; a function is one level of nesting."""
    most = {"nesting": 1, "all_branch_targets": 0}

    def check(cap: str, value: int) -> None:
        if cap in most:
            most[cap] = max(most[cap], value)

    InstructionWalk(instructions, check).walk(0, len(instructions))
    return most
