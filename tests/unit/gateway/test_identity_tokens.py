"""Each rule for a CI job's token has a test that breaks it alone."""

import base64
import hashlib
import hmac
import json
from dataclasses import replace
from typing import Any

import jwt
import pytest
from jwt.algorithms import RSAAlgorithm

from gateway.identity_tokens import (
    LEEWAY_SECONDS,
    MAX_LIFETIME_SECONDS,
    MAX_TOKEN_CHARACTERS,
    VerifiedToken,
    read_token,
    verify_token,
)
from stockade.core.errors import StockadeError
from stockade.core.key_sets import Jwk, parse_key_set
from tests.unit.oidc_issuer import (
    AUDIENCE,
    EC_KEY,
    ED_KEY,
    OTHER_RSA_KEY,
    RSA_KEY,
    RSA_PEM,
    Issuer,
    ec_jwk,
    ed_jwk,
    rsa_jwk,
    token,
)

NOW = 1_800_000_000
ISSUER = Issuer(1)
TRUSTED = ISSUER.trusted()


def _key(jwk: dict[str, Any]) -> Jwk:
    return parse_key_set(json.dumps({"keys": [jwk]}).encode())[jwk["kid"]]


ONE = _key(rsa_jwk("one"))


def _claims(**changes: object) -> dict[str, object]:
    return ISSUER.claims(NOW, **changes)


def _verify(text: str, key: Jwk | None = ONE, now: float = NOW, **changes: Any) -> VerifiedToken:  # noqa: ANN401 - any of its fields
    return verify_token(read_token(text), replace(TRUSTED, **changes), key, int(now * 1000))


def _part(content: object) -> str:
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


def _signed(text: str) -> str:
    """As the issuer would, whatever it says."""
    signature = RSAAlgorithm(RSAAlgorithm.SHA256).sign(text.encode(), RSA_KEY)
    return f"{text}.{_part(signature)}"


def _refused(code: str, text: str, key: Jwk | None = ONE, now: float = NOW, **changes: Any) -> None:  # noqa: ANN401 - any of its fields
    with pytest.raises(StockadeError) as caught:
        _verify(text, key, now, **changes)
    assert caught.value.code == code
    assert text not in caught.value.message
    assert not caught.value.retryable


def test_a_sound_token_says_what_its_issuer_says() -> None:
    verified = _verify(token(_claims()))
    assert verified.subject == "repo:acme/hello:ref:refs/heads/main"
    assert verified.claims["repository_id"] == "42"
    assert verified.expires_ms > (NOW + 300 + LEEWAY_SECONDS) * 1000


@pytest.mark.parametrize(
    ("key", "algorithm", "jwk"),
    [
        (RSA_KEY, "RS256", rsa_jwk("one")),
        (RSA_KEY, "RS256", rsa_jwk("one", alg="RS256")),
        (EC_KEY, "ES256", ec_jwk("one")),
        (ED_KEY, "EdDSA", ed_jwk("one")),
    ],
)
def test_each_kind_of_key(key: object, algorithm: str, jwk: dict[str, Any]) -> None:
    assert _verify(token(_claims(), key, algorithm), _key(jwk)).subject


# Rule 1


def test_a_token_is_bounded() -> None:
    fits = "a" * (MAX_TOKEN_CHARACTERS - 4) + ".b.c"
    with pytest.raises(StockadeError, match=r"^oidc\.token_malformed"):
        read_token(fits)
    with pytest.raises(StockadeError, match=r"^oidc\.token_too_large"):
        read_token(fits + "d")


