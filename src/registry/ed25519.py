"""Strict Ed25519: what the library's verification leaves to chance is refused first.

A point of small order verifies signatures over any message; a non-canonical encoding gives one key
two names, and S beyond the group's order gives one signature two forms (RFC 8032, 5.1.7; Chalkias
and others, "Taming the many EdDSAs", 2020).
"""

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

PUBLIC_KEY_BYTES, SIGNATURE_BYTES = 32, 64
_FIELD = 2**255 - 19
_ORDER = 2**252 + 27742317777372353535851937790883648493
_SIGN_BIT = 1 << 255
_CURVE_D = -121665 * pow(121666, -1, _FIELD) % _FIELD
# The y coordinates of the eight points whose order divides 8.
_ORDER_8 = (
    0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7,
    0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826,
)
_SMALL_ORDER_Y = frozenset({0, 1, _FIELD - 1, *_ORDER_8})


def is_sound_point(encoded: bytes) -> bool:
    """Whether these 32 bytes encode a point canonically, and it is not of small order."""
    value = int.from_bytes(encoded, "little")
    y = value & (_SIGN_BIT - 1)
    return y < _FIELD and y not in _SMALL_ORDER_Y


def is_on_curve(encoded: bytes) -> bool:
    """Whether a point of the curve has the y coordinate that these 32 bytes encode."""
    y = int.from_bytes(encoded, "little") & (_SIGN_BIT - 1)
    numerator, denominator = y * y - 1, _CURVE_D * y * y + 1
    # Euler's criterion; the denominator is never 0, for -d is no square.
    return pow(numerator * denominator, (_FIELD - 1) // 2, _FIELD) in {0, 1}


def verifies(public_key: bytes, signature: bytes, message: bytes) -> bool:
    """Whether the signature over the message is this key's, in its one canonical form."""
    if not (is_sound_point(public_key) and is_sound_point(signature[:PUBLIC_KEY_BYTES])):
        return False
    if int.from_bytes(signature[PUBLIC_KEY_BYTES:], "little") >= _ORDER:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except InvalidSignature:
        return False
    return True
