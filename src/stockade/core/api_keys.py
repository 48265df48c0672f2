"""API keys: `stk_<env>_<id>_<secret><crc32>`, of which only a hash is ever stored.

The CRC-32 tail lets a typo or a scanner's find be recognised without the database; it is no
protection. The secret has 160 random bits, so a plain SHA-256 is enough to store (nothing to guess
from a dictionary).
"""

import hashlib
import hmac
import re
import secrets
import zlib
from dataclasses import dataclass, field

from stockade.core.errors import StockadeError
from stockade.core.principals import Kind, Principal, Role

ID_CHARACTERS = 12
_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"
_KEY = re.compile(r"stk_([a-z0-9]{1,16})_([a-z0-9]{12})_([a-z0-9]{32})([0-9a-f]{8})")


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What the catalog keeps of a key: never the secret. Times are Unix milliseconds.

    `last_used_ms` lags by up to a minute. `subject` and `claims` are those of the token that a CI
    job got its key for. `principal` is who calls with it, made once and not for each call.
    """

    id: str
    tenant: str
    name: str
    secret_hash: bytes
    created_ms: int
    expires_ms: int | None = None
    role: Role = Role.ADMIN
    scopes: tuple[str, ...] = ()
    revoked_ms: int | None = None
    last_used_ms: int | None = None
    kind: Kind = Kind.KEY
    subject: str | None = None
    claims: tuple[tuple[str, str], ...] = ()
    principal: Principal = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        who = self.subject or self.id
        made = Principal(
            self.tenant, who, self.role, self.scopes, self.kind, self.claims, self.expires_ms
        )
        object.__setattr__(self, "principal", made)

    def in_force(self, now_ms: int) -> bool:
        """Whether it has neither ended nor been revoked."""
        unexpired = self.expires_ms is None or now_ms < self.expires_ms
        return unexpired and self.revoked_ms is None

    def ended_before(self, now_ms: int) -> bool:
        """Whether its time was over, or it was revoked, before this."""
        return any(end is not None and end < now_ms for end in (self.expires_ms, self.revoked_ms))


@dataclass(frozen=True, slots=True)
class PresentedKey:
    """A key as a caller sent it, well-formed but not yet checked."""

    id: str
    secret_hash: bytes

    def opens(self, stored: ApiKey, now_ms: int) -> bool:
        """Whether this is the stored key, in force; takes the same time for any secret."""
        same = hmac.compare_digest(self.secret_hash, stored.secret_hash)
        return same and stored.in_force(now_ms)


def generate_key(environment: str) -> tuple[str, PresentedKey]:
    """A new key's text, to be shown once, and what to store of it."""
    key_id = "".join(secrets.choice(_ALPHABET) for _ in range(ID_CHARACTERS))
    secret = "".join(secrets.choice(_ALPHABET) for _ in range(32))
    body = f"stk_{environment}_{key_id}_{secret}"
    return body + _checksum(body), PresentedKey(key_id, _hash(secret))


def parse_key(text: str) -> PresentedKey:
    """Reads a presented key.

    Raises:
        StockadeError: `auth.key_malformed`, also when the checksum shows a typo.
    """
    match = _KEY.fullmatch(text)
    if match is None or _checksum(text[:-8]) != match[4]:
        raise StockadeError(
            "auth.key_malformed", "This is not a Stockade API key; check that it was copied whole."
        )
    return PresentedKey(match[2], _hash(match[3]))


def _checksum(body: str) -> str:
    return f"{zlib.crc32(body.encode()):08x}"


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
