"""Tokens of CI services (JWT, RFC 7519): text in, a verified token or one named refusal out.

The rules, in their order:

1. At most `MAX_TOKEN_CHARACTERS`; three parts of base64url; header and claims are JSON objects.
2. The header names a key, and an algorithm that the policy allows this issuer, an asymmetric one.
3. The key is the issuer's, fits the algorithm, and is not bound to another.
4. The signature is valid.
5. The audience is ours; `sub` is a text.
6. It has begun, has not ended, was not made in the future, and does not live for more than a day.

Until rule 4 holds, what a token says is only used to choose the issuer and the key.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jwt

from stockade.core.errors import StockadeError
from stockade.core.key_sets import MAX_ID_CHARACTERS, Jwk, fits_algorithm
from stockade.core.workloads import TrustedIssuer

MAX_TOKEN_CHARACTERS = 16 * 1024
LEEWAY_SECONDS = 60
MAX_LIFETIME_SECONDS = 24 * 3600
_MAX_SUBJECT_CHARACTERS = 512
_MAX_TIME_SECONDS = 2**40
_SHAPE = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class UnverifiedToken:
    """A token that could be one. Nobody has vouched for anything in it."""

    text: str
    issuer: str
    algorithm: str
    key_id: str


@dataclass(frozen=True, slots=True)
class VerifiedToken:
    """What the issuer says of a job. `id_hash` tells this token from all others of the issuer."""

    subject: str
    claims: Mapping[str, object]
    expires_ms: int
    id_hash: bytes


def read_token(text: str) -> UnverifiedToken:
    """Rule 1, and who is to vouch for the token.

    Raises:
        StockadeError: `oidc.token_too_large` or `oidc.token_malformed`.
    """
    if len(text) > MAX_TOKEN_CHARACTERS:
        raise StockadeError(
            "oidc.token_too_large", f"A token has at most {MAX_TOKEN_CHARACTERS} characters."
        )
    if not _SHAPE.fullmatch(text):
        raise _malformed()
    try:
        parts = jwt.decode_complete(text, options={"verify_signature": False})
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise _malformed() from None
    header = parts["header"]
    said = (parts["payload"].get("iss"), header.get("alg"), header.get("kid"))
    if not all(isinstance(part, str) and 1 <= len(part) <= MAX_ID_CHARACTERS for part in said):
        raise _malformed()
    issuer, algorithm, key_id = said
    return UnverifiedToken(text, str(issuer), str(algorithm), str(key_id))


def check_algorithm(token: UnverifiedToken, issuer: TrustedIssuer) -> None:
    """Rule 2: before any key is fetched.

    Raises:
        StockadeError: `oidc.algorithm_refused`.
    """
    if token.algorithm not in issuer.algorithms:
        raise StockadeError(
            "oidc.algorithm_refused",
            f"Tokens of this issuer are signed by {', '.join(issuer.algorithms)} here.",
        )


def verify_token(
    token: UnverifiedToken, issuer: TrustedIssuer, key: Jwk | None, now_ms: int
) -> VerifiedToken:
    """Rules 3 to 6.

    Raises:
        StockadeError: `oidc.key_unknown`, `oidc.signature_invalid`, `oidc.audience_wrong`,
            `oidc.claims_invalid`, `oidc.token_expired` or `oidc.token_not_yet_valid`.
    """
    check_algorithm(token, issuer)
    if key is None or not fits_algorithm(key, token.algorithm):
        raise StockadeError(
            "oidc.key_unknown",
            "The issuer has no such key for this token. If it has just changed its keys, try again"
            " in a minute.",
        )
    claims = _signed_claims(token, key)
    _check_audience(claims, issuer.audience)
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 1 <= len(subject) <= _MAX_SUBJECT_CHARACTERS:
        raise _bad_claim("sub")
    ends_seconds = _check_times(claims, now_ms / 1000)
    expires_ms = int((ends_seconds + LEEWAY_SECONDS) * 1000) + 1
    return VerifiedToken(subject, claims, expires_ms, _id_hash(token, claims))


def _signed_claims(token: UnverifiedToken, key: Jwk) -> Mapping[str, object]:
    try:
        made = jwt.PyJWK(dict[str, Any](key), token.algorithm)
        content = jwt.PyJWS().decode(token.text, made, algorithms=[token.algorithm])
        # An object: it was one when the same text was read.
        claims: Mapping[str, object] = json.loads(content)
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise StockadeError(
            "oidc.signature_invalid", "The token's signature is not its issuer's."
        ) from None
    return claims


def _check_audience(claims: Mapping[str, object], audience: str) -> None:
    """The token is for us alone: one that is for others too, others hold."""
    if claims.get("aud") not in (audience, [audience]):
        raise StockadeError(
            "oidc.audience_wrong",
            f"The token is not for this installation alone. Ask for the audience {audience!r}.",
        )


def _check_times(claims: Mapping[str, object], now_seconds: float) -> float:
    """Rule 6; when the token ends."""
    made, ends = _time(claims, "iat"), _time(claims, "exp")
    begins = _time(claims, "nbf") if "nbf" in claims else made
    if not 0 < ends - made <= MAX_LIFETIME_SECONDS:
        raise _bad_claim("exp")
    if max(made, begins) > now_seconds + LEEWAY_SECONDS:
        raise StockadeError(
            "oidc.token_not_yet_valid", "The token begins in the future: a clock is wrong."
        )
    if ends <= now_seconds - LEEWAY_SECONDS:
        raise StockadeError("oidc.token_expired", "The token has ended. Ask for a new one.")
    return ends


def _time(claims: Mapping[str, object], name: str) -> float:
    value = claims.get(name)
    sound = isinstance(value, int | float) and not isinstance(value, bool)
    if not sound or not 0 <= float(str(value)) <= _MAX_TIME_SECONDS:
        raise _bad_claim(name)
    return float(str(value))


def _id_hash(token: UnverifiedToken, claims: Mapping[str, object]) -> bytes:
    """By the token's own id; without one by what was signed.

    A signature is left out: some can be written in two ways.
    """
    own = claims.get("jti")
    if isinstance(own, str) and own:
        named = ["jti", token.issuer, own]
    else:
        named = ["signed", token.issuer, token.text.rpartition(".")[0]]
    return hashlib.sha256(json.dumps(named).encode()).digest()


def _malformed() -> StockadeError:
    return StockadeError(
        "oidc.token_malformed", "This is no signed token of a CI service that names its key."
    )


def _bad_claim(name: str) -> StockadeError:
    return StockadeError(
        "oidc.claims_invalid", f"The token's claim {name!r} is missing or not as it must be."
    )
