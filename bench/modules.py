"""The echo guest that all figures are taken with, also made larger."""

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


def padded(size_bytes: int) -> bytes:
    """An echo of about so many bytes, all of it code."""
    add = "(local.set 0 (i32.add (i32.mul (local.get 0) (i32.const 31)) (i32.const 7)))"
    unit = f"(func (param i32) (result i32) {add * 100} (local.get 0))"
    one = len(wat2wasm(f"(module {unit})")) - 20
    return bytes(
        wat2wasm(f"""
(module
  (memory (export "memory") 2)
  {unit * (size_bytes // one)}
  (func (export "stockade_v1_alloc") (param i32) (result i32) (i32.const 1024))
  (func (export "stockade_v1_run") (param i32 i32) (result i64)
    (i32.store8 (i32.const 1023) (i32.const 0))
    (i64.or (i64.shl (i64.const 1023) (i64.const 32))
            (i64.extend_i32_u (i32.add (local.get 1) (i32.const 1))))))
""")
    )
