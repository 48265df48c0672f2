"""The walk through instructions: it reads what engines read, in time proportional to the bytes."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wasmtime import wat2wasm

from registry.instructions import InstructionWalk
from registry.module_reader import StaticCaps, read_module
from registry.reader import Malformed
from registry.signature_format import encode_u32
from stockade.core.errors import StockadeError

EXAMPLES = sorted((Path(__file__).parents[3] / "examples" / "wasm").glob("*/*.wasm"))
EVERYTHING = """(module
  (memory 1) (data $d "abc") (table $t 4 funcref) (elem $e func $f)
  (global $g (mut i32) (i32.const 0))
  (type $s (func (param i32) (result i32))) (type $two (func (result i32 i32)))
  (func $f (param i32) (result i32)
    (local $v v128) (local $r funcref) (local i64 f32 f64)
    nop (block (loop (br_if 1 (i32.const -5)) (br 0)))
    (if (result i32) (local.get 0) (then (i32.const 1)) (else (i32.const 2))) drop
    (block (type $two) (i32.const 1) (i32.const 2)) drop drop
    (block (block (block (br_table 0 1 2 (local.get 0)))))
    (drop (select (i32.const 1) (i32.const 2) (i32.const 3)))
    (drop (select (result i64) (i64.const -9223372036854775808) (i64.const 2) (i32.const 3)))
    (drop (f32.const nan)) (drop (f64.const -0x1p1023))
    (drop (i32.load8_u offset=300 (i32.const 0))) (i64.store align=1 (i32.const 0) (i64.const 1))
    (drop (i32.extend8_s (i32.const 1))) (drop (i32.trunc_sat_f64_u (f64.const 1e300)))
    (drop (memory.grow (memory.size)))
    (memory.init $d (i32.const 0) (i32.const 0) (i32.const 1)) (data.drop $d)
    (memory.copy (i32.const 0) (i32.const 1) (i32.const 2))
    (memory.fill (i32.const 0) (i32.const 1) (i32.const 2))
    (table.init $t $e (i32.const 0) (i32.const 0) (i32.const 1)) (elem.drop $e)
    (table.copy $t $t (i32.const 0) (i32.const 1) (i32.const 2))
    (drop (table.grow $t (ref.null func) (i32.const 1))) (drop (table.size $t))
    (table.fill $t (i32.const 0) (ref.func $f) (i32.const 1))
    (table.set $t (i32.const 0) (table.get $t (i32.const 1)))
    (drop (ref.is_null (ref.null extern)))
    (local.set $v (v128.load offset=9 (i32.const 0))) (v128.store (i32.const 0) (local.get $v))
    (local.set $v (v128.const i64x2 -1 0x0b0b0b0b0b0b0b0b))
    (local.set $v
      (i8x16.shuffle 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 31 (local.get $v) (local.get $v)))
    (drop (i8x16.extract_lane_s 11 (local.get $v)))
    (local.set $v (i64x2.replace_lane 1 (local.get $v) (i64.const 0)))
    (local.set $v (v128.load8_lane offset=70000 11 (i32.const 0) (local.get $v)))
    (local.set $v (v128.load32_zero (i32.const 0)))
    (local.set $v (i32x4.add (local.get $v) (local.get $v)))
    (local.set $v (f64x2.convert_low_i32x4_u (local.get $v)))
    (local.set $v (i8x16.popcnt (local.get $v)))
    (drop (call_indirect (type $s) (i32.const 1) (i32.const 0)))
    (global.set $g (call $f (local.tee 0 (global.get $g))))
    (return (i32.const 11))))"""


def walked(instructions: bytes, **caps: int) -> None:
    def check(name: str, value: int) -> None:
        if value > caps.get(name, 10**9):
            raise StockadeError("module.too_complex", name)

    InstructionWalk(b"??" + instructions + b"!", check).walk(2, 2 + len(instructions))


def test_every_kind_of_instruction_is_read_to_the_end() -> None:
    read_module(bytes(wat2wasm(EVERYTHING)), StaticCaps())


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_what_compilers_write_is_read_to_the_end(path: Path) -> None:
    read_module(path.read_bytes(), StaticCaps())


@pytest.mark.parametrize(
    ("instructions", "wrong"),
    [
        (b"", "within a block"),
        (b"\x01", "within a block"),
        (b"\x02\x40\x0b", "within a block"),
        (b"\x0b\x0b", "after its end"),
        (b"\x0b\x01", "after its end"),
        (b"\x41\x80", "cannot be read"),
        (b"\x43\0\0\0", "cannot be read"),
        (b"\xfd\x0c" + bytes(15), "cannot be read"),
        (b"\x16\x0b", "cannot be read"),
        (b"\xff\x0b", "cannot be read"),
        (b"\xfc\x7f\x0b", "cannot be read"),
        (b"\x02", "type cannot be read"),
        (b"\x02\x80", "type cannot be read"),
        (b"\x02" + b"\x80" * 5 + b"\0\x0b\x0b", "type cannot be read"),
        (b"\x0e\x05\0\0", "ends early"),
        (b"\x0e\xff\xff\xff\xff\xff\x0b", "too long"),
        (b"\xfc", "ends early"),
    ],
)
def test_what_cannot_be_read_is_malformed(instructions: bytes, wrong: str) -> None:
    with pytest.raises(Malformed, match=wrong):
        walked(instructions)


@pytest.mark.parametrize(
    ("instructions", "feature"),
    [
        (b"\x06\x40\x0b\x0b", "exceptions"), (b"\x08\0\x0b", "exceptions"),
        (b"\x1f\x40\0\x0b\x0b", "exceptions"), (b"\x12\0\x0b", "tail calls"),
        (b"\x13\0\0\x0b", "tail calls"), (b"\x14\0\x0b", "function references"),
        (b"\xd3\x0b", "function references"), (b"\xfb\0\0\x0b", "garbage collection"),
        (b"\xfe\0\0\0\x0b", "threads"), (b"\xe0\0\x0b", "stack switching"),
        (b"\xfd\x80\x02\x0b", "relaxed SIMD"), (b"\xfc\x13\x0b", "wide arithmetic"),
    ],
)  # fmt: skip
def test_a_proposal_that_is_off_is_named(instructions: bytes, feature: str) -> None:
    with pytest.raises(StockadeError) as refused:
        walked(instructions)
    assert refused.value.code == "module.unsupported_feature"
    assert refused.value.detail == {"feature": feature}


@pytest.mark.parametrize(
    ("instructions", "cap"),
    [
        (b"\x02\x40" * 10 + b"\x0b" * 11, "nesting"),
        (b"\x02\x40\x0b" * 10 + b"\x0b", "blocks"),
        (b"\x0e\x0a" + bytes(11) + b"\x0b", "branch_targets"),
        (b"\x0e\x04" + bytes(5) + b"\x0e\x05" + bytes(6) + b"\x0b", "all_branch_targets"),
        (b"\x0e\0\0" * 11 + b"\x0b", "all_branch_targets"),
    ],
)
def test_each_cap_counts_what_it_says(instructions: bytes, cap: str) -> None:
    walked(instructions, **{cap: 11})
    with pytest.raises(StockadeError, match=cap):
        walked(instructions, **{cap: 9})


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(instructions: bytes) -> None:
    try:
        walked(instructions)
    except (Malformed, StockadeError):
        return
    assert instructions.endswith(b"\x0b")


@pytest.mark.parametrize(
    "unit", [b"\x41\x80", b"\x28\x80\x80", b"\xfd\x80", b"\x80", b"\x43", b"\xfc\x08\x80"]
)
def test_hostile_bytes_take_no_more_than_one_look(unit: bytes) -> None:
    # A pattern that went back would take time in the square of this, which is minutes.
    body = unit * (2_000_000 // len(unit))
    with pytest.raises((Malformed, StockadeError)):
        walked(body)


def test_a_bodys_caps_are_the_modules() -> None:
    deep = b"\0" + b"\x02\x40" * 2_001 + b"\x0b" * 2_002
    body = (
        b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0"
         b"\x0a" + encode_u32(len(deep) + 1 + len(encode_u32(len(deep))))
        + b"\x01" + encode_u32(len(deep)) + deep
    )  # fmt: skip
    with pytest.raises(StockadeError) as refused:
        read_module(body, StaticCaps())
    assert refused.value.detail["what"] == "nesting"
