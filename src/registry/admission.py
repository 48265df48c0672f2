"""Admission: which modules may be stored, by what they declare, before anything runs them."""

from registry.module_reader import (
    Import,
    Kind,
    ModuleOutline,
    StaticCaps,
    function_type,
    read_module,
)
from stockade.core.errors import StockadeError
from stockade.core.host_functions import (
    OFFERED,
    STOCKADE_MODULE,
    VARYING,
    WASI,
    WASI_MODULE,
)
from stockade.core.modules import Abi, ModuleFacts

_STOCKADE_EXPORTS = {"stockade_v1_alloc": "i>i", "stockade_v1_run": "ii>l"}
_WASI_EXPORTS = {"_start": ">"}
_MAX_LISTED = 8


def admit(body: bytes, caps: StaticCaps | None = None) -> ModuleFacts:
    """What the registry may say about a module, or why it is not taken.

    Raises:
        StockadeError: `module.too_large`, `module.too_complex`, `module.malformed`,
            `module.memory_count`, `module.abi_unknown`, `module.abi_mismatch`,
            `module.import_kind`, `module.import_unknown`, `module.import_mismatch`, or
            a refusal of the header.
    """
    outline = read_module(body, caps or StaticCaps())
    abi = _detect_abi(outline)
    _check_memory(outline)
    _check_imports(outline.imports, abi)
    return ModuleFacts(
        abi=abi,
        imports=tuple(f"{one.module}.{one.name}" for one in outline.imports),
        exports=tuple(outline.exports),
        deterministic=not any(one.name in VARYING for one in outline.imports),
        size_bytes=len(body),
    )


def _detect_abi(outline: ModuleOutline) -> Abi:
    stockade = all(name in outline.exports for name in _STOCKADE_EXPORTS)
    wasi = "_start" in outline.exports
    if stockade == wasi:
        raise _unknown_abi(list(outline.exports), "both ABIs" if wasi else "no ABI")
    _check_exports(outline, _STOCKADE_EXPORTS if stockade else _WASI_EXPORTS)
    return Abi.STOCKADE_V1 if stockade else Abi.WASI_PREVIEW1


def _unknown_abi(exports: list[str], spoken: str) -> StockadeError:
    listed, found = _listed([_shown(name) for name in exports])
    return StockadeError(
        "module.abi_unknown",
        f"The module speaks {spoken} that Stockade knows: it exports {found or 'nothing'}. Export"
        " 'memory', 'stockade_v1_alloc' and 'stockade_v1_run' (stockade:v1), or 'memory' and"
        " '_start' (a WASI command).",
        detail={"exports": listed},
    )


def _check_exports(outline: ModuleOutline, expected: dict[str, str]) -> None:
    for name, type_text in expected.items():
        if outline.exported_function(name) != function_type(type_text):
            raise StockadeError(
                "module.abi_mismatch",
                f"The export '{name}' has not the type that the ABI gives it; see sdk/abi/ABI.md.",
                detail={"export": name},
            )


def _check_memory(outline: ModuleOutline) -> None:
    if any(one.kind is not Kind.FUNCTION for one in outline.imports):
        raise StockadeError(
            "module.import_kind",
            "The module imports a memory, table, global or tag. Only functions can be imported.",
        )
    exported = outline.exports.get("memory")
    if outline.memories != 1 or exported != (Kind.MEMORY, 0):
        raise StockadeError(
            "module.memory_count",
            "The module must have exactly one memory and export it as 'memory'.",
            detail={"memories": outline.memories},
        )


def _check_imports(imports: list[Import], abi: Abi) -> None:
    module, allowed = (STOCKADE_MODULE, OFFERED) if abi is Abi.STOCKADE_V1 else (WASI_MODULE, WASI)
    unknown = [one for one in imports if one.module != module or one.name not in allowed]
    if unknown:
        raise _refused("module.import_unknown", f"A guest of {abi} cannot import", unknown)
    wrong = [one for one in imports if one.type != function_type(allowed[one.name])]
    if wrong:
        raise _refused("module.import_mismatch", "Of another type than the host's:", wrong)


def _refused(code: str, sentence: str, imports: list[Import]) -> StockadeError:
    listed, found = _listed([f"{_shown(one.module)}.{_shown(one.name)}" for one in imports])
    return StockadeError(
        code,
        f"{sentence} {found}. Build without them; see sdk/abi/ABI.md.",
        detail={"imports": listed},
    )


def _listed(names: list[str]) -> tuple[list[str], str]:
    """The first few names, and a sentence's worth of them that says how many were left out."""
    listed = list(dict.fromkeys(names))
    more = f" and {len(listed) - _MAX_LISTED} more" if len(listed) > _MAX_LISTED else ""
    return listed[:_MAX_LISTED], ", ".join(listed[:_MAX_LISTED]) + more


def _shown(name: str) -> str:
    """A guest's name, safe for any log or terminal."""
    return ascii(name)[1:-1]
