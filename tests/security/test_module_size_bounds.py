"""Modules at each bound of size, and one above it."""

from dataclasses import replace

import pytest

from registry.admission import admit
from registry.module_reader import StaticCaps
from stockade.core.errors import StockadeError
from tests.unit.registry import modules as m

MANY = m.vector


def with_types(count: int) -> bytes:
    return m.guest(changes={m.TYPES: MANY([*m.DECLARED, *[m.DECLARED[3]] * (count - 5)])})


def with_functions(count: int) -> bytes:
    bodies = [m.body(b"\x41\0"), m.body(b"\x42\0"), *[m.body(b"")] * (count - 2)]
    kinds = [bytes([m.ALLOC]), bytes([m.RUN]), *[bytes([m.NOTHING])] * (count - 2)]
    return m.guest(changes={m.FUNCTIONS: MANY(kinds), m.CODE: MANY(bodies)})


def with_code(first: bytes) -> bytes:
    return m.guest(changes={m.CODE: MANY([first, m.body(b"\x42\0")])})


def with_locals(count: int) -> bytes:
    return with_code(m.body(b"\x41\0", [(count, m.I32)]))


def with_body(size: int) -> bytes:
    # The body's own size counts its list of locals and its end.
    return with_code(m.text(b"\0" + b"\x01" * (size - 4) + b"\x41\0\x0b"))


def with_globals(count: int) -> bytes:
    return m.guest(changes={m.GLOBALS: MANY([b"\x7f\0\x41\0\x0b"] * count)})


def with_data(count: int) -> bytes:
    return m.guest(changes={m.DATA: MANY([b"\0\x41\0\x0b\0"] * count)})


def with_elements(count: int) -> bytes:
    changes = {m.TABLES: b"\1\x70\0\1", m.ELEMENTS: MANY([b"\0\x41\0\x0b\0"] * count)}
    return m.guest(changes=changes)


def with_tables(count: int) -> bytes:
    return m.guest(changes={m.TABLES: MANY([b"\x70\0\1"] * count)})


def with_exports(count: int) -> bytes:
    named = [m.exported(f"e{number}", m.FUNCTION, 0) for number in range(count - 3)]
    return m.guest(
        changes={
            m.EXPORTS: MANY([
                m.exported("memory", m.MEMORY, 0),
                m.exported("stockade_v1_alloc", m.FUNCTION, 0),
                m.exported("stockade_v1_run", m.FUNCTION, 1),
                *named,
            ])
        }
    )  # fmt: skip


def with_imports(count: int) -> bytes:
    return m.guest(imports=[m.imported("stockade:v1", "log", m.LOG)] * count)


CAPS = StaticCaps()
BOUNDS = {
    "types": (with_types, 100),
    "functions": (with_functions, 100),
    "locals": (with_locals, CAPS.locals),
    "body_bytes": (with_body, CAPS.body_bytes),
    "globals": (with_globals, CAPS.globals),
    "data_segments": (with_data, 100),
    "element_segments": (with_elements, 100),
    "tables": (with_tables, CAPS.tables),
    "exports": (with_exports, CAPS.exports),
    "imports": (with_imports, CAPS.imports),
}


@pytest.mark.parametrize("cap", BOUNDS)
def test_a_module_at_its_bound_is_taken_and_one_above_is_not(cap: str) -> None:
    build, bound = BOUNDS[cap]
    caps = replace(CAPS, **{cap: bound})
    admit(build(bound), caps)
    with pytest.raises(StockadeError) as refused:
        admit(build(bound + 1), caps)
    assert refused.value.code == "module.too_complex"
    assert refused.value.detail == {"what": cap, "value": bound + 1, "cap": bound}


@pytest.mark.parametrize("above", [0, 1])
def test_the_size_of_all(above: int) -> None:
    body = m.guest()
    caps = replace(CAPS, module_bytes=len(body) - above)
    if not above:
        admit(body, caps)
        return
    with pytest.raises(StockadeError) as refused:
        admit(body, caps)
    assert refused.value.code == "module.too_large"
