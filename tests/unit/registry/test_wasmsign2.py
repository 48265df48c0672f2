"""What the reference tool writes is accepted, and what is signed here the tool accepts.

The recorded files stand in `tests/assets/wasmsign2`; the tool itself is run where it is found.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from registry.admission import admit
from registry.keys import (
    default_key_id,
    load_public_key,
    load_secret_key,
    public_bytes,
    tool_key_pair,
    tool_public_key,
)
from registry.signature_format import attach, module_hashes, parse_payload, split_envelope
from registry.signing import sign, sign_detached
from registry.verification import verify_module
from stockade.core.digests import digest_of
from stockade.core.errors import StockadeError
from tests.unit.registry.modules import NOW, secret, signer

ASSETS = Path(__file__).parents[2] / "assets" / "wasmsign2"
SIGNERS = [signer(1), signer(2)]


def recorded(name: str) -> bytes:
    return (ASSETS / name).read_bytes()


GUEST = recorded("guest.wasm")


@pytest.mark.parametrize(
    ("name", "body", "names"),
    [
        ("no-key-id.wasm", "guest.wasm", ("signer-1",)),
        ("key-id.wasm", "guest.wasm", ("signer-1",)),
        ("two-keys.wasm", "guest.wasm", ("signer-1", "signer-2")),
        ("delimiters.wasm", "split.wasm", ("signer-1",)),
    ],
)
def test_what_the_tool_signed_is_accepted(name: str, body: str, names: tuple[str, ...]) -> None:
    verified = verify_module(recorded(name), None, SIGNERS, NOW)
    assert verified.body == recorded(body)
    assert verified.digest == digest_of(recorded(body))
    assert verified.signers == names
    assert admit(verified.body)


def test_what_the_tool_signed_detached_is_accepted() -> None:
    detached = recorded("detached.signature")
    assert verify_module(GUEST, detached, SIGNERS, NOW).signers == ("signer-1",)


def test_the_same_signature_has_the_same_bytes() -> None:
    assert sign(GUEST, secret(1)) == recorded("key-id.wasm")
    assert sign(GUEST, secret(1), key_id=b"") == recorded("no-key-id.wasm")
    assert sign(sign(GUEST, secret(1)), secret(2)) == recorded("two-keys.wasm")
    assert sign_detached(GUEST, secret(1)) == recorded("detached.signature")
    assert sign(recorded("split.wasm"), secret(1)) == recorded("delimiters.wasm")
    assert attach(GUEST, recorded("detached.signature")) == recorded("key-id.wasm")


def test_the_default_key_id_is_the_tools() -> None:
    [entry] = parse_payload(recorded("detached.signature"))
    [record] = entry.signatures
    assert record.key_id == default_key_id(public_bytes(secret(1)))


def test_the_tools_delimiters_split_a_module_in_parts() -> None:
    [entry] = parse_payload(split_envelope(recorded("delimiters.wasm")).signature or b"")
    assert len(entry.hashes) == 2
    assert entry.hashes == module_hashes(recorded("split.wasm"))


def test_a_module_cut_at_a_delimiter_is_refused() -> None:
    """The tool takes it (0.2.8): the remaining hash is one of those that were signed."""
    signed = recorded("delimiters.wasm")
    cut = signed[: signed.index(b"\x09producers") - 2]
    assert b"signature_delimiter" in cut
    with pytest.raises(StockadeError) as refused:
        verify_module(cut, None, SIGNERS, NOW)
    assert refused.value.code == "module.signature_mismatch"


@pytest.fixture
def tool() -> str:
    found = os.environ.get("WASMSIGN2") or shutil.which("wasmsign2")  # noqa: TID251 (a test's setting)
    if not found:
        pytest.skip("wasmsign2 is not on PATH: 'cargo install wasmsign2-cli', or set WASMSIGN2")
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in (1, 2):
        (tmp_path / f"{number}.secret").write_bytes(tool_key_pair(secret(number)))
        (tmp_path / f"{number}.public").write_bytes(tool_public_key(public_bytes(secret(number))))
    (tmp_path / "guest.wasm").write_bytes(GUEST)
    return tmp_path


def run(tool: str, folder: Path, *arguments: str) -> bool:
    return subprocess.run([tool, *arguments], cwd=folder, check=False).returncode == 0


def test_the_tool_accepts_what_is_signed_here(tool: str, folder: Path) -> None:
    (folder / "ours.wasm").write_bytes(sign(sign(GUEST, secret(1)), secret(2)))
    (folder / "ours.signature").write_bytes(sign_detached(GUEST, secret(1)))
    (folder / "parts.wasm").write_bytes(sign(recorded("split.wasm"), secret(1)))
    assert run(tool, folder, "verify", "-i", "ours.wasm", "-K", "1.public")
    assert run(tool, folder, "verify", "-i", "ours.wasm", "-K", "2.public")
    assert run(tool, folder, "verify", "-i", "parts.wasm", "-K", "1.public")
    assert not run(tool, folder, "verify", "-i", "parts.wasm", "-K", "2.public")
    detached = ("-S", "ours.signature", "-K", "1.public")
    assert run(tool, folder, "verify", "-i", "guest.wasm", *detached)


def test_what_the_tool_signs_now_is_accepted(tool: str, folder: Path) -> None:
    (folder / "once.wasm").write_bytes(sign(GUEST, secret(1)))
    key = ("-k", "2.secret", "-K", "2.public")
    assert run(tool, folder, "sign", *key, "-i", "once.wasm", "-o", "twice.wasm")
    verified = verify_module((folder / "twice.wasm").read_bytes(), None, SIGNERS, NOW)
    assert verified.signers == ("signer-1", "signer-2")


def test_keys_that_the_tool_makes_are_read(tool: str, folder: Path) -> None:
    assert run(tool, folder, "keygen", "-k", "new.secret", "-K", "new.public")
    raw = load_public_key((folder / "new.public").read_bytes())
    assert public_bytes(load_secret_key((folder / "new.secret").read_bytes())) == raw
