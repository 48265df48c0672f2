"""Sealed secrets open at their own place, with their own key, unchanged, or not at all."""

from pathlib import Path

import pytest

from stockade.core.errors import StockadeError
from stockade.infra.secret_box import AesGcmSecretBox

OLD, NEW = b"o" * 32, b"n" * 32
BOX = AesGcmSecretBox((OLD,))
SEALED = BOX.seal("acme", "KEY", b"hush")


@pytest.mark.parametrize("value", [b"", b"hush", bytes(range(256)) * 256])
def test_a_secret_comes_back(value: bytes) -> None:
    assert BOX.open("acme", "KEY", BOX.seal("acme", "KEY", value)) == value


def test_what_is_sealed_shows_nothing_and_is_never_the_same() -> None:
    assert b"hush" not in SEALED
    assert BOX.seal("acme", "KEY", b"hush") != SEALED


@pytest.mark.parametrize("at", range(len(SEALED)))
def test_a_flipped_byte_is_noticed(at: int) -> None:
    changed = bytearray(SEALED)
    changed[at] ^= 1
    unreadable(BOX, "acme", "KEY", bytes(changed))


@pytest.mark.parametrize("size", range(len(SEALED)))
def test_a_cut_is_noticed(size: int) -> None:
    unreadable(BOX, "acme", "KEY", SEALED[:size])


@pytest.mark.parametrize(("tenant", "name"), [("rival", "KEY"), ("acme", "key"), ("acm", "eKEY")])
def test_another_place_does_not_open_it(tenant: str, name: str) -> None:
    unreadable(BOX, tenant, name, SEALED)


def test_another_key_does_not_open_it() -> None:
    unreadable(AesGcmSecretBox((NEW,)), "acme", "KEY", SEALED)


def test_keys_are_changed_without_a_pause() -> None:
    both = AesGcmSecretBox((NEW, OLD))
    assert both.open("acme", "KEY", SEALED) == b"hush"
    again = both.seal("acme", "KEY", b"hush")
    assert AesGcmSecretBox((NEW,)).open("acme", "KEY", again) == b"hush"
    unreadable(BOX, "acme", "KEY", again)


def test_a_file_is_made_once_and_read_by_all(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "secrets.key"
    sealed = AesGcmSecretBox.from_file(path).seal("acme", "KEY", b"hush")
    assert path.stat().st_mode & 0o777 == 0o600
    assert AesGcmSecretBox.from_file(path).open("acme", "KEY", sealed) == b"hush"


def test_a_file_may_hold_several_keys(tmp_path: Path) -> None:
    path = tmp_path / "secrets.key"
    path.touch(mode=0o600)
    path.write_text(f"{NEW.hex()}\n{OLD.hex().upper()}\n", encoding="ascii")
    assert AesGcmSecretBox.from_file(path).open("acme", "KEY", SEALED) == b"hush"


@pytest.mark.parametrize(
    "content", [b"", b"short", b"x" * 64, b"a" * 63, OLD.hex().encode() + b"\n?"]
)
def test_a_file_that_holds_no_key_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "secrets.key"
    path.touch(mode=0o600)
    path.write_bytes(content)
    with pytest.raises(StockadeError) as refused:
        AesGcmSecretBox.from_file(path)
    assert refused.value.code == "config.secret_invalid"


def test_a_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "secrets.key"
    path.write_bytes(OLD)
    path.chmod(0o644)
    with pytest.raises(StockadeError) as refused:
        AesGcmSecretBox.from_file(path)
    assert refused.value.code == "config.secret_exposed"


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StockadeError) as refused:
        AesGcmSecretBox.from_file(tmp_path)
    assert refused.value.code == "config.secret_unreadable"


def unreadable(box: AesGcmSecretBox, tenant: str, name: str, sealed: bytes) -> None:
    with pytest.raises(StockadeError) as refused:
        box.open(tenant, name, sealed)
    assert refused.value.code == "secret.unreadable"
