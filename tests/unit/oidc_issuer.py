"""A CI service's issuer on this machine: real HTTP, real keys, real tokens."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from stockade.core.principals import Role
from stockade.core.workloads import KEPT_CLAIMS, IssuerKind, TrustedIssuer, WorkloadRule

AUDIENCE = "https://stockade.example.org"
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
ED_KEY = ed25519.Ed25519PrivateKey.generate()
RSA_PEM = RSA_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
_NUMBERS = count()
Answer = tuple[int, dict[str, str], bytes]
Jwk = dict[str, Any]


def rsa_jwk(kid: str, key: rsa.RSAPrivateKey = RSA_KEY, **more: str) -> Jwk:
    """The public half as issuers publish it."""
    return RSAAlgorithm.to_jwk(key.public_key(), as_dict=True) | {"kid": kid, "use": "sig"} | more


def ec_jwk(kid: str, key: ec.EllipticCurvePrivateKey = EC_KEY) -> Jwk:
    return ECAlgorithm.to_jwk(key.public_key(), as_dict=True) | {"kid": kid}


def ed_jwk(kid: str) -> Jwk:
    return OKPAlgorithm.to_jwk(ED_KEY.public_key(), as_dict=True) | {"kid": kid}


@dataclass
class Issuer:
    """What it publishes can be changed at any time; `asked` are the paths that were fetched."""

    port: int
    keys: list[Jwk] = field(default_factory=lambda: [rsa_jwk("one")])
    asked: list[str] = field(default_factory=list)
    answers: dict[str, Callable[[], Answer]] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/ci"

    def trusted(self, *rules: WorkloadRule, **changes: Any) -> TrustedIssuer:  # noqa: ANN401
        """How a policy trusts it."""
        kind = changes.pop("kind", IssuerKind.GITHUB)
        given = {
            "url": self.url,
            "kind": kind,
            "audience": AUDIENCE,
            "algorithms": ("RS256", "ES256", "EdDSA"),
            "rules": rules or (RULE,),
            "kept_claims": KEPT_CLAIMS[kind],
        }
        return TrustedIssuer(**given | changes)

    def claims(self, now_seconds: float, **changes: object) -> dict[str, object]:
        """What a job's token says; a change to None leaves a claim out."""
        made: dict[str, object] = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": "repo:acme/hello:ref:refs/heads/main",
            "jti": f"token-{next(_NUMBERS)}",
            "iat": int(now_seconds),
            "nbf": int(now_seconds) - 5,
            "exp": int(now_seconds) + 300,
            "repository": "acme/hello",
            "repository_id": "42",
            "repository_owner_id": "7",
            "ref": "refs/heads/main",
            "event_name": "push",
            "run_attempt": 1,
        }
        return {name: value for name, value in (made | changes).items() if value is not None}

    def answer(self, path: str) -> Answer:
        self.asked.append(path)
        if path in self.answers:
            return self.answers[path]()
        if path == "/ci/.well-known/openid-configuration":
            return ok({"issuer": self.url, "jwks_uri": f"{self.url}/jwks"})
        return ok({"keys": self.keys}) if path == "/ci/jwks" else (404, {}, b"")


RULE = WorkloadRule(
    "deploys",
    "alice",
    Role.DEVELOPER,
    {"repository_id": ("42",), "ref": ("refs/heads/main", "refs/tags/v*")},
)


def ok(document: object) -> Answer:
    return 200, {"Content-Type": "application/json"}, json.dumps(document).encode()


def token(
    claims: dict[str, object],
    key: Any = RSA_KEY,  # noqa: ANN401 - keys of all types, and none
    algorithm: str = "RS256",
    kid: str = "one",
) -> str:
    """Signs it as the CI service would, or would not."""
    return jwt.encode(claims, key, algorithm, headers={"kid": kid})


@contextmanager
def serving(issuer: Issuer | None = None) -> Iterator[Issuer]:
    """An issuer that answers inside; one that was served before comes back on its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = it.answer(self.path)
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(body))} | headers).items():
                self.send_header(name, value)
            with suppress(OSError):  # who has read enough hangs up
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0 if issuer is None else issuer.port), Handler)
    it = issuer or Issuer(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield it
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
