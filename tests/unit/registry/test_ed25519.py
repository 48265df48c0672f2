import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from registry.ed25519 import is_on_curve, is_sound_point, verifies
from registry.keys import public_bytes
from tests.unit.registry import points
from tests.unit.registry.modules import secret

KEY = secret(1)
PUBLIC = public_bytes(KEY)
MESSAGE = b"what is signed"
SIGNATURE = KEY.sign(MESSAGE)


def test_a_true_signature_verifies() -> None:
    assert verifies(PUBLIC, SIGNATURE, MESSAGE)


@pytest.mark.parametrize("index", [0, 31, 32, 63])
def test_a_changed_signature_does_not(index: int) -> None:
    changed = bytearray(SIGNATURE)
    changed[index] ^= 1
    assert not verifies(PUBLIC, bytes(changed), MESSAGE)


def test_another_message_or_key_does_not() -> None:
    assert not verifies(PUBLIC, SIGNATURE, MESSAGE + b".")
    assert not verifies(public_bytes(secret(2)), SIGNATURE, MESSAGE)


@pytest.mark.parametrize("point", points.SMALL_ORDER + points.NON_CANONICAL)
def test_small_and_non_canonical_points_are_not_sound(point: bytes) -> None:
    assert not is_sound_point(point)
    assert not verifies(point, SIGNATURE, MESSAGE)
    assert not verifies(PUBLIC, point + SIGNATURE[32:], MESSAGE)


@pytest.mark.parametrize("number", range(1, 9))
def test_points_of_keys_are_sound(number: int) -> None:
    raw = public_bytes(secret(number))
    assert is_sound_point(raw)
    assert is_on_curve(raw)


@pytest.mark.parametrize("point", points.SMALL_ORDER)
def test_small_points_are_on_the_curve(point: bytes) -> None:
    assert is_on_curve(point)


def test_half_of_all_coordinates_are_on_the_curve() -> None:
    assert not is_on_curve(points.OFF_CURVE)
    assert not verifies(points.OFF_CURVE, SIGNATURE, MESSAGE)
    found = sum(is_on_curve(points.encoded(y)) for y in range(2, 402))
    assert 150 < found < 250


def test_a_forgery_that_the_library_takes_is_refused() -> None:
    forged = points.forged_for_the_identity(KEY)
    Ed25519PublicKey.from_public_bytes(points.IDENTITY).verify(forged, MESSAGE)
    Ed25519PublicKey.from_public_bytes(points.IDENTITY).verify(forged, b"any other")
    assert not verifies(points.IDENTITY, forged, MESSAGE)


def test_a_small_commitment_that_the_library_takes_is_refused() -> None:
    signature = points.with_small_commitment(KEY, MESSAGE)
    KEY.public_key().verify(signature, MESSAGE)
    assert not verifies(PUBLIC, signature, MESSAGE)


def test_a_second_form_of_s_is_refused() -> None:
    assert not verifies(PUBLIC, points.with_large_s(SIGNATURE), MESSAGE)
    assert not verifies(PUBLIC, SIGNATURE[:32] + points.encoded(points.ORDER), MESSAGE)
