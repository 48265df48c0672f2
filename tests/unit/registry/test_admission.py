from dataclasses import replace

import pytest

from registry.admission import admit
from registry.module_reader import StaticCaps, function_type
from stockade.core.errors import StockadeError
from stockade.core.host_functions import OFFERED, VARYING, WASI
from stockade.core.modules import Abi, ModuleFacts
from tests.unit.registry import modules
from tests.unit.registry.modules import (
    EXPORTS,
    FUNCTION,
    GLOBAL,
    IMPORTS,
    LOG,
    MEMORIES,
    MEMORY,
    RUN,
    TABLE,
    WRITE,
    command,
    exported,
    guest,
    imported,
    text,
    vector,
)

WASI_MODULE = "wasi_snapshot_preview1"
HOST_LOG = imported("stockade:v1", "log", LOG)
FD_WRITE = imported(WASI_MODULE, "fd_write", WRITE)


def refusal(content: bytes) -> StockadeError:
    with pytest.raises(StockadeError) as refused:
        admit(content)
    return refused.value


def test_a_pure_guest_is_admitted() -> None:
    content = guest()
    assert admit(content) == ModuleFacts(
        abi=Abi.STOCKADE_V1,
        imports=(),
        exports=("memory", "stockade_v1_alloc", "stockade_v1_run"),
        deterministic=True,
        size_bytes=len(content),
    )


def test_a_guest_may_log_and_stays_deterministic() -> None:
    facts = admit(guest(imports=[HOST_LOG, HOST_LOG]))
    assert facts.imports == ("stockade:v1.log", "stockade:v1.log")
    assert facts.deterministic


def test_a_command_is_admitted() -> None:
    facts = admit(command(imports=[FD_WRITE]))
    assert (facts.abi, facts.deterministic) == (Abi.WASI_PREVIEW1, True)
    assert facts.imports == ("wasi_snapshot_preview1.fd_write",)


def wasi_command(name: str) -> bytes:
    """A command that imports this function with preview 1's type."""
    expected = function_type(WASI[name])
    types = [*modules.DECLARED, modules.function_type(expected.parameters, expected.results)]
    return command(
        imports=[imported(WASI_MODULE, name, len(types) - 1)],
        changes={modules.TYPES: vector(types)},
    )


@pytest.mark.parametrize("name", sorted(WASI))
def test_every_function_of_preview_1_may_be_imported(name: str) -> None:
    assert admit(wasi_command(name)).deterministic is (name not in VARYING)


def test_clocks_randomness_and_sleep_vary() -> None:
    wasi = {"clock_res_get", "clock_time_get", "poll_oneoff", "random_get"}
    assert wasi == VARYING & set(WASI)
    spans = {"span_open", "span_attribute", "span_close"}
    assert set(OFFERED) - VARYING == {"log", "config_get", "emit", "progress", *spans}


@pytest.mark.parametrize(
    ("exports", "found"),
    [
        ([], "exports nothing"),
        ([exported("main", FUNCTION, 0)], "exports main"),
        ([exported("stockade_v1_run", FUNCTION, 1)], "exports stockade_v1_run"),
        ([exported(f"f{number}", FUNCTION, 0) for number in range(10)], "f7 and 2 more"),
        ([exported("\x1b[2J\u202e", FUNCTION, 0)], r"\x1b[2J\u202e"),
    ],
)
def test_a_module_of_no_abi_says_what_it_has_and_what_is_needed(
    exports: list[bytes], found: str
) -> None:
    error = refusal(guest(changes={EXPORTS: vector(exports)}))
    assert error.code == "module.abi_unknown"
    assert found in error.message
    assert "no ABI" in error.message
    assert "stockade_v1_alloc" in error.message


def test_a_module_of_both_abis_is_refused() -> None:
    exports = [
        exported("stockade_v1_alloc", FUNCTION, 0),
        exported("stockade_v1_run", FUNCTION, 1),
        exported("_start", FUNCTION, 0),
    ]
    error = refusal(guest(changes={EXPORTS: vector(exports)}))
    assert error.code == "module.abi_unknown"
    assert "both ABIs" in error.message


