"""The exported memory missing, of another kind, or another's."""

import pytest
from wasmtime import wat2wasm

from registry.admission import admit
from stockade.core.errors import StockadeError
from stockade.core.outcomes import Outcome
from tests.guest import guests
from tests.security.sandbox import Sandbox

RUN = '(func (export "stockade_v1_run") (param i32 i32) (result i64) (i64.const 0))'
ODD = {
    "missing": "(memory 1)",
    "none at all": "",
    "a function": '(func (export "memory"))',
    "a global": '(memory 1) (global (export "memory") i32 (i32.const 0))',
    "under another name": '(memory (export "Memory") 1)',
}


@pytest.mark.parametrize("memory", ODD.values(), ids=ODD.keys())
async def test_a_guest_without_its_memory_is_refused_twice(sandbox: Sandbox, memory: str) -> None:
    body = bytes(wat2wasm(f"(module {memory} {guests.ALLOC} {RUN})"))
    with pytest.raises(StockadeError) as refused:
        admit(body)
    assert refused.value.code == "module.memory_count"
    result = await sandbox.run(body, b"x")
    assert result.outcome in {Outcome.TRAPPED, Outcome.CRASHED}
    await sandbox.is_unharmed()
