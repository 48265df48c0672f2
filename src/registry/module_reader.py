"""The bounded reader: what a core module declares, counted against static caps.

It reads types, imports, functions, tables, memories, exports, the start function and every function
body: its size, its locals, and its instructions as far as they nest and branch
(`registry.instructions`). Validating them is the engine's, in a jail. Source: WebAssembly
specification 5.3 to 5.5.
"""

from dataclasses import dataclass, field
from enum import IntEnum
from functools import partial
from typing import TYPE_CHECKING

from registry.instructions import InstructionWalk
from registry.reader import Malformed, Reader
from registry.wasm_sections import Section, check_header, malformed, read_sections, unsupported
from stockade.core.errors import StockadeError

if TYPE_CHECKING:
    from collections.abc import Callable


class Kind(IntEnum):
    """What an import or export is."""

    FUNCTION = 0
    TABLE = 1
    MEMORY = 2
    GLOBAL = 3
    TAG = 4


@dataclass(frozen=True, slots=True)
class StaticCaps:
    """What a module may declare at most. A compiler's cost grows with each of them.

    `locals` is summed over all functions; a run of none counts as one, since reading it costs too.
    Compilers need some room: Go makes 40,000 data segments of a small program, and debug builds of
    C and Zig carry 1 to 2 MB of custom sections.
    """

    module_bytes: int = 16 * 1024 * 1024
    custom_bytes: int = 4 * 1024 * 1024
    types: int = 10_000
    functions: int = 20_000
    locals: int = 200_000
    body_bytes: int = 512 * 1024
    nesting: int = 2_000
    blocks: int = 1_000_000
    branch_targets: int = 8_192
    all_branch_targets: int = 100_000
    type_values: int = 1_000
    imports: int = 64
    exports: int = 256
    tables: int = 8
    globals: int = 10_000
    element_segments: int = 10_000
    data_segments: int = 100_000
    name_bytes: int = 256


_OTHER_FORMS = frozenset({0x4E, 0x4F, 0x50, 0x5D, 0x5E, 0x5F, 0x65})
"""Recursive, sub-, continuation, array, structure and shared types."""
_MEMORY_FEATURES = {2: "threads (shared memory)", 4: "64-bit memory", 8: "custom page sizes"}
"""Bits of a memory's flags."""
_CODES = {"i": 0x7F, "l": 0x7E}


@dataclass(frozen=True, slots=True)
class FunctionType:
    """Parameters and results as their binary codes: 0x7f i32, 0x7e i64, 0x7d f32, 0x7c f64."""

    parameters: bytes
    results: bytes


@dataclass(frozen=True, slots=True)
class Import:
    """One import; `type` is set for functions."""

    module: str
    name: str
    kind: Kind
    type: FunctionType | None


@dataclass(slots=True)
class ModuleOutline:
    """What a module declares."""

    types: list[FunctionType] = field(default_factory=list)
    imports: list[Import] = field(default_factory=list)
    functions: list[FunctionType] = field(default_factory=list)
    memories: int = 0
    exports: dict[str, tuple[Kind, int]] = field(default_factory=dict)

    def exported_function(self, name: str) -> FunctionType | None:
        """The type of the function exported under this name, if one is."""
        kind, index = self.exports.get(name, (Kind.MEMORY, 0))
        return self.functions[index] if kind is Kind.FUNCTION else None


def read_module(body: bytes, caps: StaticCaps) -> ModuleOutline:
    """Reads a module's declarations.

    Raises:
        StockadeError: the header's refusals, `module.malformed`, `module.too_large` or
            `module.too_complex`.
    """
    if len(body) > caps.module_bytes:
        raise StockadeError(
            "module.too_large",
            f"The module has {len(body)} bytes; at most {caps.module_bytes} are allowed. Strip it.",
            detail={"size_bytes": len(body), "cap": caps.module_bytes},
        )
    check_header(body)
    reader = _OutlineReader(body, caps)
    try:
        for section in read_sections(body):
            reader.read(section)
        return reader.finish()
    except Malformed as error:
        raise malformed(error) from error


