import re
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from registry.module_reader import FunctionType, Kind, StaticCaps, read_module
from registry.signature_format import encode_u32
from stockade.core.errors import StockadeError
from tests.unit.registry import modules
from tests.unit.registry.modules import (
    CODE,
    EXPORTS,
    FUNCTION,
    GLOBAL,
    I32,
    IMPORTS,
    MEMORIES,
    MEMORY,
    START,
    TABLE,
    TYPES,
    body,
    custom,
    exported,
    function_type,
    guest,
    imported,
    section,
    text,
    vector,
)

CAPS = StaticCaps()


def refusal(content: bytes, caps: StaticCaps = CAPS) -> StockadeError:
    with pytest.raises(StockadeError) as refused:
        read_module(content, caps)
    return refused.value


def code_of(content: bytes) -> str:
    try:
        read_module(content, CAPS)
    except StockadeError as error:
        return error.code
    return "admitted"


def test_what_a_module_declares() -> None:
    outline = read_module(guest(imports=[imported("stockade:v1", "log", 2)]), CAPS)
    [log] = outline.imports
    assert (log.module, log.name, log.kind) == ("stockade:v1", "log", Kind.FUNCTION)
    assert log.type == FunctionType(I32 * 3, b"")
    assert outline.memories == 1
    assert list(outline.exports) == ["memory", "stockade_v1_alloc", "stockade_v1_run"]
    assert outline.exported_function("stockade_v1_alloc") == FunctionType(I32, I32)
    assert outline.exported_function("memory") is None
    assert outline.exported_function("absent") is None
    assert len(outline.functions) == 3


@pytest.mark.parametrize(
    ("entry", "kind"),
    [
        (b"\1\x70\0\1", Kind.TABLE),
        (b"\1\x70\1\1\x80\1", Kind.TABLE),
        (b"\2\0\1", Kind.MEMORY),
        (b"\2\1\1\2", Kind.MEMORY),
        (b"\3\x7f\0", Kind.GLOBAL),
        (b"\4\0\0", Kind.TAG),
    ],
)
def test_imports_of_other_kinds_are_seen(entry: bytes, kind: Kind) -> None:
    content = guest(changes={IMPORTS: vector([text("env") + text("it") + entry])})
    [one] = read_module(content, CAPS).imports
    assert (one.kind, one.type) == (kind, None)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({TYPES: vector([b"\x66\0"])}, "no function's"),
        ({TYPES: vector(modules.DECLARED) + b"\0"}, "longer than its contents"),
        ({TYPES: b"\x85\x80\x80\x80\x80\x00" + vector(modules.DECLARED)[1:]}, "too long"),
        ({IMPORTS: vector([imported("m", "n", 99)])}, "type that it does not declare"),
        ({IMPORTS: vector([text("m") + text("n") + b"\7\0"])}, "something unknown"),
        ({IMPORTS: vector([imported(b"\xff", "n", 0)])}, "not UTF-8"),
        ({IMPORTS: vector([imported("m" * 257, "n", 0)])}, "longer than 256"),
        ({EXPORTS: vector([exported("x", FUNCTION, 99)])}, "function that it does not declare"),
        ({EXPORTS: vector([exported("x", GLOBAL, 0), exported("x", TABLE, 0)])}, "one name twice"),
        ({EXPORTS: vector([exported("x", 9, 0)])}, "something unknown"),
        ({EXPORTS: vector([exported(b"\xc3", MEMORY, 0)])}, "not UTF-8"),
        ({EXPORTS: b"\2" + exported("x", MEMORY, 0)}, "ends early"),
        ({START: b"\2"}, "function that it does not declare"),
        ({START: b"\0\0"}, "longer than its contents"),
        ({CODE: vector([body(b"\x41\0")])}, "functions without bodies"),
        ({CODE: None}, "functions without bodies"),
        ({CODE: vector([body(b"\x41\0")] * 2) + b"\0"}, "longer than its contents"),
        ({CODE: vector([body(b"\x41\0"), b"\x7f\0"])}, "beyond its end"),
        ({CODE: vector([body(b"\x41\0"), text(b"\5")])}, "ends early"),
    ],
)
def test_declarations_that_cannot_be_read_are_malformed(
    changes: dict[int, bytes | None], reason: str
) -> None:
    error = refusal(guest(changes=changes))
    assert error.code == "module.malformed"
    assert reason in error.message


