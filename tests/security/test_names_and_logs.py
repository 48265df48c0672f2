"""Names, messages and log lines that would move the cursor, forge lines or reverse text."""

import pytest
from wasmtime import wat2wasm

from registry.admission import admit
from stockade.cli.words import safe
from stockade.core.errors import StockadeError
from stockade.core.outcomes import Outcome
from tests.guest import guests
from tests.security.sandbox import PLENTY, Sandbox
from tests.unit.gateway.installation import installed, refused
from tests.unit.registry.signed_modules import signed

HOSTILE = ["\x1b[2J", "\u202egnp.exe", "a\0b", "line\nline", "\x07", "\x9b31m", "\u2066x\u2069"]


@pytest.mark.parametrize("name", HOSTILE)
def test_an_imports_name_is_escaped_where_it_is_told(name: str) -> None:
    raw = "".join(f"\\{byte:02x}" for byte in name.encode())
    body = bytes(
        wat2wasm(f"""(module (import "env" "{raw}" (func)) (memory (export "memory") 1)
          {guests.ALLOC}
          (func (export "stockade_v1_run") (param i32 i32) (result i64) (i64.const 0)))""")
    )
    with pytest.raises(StockadeError) as refusal:
        admit(body)
    told = f"{refusal.value.message} {refusal.value.detail}"
    assert told.isprintable()
    assert told.isascii()


@pytest.mark.parametrize("name", HOSTILE)
async def test_an_export_of_any_name_breaks_no_answer(name: str) -> None:
    raw = "".join(f"\\{byte:02x}" for byte in name.encode())
    body = guests.module("(unreachable)", extra=f'(func (export "{raw}"))')
    async with installed() as gateway:
        answer = await gateway.upload(signed(body))
    assert answer.status_code == 201
    assert name in answer.json()["exports"]
    assert answer.text.isascii()
    assert answer.text.isprintable()


@pytest.mark.parametrize("text", HOSTILE)
async def test_a_log_line_stays_one_line(sandbox: Sandbox, text: str) -> None:
    raw = "".join(f"\\{byte:02x}" for byte in text.encode())
    body = guests.module(
        f"(call $log (i32.const 2) (i32.const 100) (i32.const {len(text.encode())}))"
        + guests.answer("(i32.const 2048)", "(i32.const 1)"),
        imports=guests.LOG,
        extra=f'(data (i32.const 100) "{raw}")',
    )
    result = await sandbox.ends(body, Outcome.COMPLETED, limits=PLENTY)
    (line,) = result.logs
    assert line.text == text
    assert safe(line.text).isprintable(), "the command line shows it so"


@pytest.mark.parametrize("text", ["\x1b[2J", "a\nb", "\u202e"])
async def test_a_rejection_is_shown_safely(sandbox: Sandbox, text: str) -> None:
    result = await sandbox.ends(
        guests.fixed(b"\1\0" + text.encode()), Outcome.REJECTED, limits=PLENTY
    )
    assert result.detail == text
    assert safe(result.detail).isprintable()


@pytest.mark.parametrize("name", ["%00", "%0a", "%1b%5b2J", "..", "%2e%2e", "a%2fb"])
async def test_a_hostile_name_in_a_path_is_refused(name: str) -> None:
    async with installed() as gateway:
        answer = await gateway.http.get(f"/v1/functions/{name}")
    assert answer.status_code in {400, 404}
    refused(answer, answer.status_code, str(answer.json()["code"]))
    assert answer.text.isprintable()
