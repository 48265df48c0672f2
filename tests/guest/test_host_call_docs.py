"""The code in the page on host calls does what the page says; `cargo test` compiles Rust's."""

import re
import shutil
import subprocess
from pathlib import Path

from wasmtime import Config, Engine, Module, wat2wasm

from scripts.build_examples import install_assemblyscript
from stockade.core.grants import ALWAYS
from stockade.core.host_functions import OFFERED
from tests.guest.abi_host import Example, Guest
from tests.guest.toolchains import need_toolchain

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "how-to" / "host-calls.md").read_text()
ENTRY = """
import { respond } from "stockade-guest";
export { stockade_v1_alloc } from "stockade-guest";
export function stockade_v1_run(pointer: usize, length: i32): u64 {
  return respond(pointer, length, run);
}
"""


def block(language: str) -> str:
    found = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    assert len(found) == 1
    return str(found[0])


def test_the_guest_in_text_answers_with_the_value_of_its_key(tmp_path: Path) -> None:
    config = Config()
    config.consume_fuel = True
    engine = Engine(config)
    manifest = {"abi": "stockade:v1", "limits": {}, "grants": ["kv:notes"]}
    guest = Guest(
        engine, Module(engine, bytes(wat2wasm(block("wat")))), Example(tmp_path, manifest), tmp_path
    )
    guest.world.values["notes/a"] = b"what is kept"
    assert guest.run(b"notes/a").body == b"what is kept"
    for key in (b"notes/b", b"others/a", b"nonsense"):
        ran = guest.run(key)
        assert (ran.outcome, ran.body) == ("rejected", b"there is no such value")


def test_the_assemblyscript_compiles(tmp_path: Path) -> None:
    need_toolchain("assemblyscript")
    compiler = install_assemblyscript()
    (tmp_path / "node_modules").symlink_to(compiler.parents[1])
    shutil.copy(ROOT / "examples" / "wasm" / "asconfig.json", tmp_path)
    (tmp_path / "task.ts").write_text(block("ts") + ENTRY)
    command = [str(compiler), "task.ts", "--config", "asconfig.json"]
    subprocess.run([*command, "--outFile", "task.wasm"], cwd=tmp_path, check=True)
    module = Module.from_file(Engine(), str(tmp_path / "task.wasm"))
    assert {needed.name for needed in module.imports} <= set(OFFERED)


def test_every_call_has_its_grant_in_the_page() -> None:
    granted = re.findall(r"^\| `(\w+)[:`]", PAGE, re.MULTILINE)
    families = {re.sub(r"(kv|secret)_.*", r"\1", call) for call in OFFERED if call not in ALWAYS}
    assert set(granted) == families
