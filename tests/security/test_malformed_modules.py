"""Modules made to confuse whoever reads them: each is refused with its code, and costs little."""

import json
import time
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.admission import admit
from registry.signing import sign
from registry.verification import verify_module
from scripts import bad_signatures, build_bad_modules
from stockade.core.errors import StockadeError
from stockade.core.modules import Signer
from tests.unit.registry import modules as m

FOLDER = Path(__file__).parents[1] / "assets" / "bad"
INDEX = json.loads((FOLDER / "index.json").read_text())
SIGNERS = [
    Signer(**(signer | {"public_key": bytes.fromhex(signer["public_key"])}))
    for signer in INDEX["signers"]
]
GUEST = m.guest(imports=[m.imported("stockade:v1", "log", m.LOG)])


def refusal_of(content: bytes) -> StockadeError | None:
    """What the registry says of an upload: verified first, then admitted."""
    try:
        admit(verify_module(content, None, SIGNERS, INDEX["now_ms"]).body)
    except StockadeError as error:
        return error
    return None


def test_the_corpus_is_what_the_script_builds() -> None:
    cases = build_bad_modules.all_cases()
    assert {path.name for path in FOLDER.glob("*.wasm")} == set(INDEX["codes"])
    assert build_bad_modules.index(cases) == (FOLDER / "index.json").read_text()
    for name, (_, content) in cases.items():
        assert (FOLDER / f"{name}.wasm").read_bytes() == content, name


def test_the_corpus_differs_from_a_good_module_by_its_faults_only() -> None:
    for good in (m.guest(), bad_signatures.PARTS):
        assert refusal_of(sign(good, bad_signatures.TRUSTED)) is None


@pytest.mark.parametrize(("name", "code"), INDEX["codes"].items(), ids=INDEX["codes"])
def test_a_bad_module_is_refused_for_what_is_wrong(name: str, code: str) -> None:
    error = refusal_of((FOLDER / name).read_bytes())
    assert error is not None
    assert error.code == code
    assert error.message.isprintable()
    assert error.message.endswith(".")


def refused_or_admitted(body: bytes) -> bool:
    """False when refused; anything but a `StockadeError` fails the test."""
    try:
        admit(body)
    except StockadeError:
        return False
    return True


def test_every_beginning_of_a_module_is_refused() -> None:
    assert refused_or_admitted(GUEST)
    for end in range(len(GUEST)):
        assert not refused_or_admitted(GUEST[:end])


def test_every_flipped_bit_is_read_or_refused() -> None:
    for at in range(len(GUEST)):
        for bit in range(8):
            refused_or_admitted(GUEST[:at] + bytes([GUEST[at] ^ 1 << bit]) + GUEST[at + 1 :])


@given(st.integers(0, len(GUEST)), st.integers(0, 8), st.binary(max_size=12))
def test_any_splice_is_read_or_refused(at: int, dropped: int, spliced: bytes) -> None:
    refused_or_admitted(GUEST[:at] + spliced + GUEST[at + dropped :])


@given(st.integers(0, 13), st.binary(max_size=60))
def test_any_section_is_read_or_refused(number: int, payload: bytes) -> None:
    refused_or_admitted(m.HEADER + m.section(number, payload))
    refused_or_admitted(m.guest(changes={number: payload}))


@given(st.binary(max_size=200))
def test_random_bytes_are_refused(content: bytes) -> None:
    assert not refused_or_admitted(content)
    assert not refused_or_admitted(m.HEADER + content)


LYING = b"\xff\xff\xff\xff\x0f"


@pytest.mark.parametrize("number", range(13))
def test_a_lying_length_allocates_nothing(number: int) -> None:
    tracemalloc.start()
    for content in (m.HEADER + bytes([number]) + LYING, m.HEADER + m.section(number, LYING * 3)):
        refused_or_admitted(content)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 200_000


@pytest.mark.parametrize(
    "content",
    [
        m.HEADER + m.custom("") * 4_000_000,
        m.HEADER + m.section(m.TYPES, b"\x60\0\0" * 4_000_000),
        m.guest(changes={m.CODE: b"\2" + m.text(b"\xff\xff\x0f" + b"\0\x7f" * 200_000) * 2}),
        m.guest(changes={m.EXPORTS: m.vector([m.text("e" * 200) + b"\0\0"] * 256)}),
    ],
    ids=["sections", "types", "empty runs of locals", "one name"],
)
def test_a_large_file_of_small_things_is_refused_at_once(content: bytes) -> None:
    started = time.process_time()
    assert refusal_of(content) is not None
    assert not refused_or_admitted(content)
    assert time.process_time() - started < 5