HEADER = {"alg": "RS256", "kid": "one"}
MALFORMED = [
    "",
    "a.b",
    "a.b.c.d",
    "é.b.c",
    "\ud800",
    token(_claims()) + "\n",
    " " + token(_claims()),
    token(_claims()).replace(".", ".=", 1),
    f"{_part(b'no json')}.{_part(_claims())}.c2ln",
    f"{_part([])}.{_part(_claims())}.c2ln",
    f"{_part(b'[' * 5_000)}.{_part(_claims())}.c2ln",
    f"{_part(HEADER)}.{_part(b'[' * 5_000)}.c2ln",
    f"{_part(HEADER)}.{_part([])}.c2ln",
    f"{_part(HEADER)}.{_part(b'1' * 5_000)}.c2ln",
    f"{_part(HEADER)}.{_part(_claims(iss=None))}.c2ln",
    f"{_part(HEADER)}.{_part(_claims(iss=['x']))}.c2ln",
    f"{_part(HEADER)}.{_part(_claims(iss='x' * 257))}.c2ln",
    f"{_part({'alg': 'RS256'})}.{_part(_claims())}.c2ln",
    f"{_part({'kid': 'one'})}.{_part(_claims())}.c2ln",
    f"{_part(HEADER | {'kid': 1})}.{_part(_claims())}.c2ln",
    f"{_part(HEADER | {'kid': ''})}.{_part(_claims())}.c2ln",
    f"{_part(HEADER | {'kid': 'x' * 257})}.{_part(_claims())}.c2ln",
    f"{_part(HEADER | {'crit': ['x'], 'x': 1})}.{_part(_claims())}.c2ln",
    f"{_part(HEADER | {'b64': False, 'crit': ['b64']})}..c2ln",
]


@pytest.mark.parametrize("text", MALFORMED, ids=range(len(MALFORMED)))
def test_what_is_no_token(text: str) -> None:
    with pytest.raises(StockadeError, match=r"^oidc\.token_malformed"):
        read_token(text)


# Rule 2


def _hmac_token(secret: bytes, algorithm: str) -> str:
    signed = f"{_part({'alg': algorithm, 'kid': 'one', 'typ': 'JWT'})}.{_part(_claims())}"
    tag = hmac.digest(secret, signed.encode(), hashlib.sha256)
    return f"{signed}.{_part(tag)}"


@pytest.mark.parametrize(
    "text",
    [
        _hmac_token(RSA_PEM, "HS256"),
        _hmac_token(json.dumps(rsa_jwk("one")).encode(), "HS256"),
        _hmac_token(b"", "HS256"),
        f"{_part(HEADER | {'alg': 'none'})}.{_part(_claims())}.c2ln",
        f"{_part(HEADER | {'alg': 'None'})}.{_part(_claims())}.c2ln",
        f"{_part(HEADER | {'alg': 'rs256'})}.{_part(_claims())}.c2ln",
        token(_claims(), RSA_KEY, "RS512"),
        token(_claims(), RSA_KEY, "PS256"),
    ],
    ids=range(8),
)
def test_only_allowed_algorithms_count(text: str) -> None:
    _refused("oidc.algorithm_refused", text)


def test_the_public_key_as_a_secret_opens_nothing_under_an_allowed_name() -> None:
    signed = f"{_part(HEADER)}.{_part(_claims())}"
    tag = hmac.digest(RSA_PEM, signed.encode(), hashlib.sha256)
    _refused("oidc.signature_invalid", f"{signed}.{_part(tag)}")


def test_an_operator_narrows_the_algorithms() -> None:
    _refused("oidc.algorithm_refused", token(_claims()), algorithms=("ES256",))


# Rule 3


@pytest.mark.parametrize(
    "key",
    [
        None,
        _key(ec_jwk("one")),
        _key(ed_jwk("one")),
        _key(rsa_jwk("one", alg="PS256")),
    ],
)
def test_a_key_that_is_not_there_or_does_not_fit(key: Jwk | None) -> None:
    _refused("oidc.key_unknown", token(_claims()), key)


# Rule 4


def _broken(text: str, part: int) -> str:
    parts = text.split(".")
    flipped = "B" if parts[part][8] != "B" else "C"
    parts[part] = parts[part][:8] + flipped + parts[part][9:]
    return ".".join(parts)


@pytest.mark.parametrize(
    "text",
    [
        token(_claims(), OTHER_RSA_KEY),
        _broken(token(_claims()), 2),
        token(_claims()).rpartition(".")[0] + ".c2ln",
        token(_claims()).rpartition(".")[0] + "." + token(_claims(ref="x")).rpartition(".")[2],
    ],
    ids=range(4),
)
def test_what_the_issuer_did_not_sign(text: str) -> None:
    _refused("oidc.signature_invalid", text)


def test_a_key_that_only_looks_like_one() -> None:
    _refused("oidc.signature_invalid", token(_claims()), {**ONE, "e": "AA"})
    off_the_curve = {"kid": "one", "kty": "EC", "crv": "P-256", "x": "AAAA", "y": "AAAA"}
    _refused("oidc.signature_invalid", token(_claims(), EC_KEY, "ES256"), off_the_curve)


