"""Real compilers' modules are admitted: the examples' guests, as they are built and kept."""

from pathlib import Path

import pytest

from registry.admission import admit
from registry.signing import sign
from registry.verification import verify_module
from stockade.core.modules import Abi
from tests.unit.registry.modules import NOW, secret, signer

EXAMPLES = Path(__file__).parents[3] / "examples" / "wasm"
GUESTS = sorted(EXAMPLES.glob("*/*.wasm"))
VARYING = {"host-calls-assemblyscript", "host-calls-rust", "link-preview", "visit-counter"}


@pytest.mark.parametrize("path", GUESTS, ids=lambda path: path.stem)
def test_an_example_is_signed_verified_and_admitted(path: Path) -> None:
    verified = verify_module(sign(path.read_bytes(), secret(1)), None, [signer(1)], NOW)
    facts = admit(verified.body)
    assert facts.deterministic is (path.stem not in VARYING)
    assert verified.body == path.read_bytes()


def test_the_examples_speak_both_abis() -> None:
    assert {admit(path.read_bytes()).abi for path in GUESTS} == set(Abi)