class _OutlineReader:
    """Reads section after section into an outline."""

    def __init__(self, body: bytes, caps: StaticCaps) -> None:
        self._body = body
        self._caps = caps
        self._outline = ModuleOutline()
        self._custom_bytes = 0
        self._bodies = 0
        self._defined = 0
        self._walk = InstructionWalk(body, self._check)
        self._readers: dict[int, Callable[[Reader], object]] = {
            1: self._types,
            2: self._imports,
            3: self._functions,
            4: partial(self._counted, cap="tables"),
            5: self._memories,
            6: partial(self._counted, cap="globals"),
            7: self._exports,
            8: self._start,
            9: partial(self._counted, cap="element_segments"),
            10: self._code,
            11: partial(self._counted, cap="data_segments"),
        }

    def read(self, section: Section) -> None:
        if section.id == 0:
            self._custom_bytes += section.end - section.start
            self._check("custom_bytes", self._custom_bytes)
        elif read := self._readers.get(section.id):
            read(Reader(self._body, section.payload, section.end))

    def finish(self) -> ModuleOutline:
        if self._bodies != self._defined:
            raise Malformed("it declares functions without bodies")
        return self._outline

    def _check(self, cap: str, value: int) -> None:
        bound = getattr(self._caps, cap)
        if value > bound:
            raise StockadeError(
                "module.too_complex",
                f"The module has {value} in {cap.replace('_', ' ')}; at most {bound} are allowed."
                " Split it, or build it for size.",
                detail={"what": cap, "value": value, "cap": bound},
            )

    def _counted(self, reader: Reader, cap: str) -> int:
        count = reader.u32()
        self._check(cap, count)
        return count

    def _types(self, reader: Reader) -> None:
        for _ in range(self._counted(reader, "types")):
            self._function_form(reader.byte())
            parameters, results = self._values(reader), self._values(reader)
            self._outline.types.append(FunctionType(parameters, results))
        _check_end(reader)

    def _function_form(self, form: int) -> None:
        if form in _OTHER_FORMS:
            raise unsupported("garbage collection")
        if form != 0x60:  # noqa: PLR2004 (the code of a function type)
            raise Malformed("it declares a type that is no function's")

    def _values(self, reader: Reader) -> bytes:
        return reader.take(self._counted(reader, "type_values"))

    def _imports(self, reader: Reader) -> None:
        for _ in range(self._counted(reader, "imports")):
            module = reader.name(self._caps.name_bytes)
            name = reader.name(self._caps.name_bytes)
            self._outline.imports.append(Import(module, name, *self._import_type(reader)))
        _check_end(reader)

    def _import_type(self, reader: Reader) -> tuple[Kind, FunctionType | None]:
        kind = _kind(reader.byte())
        if kind is Kind.FUNCTION:
            self._outline.functions.append(self._type(reader.u32()))
            return kind, self._outline.functions[-1]
        if kind is Kind.TABLE:
            reader.byte()
            _skip_limits(reader)
        elif kind is Kind.MEMORY:
            _skip_limits(reader)
        else:
            reader.take(2)
        return kind, None

    def _type(self, index: int) -> FunctionType:
        if index >= len(self._outline.types):
            raise Malformed("it names a type that it does not declare")
        return self._outline.types[index]

    def _functions(self, reader: Reader) -> None:
        self._defined = self._counted(reader, "functions")
        for _ in range(self._defined):
            self._outline.functions.append(self._type(reader.u32()))
        _check_end(reader)

    def _memories(self, reader: Reader) -> None:
        self._outline.memories = reader.u32()
        if self._outline.memories == 1:
            flags = reader.byte()
            for bit, feature in _MEMORY_FEATURES.items():
                if flags & bit:
                    raise unsupported(feature)

    def _exports(self, reader: Reader) -> None:
        exports = self._outline.exports
        for _ in range(self._counted(reader, "exports")):
            name = reader.name(self._caps.name_bytes)
            kind, index = _kind(reader.byte()), reader.u32()
            if name in exports:
                raise Malformed("it exports one name twice")
            if kind is Kind.FUNCTION:
                self._check_function(index)
            exports[name] = kind, index
        _check_end(reader)

    def _start(self, reader: Reader) -> None:
        self._check_function(reader.u32())
        _check_end(reader)

    def _check_function(self, index: int) -> None:
        if index >= len(self._outline.functions):
            raise Malformed("it names a function that it does not declare")

    def _code(self, reader: Reader) -> None:
        self._bodies = self._counted(reader, "functions")
        declared = 0
        for _ in range(self._bodies):
            size = reader.u32()
            self._check("body_bytes", size)
            body = reader.within(size)
            declared = self._locals(body, declared)
            self._walk.walk(body.position, reader.position)
        _check_end(reader)

    def _locals(self, body: Reader, declared: int) -> int:
        for _ in range(body.u32()):
            declared += max(1, body.u32())
            self._check("locals", declared)
            body.byte()
        return declared


def _kind(code: int) -> Kind:
    try:
        return Kind(code)
    except ValueError:
        raise Malformed("it imports or exports something unknown") from None


def _skip_limits(reader: Reader) -> None:
    flags = reader.byte()
    reader.skip_signed(64)
    if flags & 1:
        reader.skip_signed(64)


def _check_end(reader: Reader) -> None:
    if not reader.at_end:
        raise Malformed("a section is longer than its contents")


def function_type(text: str) -> FunctionType:
    """The type that a text such as `ii>i` stands for."""
    parameters, results = text.split(">")
    return FunctionType(
        bytes(_CODES[letter] for letter in parameters), bytes(_CODES[letter] for letter in results)
    )