def test_the_keys_in_a_token_are_nobodys() -> None:
    mine = {**rsa_jwk("one", OTHER_RSA_KEY)}
    header = {"kid": "one", "jwk": mine, "jku": "https://evil.example.org/jwks", "x5u": "x"}
    text = jwt.encode(_claims(), OTHER_RSA_KEY, "RS256", headers=header)
    _refused("oidc.signature_invalid", text)


# Rule 5


@pytest.mark.parametrize(
    "audience",
    [None, "", "https://other.example.org", f"{AUDIENCE}/", [], [AUDIENCE, "other"], {}, 5],
)
def test_a_token_for_others_is_not_ours(audience: object) -> None:
    _refused("oidc.audience_wrong", token(_claims(aud=audience)))
    assert _verify(token(_claims(aud=[AUDIENCE])))


@pytest.mark.parametrize("subject", [None, "", 5, ["x"], "x" * 513])
def test_a_token_names_its_subject(subject: object) -> None:
    # jwt.encode would not write some of these.
    made = _claims(sub=subject)
    signed = f"{_part(HEADER)}.{_part(made)}"
    _refused("oidc.claims_invalid", _signed(signed))


# Rule 6


@pytest.mark.parametrize(
    ("now", "code"),
    [
        (NOW + 300 + LEEWAY_SECONDS - 1, None),
        (NOW + 300 + LEEWAY_SECONDS, "oidc.token_expired"),
        (NOW + 10**9, "oidc.token_expired"),
        (NOW - LEEWAY_SECONDS, None),
        (NOW - LEEWAY_SECONDS - 1, "oidc.token_not_yet_valid"),
        (0, "oidc.token_not_yet_valid"),
    ],
)
def test_a_token_has_its_time(now: float, code: str | None) -> None:
    if code is None:
        assert _verify(token(_claims()), now=now)
    else:
        _refused(code, token(_claims()), now=now)


def test_a_token_that_begins_later_than_it_was_made() -> None:
    _refused("oidc.token_not_yet_valid", token(_claims(nbf=NOW + LEEWAY_SECONDS + 1)))
    assert _verify(token(_claims(nbf=None)))
    assert _verify(token(_claims(nbf=NOW + 0.5, exp=NOW + 9.5)))


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": None},
        {"iat": None},
        {"exp": NOW},
        {"exp": NOW + MAX_LIFETIME_SECONDS + 1},
        {"exp": 2**41},
        {"exp": 10**400},
        {"exp": float("inf")},
        {"iat": float("nan")},
        {"iat": -1},
        {"nbf": -1},
        {"nbf": [NOW]},
        {"exp": str(NOW + 300)},
        {"iat": True},
    ],
    ids=str,
)
def test_times_that_are_none(changes: dict[str, object]) -> None:
    made = {**_claims(), **changes}
    made = {name: value for name, value in made.items() if value is not None}
    signed = f"{_part(HEADER)}.{_part(made)}"
    _refused("oidc.claims_invalid", _signed(signed))


# What tells one token from another


def test_a_token_is_known_by_its_id_or_by_what_was_signed() -> None:
    one, same = token(_claims(jti="x")), token(_claims(jti="x", ref="other"))
    assert _verify(one).id_hash == _verify(same).id_hash != _verify(token(_claims())).id_hash
    other = Issuer(2)
    theirs = token(other.claims(NOW, jti="x"))
    assert _verify(theirs, url=other.url).id_hash != _verify(one).id_hash
    bare = {"jti": None}
    es = _key(ec_jwk("one"))
    # Two signatures of one text differ; the text is what counts.
    texts = {token(_claims(**bare), EC_KEY, "ES256") for _ in range(2)}
    assert len(texts) == 2
    assert len({_verify(text, es).id_hash for text in texts}) == 1
    another = token(_claims(jti=None, ref="other"), EC_KEY, "ES256")
    assert _verify(another, es).id_hash not in {_verify(text, es).id_hash for text in texts}
    assert _verify(token(_claims(jti=""))).id_hash != _verify(token(_claims(jti="x"))).id_hash
