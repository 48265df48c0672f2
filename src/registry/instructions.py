"""Walks a function's instructions: how deep its blocks nest, how far its branch tables reach.

Both cost a compiler more than they cost to write. Instructions between blocks are passed over by
one regular expression, which reads each with its operands and never goes back, so that the walk
takes time in proportion to the bytes. What an instruction means is the engine's to validate, in a
jail. Source: WebAssembly specification 5.4.
"""

import re
from collections.abc import Callable

from registry.reader import Malformed, Reader
from registry.wasm_sections import unsupported

_LEB = rb"[\x80-\xff]{0,9}+[\x00-\x7f]"
_PLAIN = re.compile(
    rb"(?:"
    rb"[\x00\x01\x05\x0f\x1a\x1b\x45-\xc4\xd1]"  # no operand
    rb"|[\x0c\x0d\x10\x20-\x26\x3f-\x42\xd0\xd2]" + _LEB +  # an index, a constant, a type
    rb"|[\x11\x28-\x3e]" + _LEB + _LEB +  # two indices; alignment and offset
    rb"|\x43.{4}|\x44.{8}"  # floats
    rb"|\x1c\x01."  # select of one type
    rb"|\xfc(?:[\x00-\x07]|[\x09\x0b\x0d\x0f-\x11]" + _LEB +
    rb"|[\x08\x0a\x0c\x0e]" + _LEB + _LEB + rb")"  # saturating, bulk memory, tables
    rb"|\xfd(?:[\x00-\x0b\x5c\x5d]" + _LEB + _LEB +  # vectors: loads and stores
    rb"|[\x0c\x0d].{16}"  # constants and shuffles
    rb"|[\x54-\x5b]" + _LEB + _LEB + rb".|[\x15-\x22]."  # lanes
    rb"|[\x0e-\x14\x23-\x53\x5e-\x7f]|[\x80-\xff]\x01)"  # no operand
    rb")*+",
    re.DOTALL,
)  # fmt: skip
_BLOCKS, _END, _BRANCH_TABLE = frozenset({0x02, 0x03, 0x04}), 0x0B, 0x0E
_BLOCK_TYPE = re.compile(rb"[\x80-\xff]{0,4}+[\x00-\x7f]")
"""Nothing, a value type, or the index of a type: all read as a signed integer of 33 bits."""
_PREFIXES = frozenset({0xFB, 0xFC, 0xFD, 0xFE})
_FEATURES = {
    **dict.fromkeys((0x06, 0x07, 0x08, 0x09, 0x0A, 0x18, 0x19, 0x1F), "exceptions"),
    **dict.fromkeys((0x12, 0x13, 0x15), "tail calls"),
    **dict.fromkeys((0x14, 0xD3, 0xD4, 0xD5, 0xD6), "function references"),
    **dict.fromkeys(range(0xE0, 0xE7), "stack switching"),
    0xFB: "garbage collection",
    0xFE: "threads",
}
"""Proposals that are switched off, by the first byte of their instructions."""
_RELAXED_SIMD_FROM, _WIDE_ARITHMETIC = 0x100, range(0x13, 0x17)

Check = Callable[[str, int], None]
"""Refuses a value above the cap of this name."""


class InstructionWalk:
    """Walks the bodies of one module.

    Args:
        body: The module.
        check: Is asked about `nesting`, `blocks`, `branch_targets` and `all_branch_targets`.
    """

    def __init__(self, body: bytes, check: Check) -> None:
        self._body = body
        self._check = check
        self._targets = 0
        self._blocks = 0
        self._deepest = 0

    def walk(self, start: int, end: int) -> None:
        """Walks one function's instructions, which end where its body does.

        Raises:
            Malformed: an instruction cannot be read, or blocks do not end with the body.
            StockadeError: what `check` raises, or `module.unsupported_feature`.
        """
        body, position, depth = self._body, start, 1
        while depth:
            found = _PLAIN.match(body, position, end)
            position = found.end() if found else position
            if position >= end:
                raise Malformed("a function ends within a block")
            opcode = body[position]
            if opcode == _END:
                position += 1
                depth -= 1
            elif opcode in _BLOCKS:
                depth += 1
                self._enter(depth)
                position = self._after_type(position + 1, end)
            elif opcode == _BRANCH_TABLE:
                position = self._after_table(position + 1, end)
            else:
                raise self._unread(position, end)
        if position != end:
            raise Malformed("a function goes on after its end")
        self._check("blocks", self._blocks)

    def _enter(self, depth: int) -> None:
        self._blocks += 1
        if depth > self._deepest:
            self._deepest = depth
            self._check("nesting", depth)

    def _after_type(self, position: int, end: int) -> int:
        found = _BLOCK_TYPE.match(self._body, position, end)
        if found is None:
            raise Malformed("a block's type cannot be read")
        return found.end()

    def _after_table(self, position: int, end: int) -> int:
        reader = Reader(self._body, position, end)
        count = reader.u32()
        self._check("branch_targets", count)
        # The default is a target too, so that no table is free.
        self._targets += count + 1
        self._check("all_branch_targets", self._targets)
        for _ in range(count + 1):
            reader.u32()
        return reader.position

    def _unread(self, position: int, end: int) -> Exception:
        opcode = self._body[position]
        feature = _FEATURES.get(opcode)
        if opcode in _PREFIXES and feature is None:
            feature = _feature_of(opcode, Reader(self._body, position + 1, end).u32())
        if feature is None:
            return Malformed("an instruction cannot be read")
        return unsupported(feature)


def _feature_of(prefix: int, opcode: int) -> str | None:
    if prefix == 0xFD and opcode >= _RELAXED_SIMD_FROM:  # noqa: PLR2004 (the prefix of vectors)
        return "relaxed SIMD"
    if prefix == 0xFC and opcode in _WIDE_ARITHMETIC:  # noqa: PLR2004 (the prefix of numbers)
        return "wide arithmetic"
    return None
