"""Each proposal that guests do not need is refused, by name where it can be told cheaply."""

from collections.abc import AsyncIterator

import pytest
from wasmtime import wat2wasm

from registry.admission import admit
from stockade.core.errors import StockadeError
from stockade.infra.jailed_compiler import JailedCompiler
from stockade.infra.zygote_jail import ZygoteJail
from tests.security.test_compile_bombs import POLICY

GUEST = """(module %s
  (func (export "stockade_v1_alloc") (param i32) (result i32) (i32.const 0))
  (func (export "stockade_v1_run") (param i32 i32) (result i64) %s))"""
MEMORY = '(memory (export "memory") 1)'
NAMED = {
    "memory64": (GUEST % ('(memory (export "memory") i64 1)', "(i64.const 0)"), "64-bit memory"),
    "shared memory": (
        GUEST % ('(memory (export "memory") 1 2 shared)', "(i64.const 0)"),
        "threads (shared memory)",
    ),
    "custom page sizes": (
        GUEST % ('(memory (export "memory") 1 (pagesize 1))', "(i64.const 0)"),
        "custom page sizes",
    ),
    "exceptions": (GUEST % (MEMORY + "(tag $e)", "(throw $e)"), "exceptions"),
    "tail calls": (
        GUEST % (MEMORY + "(func $f (result i64) (i64.const 0))", "(return_call $f)"),
        "tail calls",
    ),
    "threads": (GUEST % (MEMORY, "(atomic.fence) (i64.const 0)"), "threads"),
    "garbage collection": (
        GUEST % (MEMORY + "(type $s (struct (field i32)))",
                 "(drop (struct.new_default $s)) (i64.const 0)"),
        "garbage collection",
    ),
    "function references": (
        GUEST % (MEMORY + "(type $f (func (result i64))) (func $g (type $f) (i64.const 0))"
                 " (elem declare func $g)", "(call_ref $f (ref.func $g))"),
        "function references",
    ),
    "relaxed SIMD": (
        GUEST % (MEMORY, """(drop (i8x16.relaxed_swizzle (v128.const i64x2 0 0)
          (v128.const i64x2 0 0))) (i64.const 0)"""),
        "relaxed SIMD",
    ),
    "wide arithmetic": (
        GUEST % (MEMORY, """(drop (i64.mul_wide_u (i64.const 1) (i64.const 2)))"""),
        "wide arithmetic",
    ),
}  # fmt: skip


@pytest.fixture
async def compiler() -> AsyncIterator[JailedCompiler]:
    jail = ZygoteJail(POLICY)
    yield JailedCompiler(jail)
    await jail.aclose()


@pytest.mark.parametrize(("text", "feature"), NAMED.values(), ids=NAMED.keys())
async def test_a_proposal_is_refused_by_name_and_by_the_engine(
    compiler: JailedCompiler, text: str, feature: str
) -> None:
    body = bytes(wat2wasm(text))
    with pytest.raises(StockadeError) as refused:
        admit(body)
    assert refused.value.code == "module.unsupported_feature"
    assert refused.value.detail == {"feature": feature}
    with pytest.raises(StockadeError) as refused:
        await compiler.compile(body)
    assert refused.value.code == "module.invalid"


async def test_several_memories_are_refused(compiler: JailedCompiler) -> None:
    body = bytes(wat2wasm(GUEST % (MEMORY + "(memory 1)", "(i64.const 0)")))
    with pytest.raises(StockadeError) as refused:
        admit(body)
    assert refused.value.code == "module.memory_count"
    with pytest.raises(StockadeError, match="refuses"):
        await compiler.compile(body)


async def test_stack_switching_is_refused(compiler: JailedCompiler) -> None:
    text = GUEST % (
        MEMORY + "(type $f (func)) (type $c (cont $f)) (func $g (type $f)) (elem declare func $g)",
        "(drop (cont.new $c (ref.func $g))) (i64.const 0)",
    )
    body = bytes(wat2wasm(text))
    with pytest.raises(StockadeError) as refused:
        admit(body)
    assert refused.value.code == "module.unsupported_feature"
    with pytest.raises(StockadeError, match="refuses"):
        await compiler.compile(body)


def test_a_component_is_refused() -> None:
    with pytest.raises(StockadeError) as refused:
        admit(b"\0asm\x0d\0\x01\0")
    assert refused.value.code == "module.is_component"
