"""Published keys are read under bounds, and what is not safe to use is as if it were not there."""

import base64
import json

import pytest

from stockade.core.key_sets import ALGORITHMS, MAX_KEYS, fits_algorithm, parse_key_set


def _b64(number: int) -> str:
    size = (number.bit_length() + 7) // 8
    return base64.urlsafe_b64encode(number.to_bytes(size)).decode().rstrip("=")


RSA = {"kid": "a", "kty": "RSA", "n": _b64(2**2047 + 1), "e": "AQAB"}
EC = {"kid": "b", "kty": "EC", "crv": "P-256", "x": "x", "y": "y"}
OKP = {"kid": "c", "kty": "OKP", "crv": "Ed25519", "x": "x"}


def _ids(*keys: object) -> list[str]:
    return list(parse_key_set(json.dumps({"keys": keys}).encode()))


def test_usable_keys_come_by_their_ids_without_what_nobody_asked_for() -> None:
    content = json.dumps({"keys": [RSA | {"x5c": ["…"], "use": "sig", "alg": "RS256"}, EC, OKP]})
    assert parse_key_set(content.encode()) == {"a": RSA | {"alg": "RS256"}, "b": EC, "c": OKP}


@pytest.mark.parametrize(
    "key",
    [
        {"kid": "s", "kty": "oct", "k": "c2VjcmV0"},
        RSA | {"k": "c2VjcmV0"},
        RSA | {"d": "private"},
        RSA | {"use": "enc"},
        RSA | {"key_ops": ["encrypt"]},
        RSA | {"key_ops": "verify"},
        RSA | {"kid": ""},
        RSA | {"kid": 1},
        RSA | {"kid": "x" * 257},
        {name: value for name, value in RSA.items() if name != "kid"},
        RSA | {"n": _b64(2**2046)},
        RSA | {"n": _b64(2**8192)},
        RSA | {"n": "é"},
        RSA | {"n": 5},
        RSA | {"e": _b64(2**32)},
        RSA | {"alg": 5},
        RSA | {"kty": "none"},
        RSA | {"kty": ["RSA"]},
        {name: value for name, value in EC.items() if name != "y"},
        "text",
        None,
    ],
    ids=lambda key: ascii(key)[:60],
)
def test_what_is_not_safe_is_left_out(key: object) -> None:
    assert _ids(key, OKP) == ["c"]


def test_two_keys_of_one_id_are_neither() -> None:
    assert _ids(RSA, EC | {"kid": "a"}, OKP) == ["c"]
    assert _ids(RSA, {"kid": "a", "kty": "oct", "k": "c2VjcmV0"}) == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"keys": {}}',
        b"\xff",
        b"[" * 100_000,
        json.dumps({"keys": [RSA] * (MAX_KEYS + 1)}).encode(),
    ],
    ids=range(8),
)
def test_what_is_no_key_set_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match="key set"):
        parse_key_set(content)


@pytest.mark.parametrize(
    ("key", "fitting"),
    [
        (RSA, {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}),
        (RSA | {"alg": "RS256"}, {"RS256"}),
        (RSA | {"alg": "HS256"}, set()),
        (EC, {"ES256"}),
        (EC | {"crv": "P-384"}, {"ES384"}),
        (EC | {"crv": "secp256k1"}, set()),
        (OKP, {"EdDSA"}),
        (OKP | {"crv": "X25519"}, set()),
    ],
    ids=range(8),
)
def test_a_key_fits_the_algorithms_of_its_type_alone(
    key: dict[str, str], fitting: set[str]
) -> None:
    assert {one for one in ALGORITHMS if fits_algorithm(key, one)} == fitting


def test_no_algorithm_has_a_secret_in_common() -> None:
    assert not {one for one in ALGORITHMS if one.startswith("HS") or one == "none"}
