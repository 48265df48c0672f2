"""The outer structure of a module file: header, then sections of an id, a length and so many bytes.

Source: WebAssembly specification 5.5.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from registry.reader import Malformed, Reader
from stockade.core.errors import StockadeError

HEADER = b"\0asm\x01\0\0\0"
_MAGIC = b"\0asm"
_COMPONENT_LAYER = 1
_CUSTOM, _TAG = 0, 13
_MAX_NAME_BYTES = 256
_MAX_SECTIONS = 1_000
# The order that the specification gives to the ids of non-custom sections; data count stands before
# code.
_ORDER = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 6, 7: 7, 8: 8, 9: 9, 12: 10, 10: 11, 11: 12}


@dataclass(frozen=True, slots=True)
class Section:
    """One section: `start` is where its id is, `payload` where its contents are.

    `name` is a custom section's name, and empty for others; a custom section's `payload` is after
    the name.
    """

    id: int
    name: str
    start: int
    payload: int
    end: int


def check_header(content: bytes) -> None:
    """Checks that these bytes begin as a core module of version 1.

    Raises:
        StockadeError: `module.not_wasm`, `module.is_component` or `module.version_unsupported`.
    """
    if content[:4] != _MAGIC or len(content) < len(HEADER):
        raise StockadeError(
            "module.not_wasm",
            "These bytes are no WebAssembly module. Upload the .wasm binary, not text.",
        )
    if content[:8] == HEADER:
        return
    if content[6:8] == bytes([_COMPONENT_LAYER, 0]):
        raise StockadeError(
            "module.is_component",
            "This is a component. Upload a core module, such as wasm32-unknown-unknown makes.",
        )
    raise StockadeError(
        "module.version_unsupported",
        "Only version 1 of the WebAssembly binary format is supported.",
    )


def read_sections(content: bytes) -> Iterator[Section]:
    """The sections of a module whose header was checked, in order.

    Raises:
        Malformed: a length goes beyond the end, sections are repeated, unknown or out of order, or
            there are more than any compiler makes.
    """
    reader = Reader(content, len(HEADER))
    last = 0
    for _ in range(_MAX_SECTIONS):
        if reader.at_end:
            return
        section = _read_section(reader)
        if section.id != _CUSTOM:
            last = _place_after(last, section.id)
        yield section
    if not reader.at_end:
        raise Malformed(f"it has more than {_MAX_SECTIONS} sections")


def _read_section(reader: Reader) -> Section:
    start = reader.position
    number = reader.byte()
    inner = reader.within(reader.u32())
    name = inner.name(_MAX_NAME_BYTES) if number == _CUSTOM else ""
    return Section(number, name, start, inner.position, reader.position)


def _place_after(last: int, number: int) -> int:
    if number == _TAG:
        raise unsupported("exceptions")
    place = _ORDER.get(number)
    if place is None:
        raise Malformed(f"there is no section of id {number}")
    if place <= last:
        raise Malformed("its sections are repeated or out of order")
    return place


def malformed(error: Malformed) -> StockadeError:
    """The refusal of a module that cannot be read."""
    return StockadeError(
        "module.malformed",
        f"The module cannot be read: {error}. Build it again, and upload it whole.",
    )


def unsupported(feature: str) -> StockadeError:
    """The refusal of a module that uses a proposal which is switched off."""
    return StockadeError(
        "module.unsupported_feature",
        f"The module uses {feature}, which is switched off here. Build it without; see"
        " sdk/abi/ABI.md.",
        detail={"feature": feature},
    )