@pytest.mark.parametrize("values", [I32 * 1_001, b""])
def test_the_values_of_a_type_are_capped(values: bytes) -> None:
    content = guest(changes={TYPES: vector([*modules.DECLARED, b"\x60\0" + text(values)])})
    if not values:
        assert code_of(content) == "admitted"
    else:
        assert refusal(content).detail == {"what": "type_values", "value": 1_001, "cap": 1_000}


@pytest.mark.parametrize(
    ("changes", "feature"),
    [
        ({TYPES: vector([b"\x5f\0"])}, "garbage collection"),
        ({MEMORIES: b"\1\3\1\2"}, "threads (shared memory)"),
        ({MEMORIES: b"\1\4\1"}, "64-bit memory"),
        ({MEMORIES: b"\1\x08\1\0"}, "custom page sizes"),
    ],
)
def test_declarations_of_proposals_that_are_off_are_named(
    changes: dict[int, bytes | None], feature: str
) -> None:
    error = refusal(guest(changes=changes))
    assert error.code == "module.unsupported_feature"
    assert error.detail == {"feature": feature}


def test_a_start_function_is_one_that_is_declared() -> None:
    assert code_of(guest(changes={START: b"\1"})) == "admitted"


def test_a_large_module_is_not_read_at_all() -> None:
    error = refusal(b"x" * 9, replace(CAPS, module_bytes=8))
    assert error.code == "module.too_large"
    assert error.detail == {"size_bytes": 9, "cap": 8}


@pytest.mark.parametrize(
    ("number", "what", "cap"),
    [
        (modules.TYPES, "types", 10_000),
        (modules.IMPORTS, "imports", 64),
        (modules.FUNCTIONS, "functions", 20_000),
        (modules.TABLES, "tables", 8),
        (modules.GLOBALS, "globals", 10_000),
        (modules.EXPORTS, "exports", 256),
        (modules.ELEMENTS, "element_segments", 10_000),
        (modules.CODE, "functions", 20_000),
        (modules.DATA, "data_segments", 100_000),
    ],
)
def test_counts_are_capped_before_anything_is_read(number: int, what: str, cap: int) -> None:
    error = refusal(modules.HEADER + section(number, encode_u32(cap + 1)))
    assert error.code == "module.too_complex"
    assert error.detail == {"what": what, "value": cap + 1, "cap": cap}
    assert str(cap) in error.message
    assert code_of(modules.HEADER + section(number, encode_u32(cap))) != "module.too_complex"


def test_custom_sections_are_capped_together() -> None:
    caps = replace(CAPS, custom_bytes=20)
    assert read_module(guest() + custom("a", b"x" * 6) * 2, caps)
    assert refusal(guest() + custom("a", b"x" * 6) * 3, caps).detail["what"] == "custom_bytes"


def test_a_body_is_capped() -> None:
    content = guest(changes={CODE: vector([body(b"\x41\0"), body(b"\x42\0" + b"\1" * 100)])})
    assert read_module(content, CAPS)
    assert refusal(content, replace(CAPS, body_bytes=50)).detail["what"] == "body_bytes"


def test_locals_are_summed_over_functions() -> None:
    some = body(b"\x41\0", [(60_000, I32), (50_000, I32)])
    with_locals = guest(changes={CODE: vector([some, body(b"\x42\0")])})
    assert read_module(with_locals, CAPS)
    error = refusal(guest(changes={CODE: vector([some, some])}))
    assert error.detail["what"] == "locals"


def test_runs_of_no_locals_cannot_keep_the_reader_busy() -> None:
    runs = text(encode_u32(250_000) + b"\0\x7f" * 250_000)
    bodies = vector([runs, body(b"\x42\0")])
    started = time.process_time()
    assert refusal(guest(changes={CODE: bodies})).detail["what"] == "locals"
    assert time.process_time() - started < 5


def test_the_reference_page_names_every_cap() -> None:
    page = Path(__file__).parents[3] / "docs" / "reference" / "module-caps.md"
    rows = re.findall(r"^\| `(\w+)` \| ([\d,]+) \|", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert {name: int(value.replace(",", "")) for name, value in rows} == asdict(CAPS)


def test_types_are_compared_by_parameters_and_results() -> None:
    content = modules.assemble({TYPES: vector([function_type(I32, b""), function_type(b"", I32)])})
    assert read_module(content, CAPS).types == [FunctionType(I32, b""), FunctionType(b"", I32)]