@pytest.mark.parametrize(
    ("entries", "name"),
    [
        ([("stockade_v1_alloc", FUNCTION, 1), ("stockade_v1_run", FUNCTION, 1)], "alloc"),
        ([("stockade_v1_alloc", FUNCTION, 0), ("stockade_v1_run", FUNCTION, 0)], "run"),
        ([("stockade_v1_alloc", FUNCTION, 0), ("stockade_v1_run", GLOBAL, 0)], "run"),
    ],
)
def test_an_export_of_another_type_is_a_mismatch(
    entries: list[tuple[str, int, int]], name: str
) -> None:
    exports = [exported("memory", MEMORY, 0), *(exported(*entry) for entry in entries)]
    error = refusal(guest(changes={EXPORTS: vector(exports)}))
    assert error.code == "module.abi_mismatch"
    assert error.detail == {"export": f"stockade_v1_{name}"}


def test_a_start_of_another_type_is_a_mismatch() -> None:
    error = refusal(command(changes={modules.FUNCTIONS: vector([bytes([RUN])])}))
    assert (error.code, error.detail) == ("module.abi_mismatch", {"export": "_start"})


@pytest.mark.parametrize(
    "changes",
    [
        {MEMORIES: None},
        {MEMORIES: b"\0"},
        {MEMORIES: b"\2\0\1\0\1"},
        {EXPORTS: vector([exported("_start", FUNCTION, 0)])},
        {EXPORTS: vector([exported("_start", FUNCTION, 0), exported("memory", TABLE, 0)])},
        {EXPORTS: vector([exported("_start", FUNCTION, 0), exported("memory", MEMORY, 1)])},
    ],
    ids=["none", "zero", "two", "not exported", "exported table", "exported other"],
)
def test_there_is_exactly_one_memory_and_it_is_exported(changes: dict[int, bytes | None]) -> None:
    assert refusal(command(changes=changes)).code == "module.memory_count"


@pytest.mark.parametrize("entry", [b"\1\x70\0\1", b"\2\0\1", b"\3\x7f\0", b"\4\0\0"])
def test_only_functions_can_be_imported(entry: bytes) -> None:
    content = guest(changes={IMPORTS: vector([text("stockade:v1") + text("log") + entry])})
    assert refusal(content).code == "module.import_kind"


@pytest.mark.parametrize("name", sorted(OFFERED))
def test_a_host_call_of_the_right_type_can_be_imported(name: str) -> None:
    declared = function_type(OFFERED[name])
    types = [*modules.DECLARED, modules.function_type(declared.parameters, declared.results)]
    content = guest(
        imports=[imported("stockade:v1", name, len(modules.DECLARED))],
        changes={modules.TYPES: vector(types)},
    )
    assert admit(content).imports == (f"stockade:v1.{name}",)


@pytest.mark.parametrize(
    ("content", "listed"),
    [
        (guest(imports=[imported("env", "pwn", LOG)]), "env.pwn"),
        (guest(imports=[imported("stockade:v1", "logs", LOG)]), "stockade:v1.logs"),
        (guest(imports=[imported("stockade:v2", "log", LOG)]), "stockade:v2.log"),
        (guest(imports=[imported("STOCKADE:V1", "log", LOG)]), "STOCKADE:V1.log"),
        (guest(imports=[imported(WASI_MODULE, "fd_write", WRITE)]), f"{WASI_MODULE}.fd_write"),
        (command(imports=[imported("wasi_unstable", "fd_write", WRITE)]), "wasi_unstable.fd_write"),
        (command(imports=[HOST_LOG]), "stockade:v1.log"),
        (guest(imports=[imported("a\0", "\x1b[31m\u202egol", LOG)]), r"a\x00.\x1b[31m\u202egol"),
    ],
)
def test_unknown_imports_are_listed_and_escaped(content: bytes, listed: str) -> None:
    error = refusal(content)
    assert error.code == "module.import_unknown"
    assert error.detail == {"imports": [listed]}
    assert listed in error.message


def test_a_long_list_of_unknown_imports_is_cut() -> None:
    many = [imported("env", f"f{number % 12}", LOG) for number in range(40)]
    error = refusal(guest(imports=many))
    assert "env.f7 and 4 more" in error.message
    assert error.detail["imports"] == [f"env.f{number}" for number in range(8)]


@pytest.mark.parametrize(
    "content",
    [
        guest(imports=[imported("stockade:v1", "log", RUN)]),
        command(imports=[imported(WASI_MODULE, "fd_write", LOG)]),
        guest(imports=[HOST_LOG, imported("stockade:v1", "log", RUN)]),
    ],
)
def test_an_import_of_another_type_is_a_mismatch(content: bytes) -> None:
    assert refusal(content).code == "module.import_mismatch"


def test_the_caps_can_be_lowered() -> None:
    with pytest.raises(StockadeError) as refused:
        admit(guest(), replace(StaticCaps(), module_bytes=10))
    assert refused.value.code == "module.too_large"
