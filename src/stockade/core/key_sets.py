"""Sets of public keys as issuers publish them (JWK Set, RFC 7517), read under bounds.

A key that is not safe to use is left out, as if the issuer had not published it: one without an id,
or whose id another key has too; a symmetric one; one not meant for signatures; one published with
its private half; an RSA key of less than 2,048 bits or one so large that checking is costly.
"""

import base64
import json
from collections import Counter
from collections.abc import Mapping

Jwk = Mapping[str, str]
"""A public key: `kty`, `kid`, and what belongs to its type; `alg` where the issuer binds it."""

MAX_KEYS = 64
MAX_ID_CHARACTERS = 256
MIN_RSA_BITS, MAX_RSA_BITS = 2048, 8192

_PARTS = {"RSA": ("n", "e"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x")}
_MAX_EXPONENT_BYTES = 4
_FITS: Mapping[str, tuple[str, str | None]] = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), ("RSA", None)),
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    "EdDSA": ("OKP", "Ed25519"),
}
ALGORITHMS = frozenset(_FITS)
"""Asymmetric ones only: no secret of ours could have made the token."""


def parse_key_set(content: bytes) -> dict[str, Jwk]:
    """The usable keys by their ids.

    Raises:
        ValueError: When it is no key set, or a hostile one.
    """
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError("the key set is not JSON") from error
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list) or len(keys) > MAX_KEYS:
        raise ValueError(f"the key set has no list of at most {MAX_KEYS} keys")
    found = [key for key in keys if isinstance(key, dict)]
    ids = Counter(str(key.get("kid")) for key in found)
    usable = (_usable(key) for key in found if ids[str(key.get("kid"))] == 1)
    return {key["kid"]: key for key in usable if key is not None}


def fits_algorithm(key: Jwk, algorithm: str) -> bool:
    """Whether the key is one that this algorithm takes, and not bound to another."""
    kty, curve = _FITS[algorithm]
    bound = key.get("alg", algorithm) == algorithm
    return bound and key["kty"] == kty and (curve is None or key.get("crv") == curve)


def _usable(key: Mapping[str, object]) -> Jwk | None:
    key_id, kty = key.get("kid"), key.get("kty")
    if not isinstance(key_id, str) or not 1 <= len(key_id) <= MAX_ID_CHARACTERS:
        return None
    parts = _PARTS.get(kty) if isinstance(kty, str) else None
    if parts is None or key.get("use", "sig") != "sig" or "d" in key or "k" in key:
        return None
    operations = key.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        return None
    wanted = ("kid", "kty", *parts, *(("alg",) if "alg" in key else ()))
    made = {name: value for name in wanted if isinstance(value := key.get(name), str)}
    if len(made) != len(wanted) or (kty == "RSA" and not _sound_rsa(made)):
        return None
    return made


def _sound_rsa(key: Jwk) -> bool:
    try:
        modulus, exponent = (
            base64.b64decode(key[part] + "==", altchars=b"-_", validate=False) for part in "ne"
        )
    except ValueError:
        return False
    bits = int.from_bytes(modulus).bit_length()
    return MIN_RSA_BITS <= bits <= MAX_RSA_BITS and len(exponent) <= _MAX_EXPONENT_BYTES
