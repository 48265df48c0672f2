"""The walk and the engine read every instruction to the same byte, alone and nested at random."""

from functools import cache
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wasmtime import Module, WasmtimeError

from registry.instructions import InstructionWalk
from registry.module_reader import StaticCaps, read_module
from registry.reader import Malformed
from registry.signature_format import encode_u32
from sandbox_worker.guest.engine import build_engine
from stockade.core.errors import StockadeError
from tests.unit.registry.modules import HEADER, section, text, vector

COUNT = 12
"""Of everything that has an index, so that 11, the code of `end`, is an index: what the walk does
not take for an operand, it takes for an end."""
ENGINE = build_engine()
UNREACHABLE, END = b"\x00", b"\x0b"
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
PLAIN = [bytes([code]) for code in range(256) if code not in {0x02, 0x03, 0x04, 0x0B, 0x0E}]
PREFIXED = [bytes([first]) + encode_u32(code) for first in (0xFC, 0xFD) for code in range(0x140)]


def module_of(instructions: bytes) -> bytes:
    bodies = [text(LOCALS + instructions)] + [text(b"\0\x0b")] * (COUNT - 1)
    return BEFORE_CODE + section(10, vector(bodies)) + AFTER_CODE


def engine_takes(instructions: bytes) -> bool:
    try:
        Module.validate(ENGINE, module_of(instructions))
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


@cache
def accepted() -> dict[bytes, list[bytes]]:
    """Every opcode that the engine takes, with operands that it takes.

    Code that cannot be reached has any types that are asked for, so only the operands matter.
    """
    found: dict[bytes, list[bytes]] = {}
    for opcode in PLAIN + PREFIXED:
        for some in operands(opcode):
            if engine_takes(UNREACHABLE + opcode + some + UNREACHABLE + END):
                found.setdefault(opcode, []).append(opcode + some)
    return found


def test_every_instruction_of_the_engine_is_read_to_its_end() -> None:
    found = accepted()
    # 1.0 with sign extension and references has 178, 8 saturate, 10 are bulk, 236 are vectors'.
    assert len(found) == 429
    for instructions in found.values():
        for one in instructions:
            assert walk_takes(UNREACHABLE + one + UNREACHABLE + END), one.hex()


def test_what_the_engine_does_not_know_is_not_walked() -> None:
    for opcode in PLAIN + PREFIXED:
        if opcode not in accepted() and opcode[0] != 0xFD:
            assert not walk_takes(opcode + bytes(18) + END), opcode.hex()


@st.composite
def nested(draw: st.DrawFn, depth: int = 0) -> tuple[bytes, int, int]:
    """Instructions, how deep they nest, and how many targets their tables have."""
    code, deepest, targets = b"", depth, 0
    for _ in range(draw(st.integers(0, 3))):
        if depth < 6 and draw(st.booleans()):
            inner, inner_depth, inner_targets = draw(nested(depth + 1))
            kind = draw(st.sampled_from([b"\x02\x40", b"\x03\x0b", b"\x04\x8b\0"]))
            code += UNREACHABLE + kind + inner + END
            deepest, targets = max(deepest, inner_depth), targets + inner_targets
        elif draw(st.booleans()):
            labels = draw(st.lists(st.integers(0, depth), max_size=5))
            code += UNREACHABLE + b"\x0e" + vector([encode_u32(label) for label in labels]) + b"\0"
            targets += len(labels) + 1
        else:
            opcodes = accepted()
            some = draw(st.sampled_from(opcodes[draw(st.sampled_from(sorted(opcodes)))]))
            code += UNREACHABLE + some
    return code + UNREACHABLE, deepest, targets


@given(nested())
def test_the_walk_counts_what_the_engine_accepts(made: tuple[bytes, int, int]) -> None:
    code, depth, targets = made
    assert engine_takes(code + END)
    read_module(module_of(code + END), StaticCaps(nesting=depth + 1, all_branch_targets=targets))
    for caps in (StaticCaps(nesting=depth), StaticCaps(all_branch_targets=targets - 1)):
        if (depth and caps.nesting == depth) or (targets and caps.all_branch_targets < targets):
            with pytest.raises(StockadeError, match="at most"):
                read_module(module_of(code + END), caps)
