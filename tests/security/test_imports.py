"""Imports that no host offers: refused before anything runs, and again by the executor."""

import pytest

from registry.admission import admit
from stockade.core.errors import StockadeError
from stockade.core.outcomes import Outcome
from tests.guest import guests
from tests.security.sandbox import Sandbox

LOG = "(param i32 i32 i32)"
BAD = {
    "unknown": ('(import "env" "pwn" (func))', "module.import_unknown"),
    "misspelt": (f'(import "stockade:v1" "logg" (func {LOG}))', "module.import_unknown"),
    "other case": (f'(import "Stockade:V1" "log" (func {LOG}))', "module.import_unknown"),
    "wrong type": ('(import "stockade:v1" "log" (func))', "module.import_mismatch"),
    "wrong result": ('(import "stockade:v1" "now_ms" (func (result i32)))',
                     "module.import_mismatch"),
    "memory": ('(import "stockade:v1" "log" (memory 1))', "module.import_kind"),
    "table": ('(import "stockade:v1" "log" (table 1 funcref))', "module.import_kind"),
    "global": ('(import "stockade:v1" "log" (global i32))', "module.import_kind"),
    "duplicated, one wrong": (
        f'(import "stockade:v1" "log" (func {LOG})) (import "stockade:v1" "log" (func))',
        "module.import_mismatch",
    ),
    "wasi in a stockade guest": (
        '(import "wasi_snapshot_preview1" "proc_exit" (func (param i32)))', "module.import_unknown"
    ),
}  # fmt: skip


def body_of(imports: str) -> bytes:
    memory = "" if "(memory" in imports else '(memory (export "memory") 1)'
    return bytes(
        guests.wat2wasm(f"""(module {imports} {memory} {guests.ALLOC}
          (func (export "stockade_v1_run") (param i32 i32) (result i64) (unreachable)))""")
    )


@pytest.mark.parametrize(("imports", "code"), BAD.values(), ids=BAD.keys())
async def test_a_bad_import_is_refused_twice(sandbox: Sandbox, imports: str, code: str) -> None:
    body = body_of(imports)
    with pytest.raises(StockadeError) as refused:
        admit(body)
    assert refused.value.code == code
    # Were one to get that far, the executor would not load it.
    result = await sandbox.run(body)
    assert result.outcome is Outcome.CRASHED
    await sandbox.is_unharmed()


async def test_the_same_import_twice_is_one(sandbox: Sandbox) -> None:
    twice = f'(import "stockade:v1" "log" (func {LOG}))' * 2
    assert admit(body_of(twice)).imports == ("stockade:v1.log",) * 2
    await sandbox.ends(body_of(twice), Outcome.TRAPPED)
