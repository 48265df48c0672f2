"""The echo guest that all figures are taken with."""

from wasmtime import wat2wasm

ECHO = bytes(
    wat2wasm("""
(module
  (memory (export "memory") 2)
  (func (export "stockade_v1_alloc") (param i32) (result i32) (i32.const 1024))
  (func (export "stockade_v1_run") (param i32 i32) (result i64)
    (i32.store8 (i32.const 1023) (i32.const 0))
    (i64.or (i64.shl (i64.const 1023) (i64.const 32))
            (i64.extend_i32_u (i32.add (local.get 1) (i32.const 1))))))
""")
)
