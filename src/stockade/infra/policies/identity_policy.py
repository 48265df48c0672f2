"""What `policies/identity.toml` says."""

import ipaddress
from urllib.parse import urlsplit

import msgspec

from stockade.core.errors import StockadeError
from stockade.core.key_sets import ALGORITHMS, MAX_ID_CHARACTERS
from stockade.core.names import check_name
from stockade.core.principals import Role, check_scopes
from stockade.core.workloads import (
    KEPT_CLAIMS,
    MAX_CLAIMS,
    MAX_KEY_SECONDS,
    IdentityPolicy,
    IssuerKind,
    TrustedIssuer,
    WorkloadRule,
)
from stockade.infra.policies.policy_text import Source
from stockade.infra.policies.toml_files import parse_toml

_MAX_ISSUERS, _MAX_RULES = 32, 1_000
_KNOWN = {"token.actions.githubusercontent.com": IssuerKind.GITHUB, "gitlab.com": IssuerKind.GITLAB}


class _Rule(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    tenant: str
    role: Role
    claims: dict[str, str | list[str]]
    scopes: list[str] = []
    allow_events: list[str] = []
    key_seconds: int = MAX_KEY_SECONDS


class _Issuer(msgspec.Struct, forbid_unknown_fields=True):
    url: str
    kind: IssuerKind
    audience: str
    rules: list[_Rule]
    algorithms: tuple[str, ...] = ("RS256",)
    jwks_url: str | None = None
    kept_claims: list[str] | None = None


class _File(msgspec.Struct, forbid_unknown_fields=True):
    issuers: list[_Issuer] = []


def read_identity_policy(sources: tuple[Source, ...]) -> IdentityPolicy:
    """The policy in this one file.

    Raises:
        ValueError: It cannot be used, and why.
    """
    try:
        [source] = sources
        return _policy(parse_toml(source.content, _File))
    except StockadeError as error:
        raise ValueError(error.message) from error


def origin(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port of a URL that tokens or keys may come from.

    Raises:
        ValueError: It is not `https`, nor `http` on this very machine; or it has parts that it must
            not have.
    """
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port
    extra = parts.username or parts.password or parts.query or parts.fragment
    if extra or not host or len(url) > MAX_ID_CHARACTERS or url != url.strip() or not url.isascii():
        raise ValueError(f"{url[:80]!a} is no plain URL")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(host)):
        raise ValueError(f"{url!r} is not https")
    return parts.scheme, host, port


def is_loopback(host: str) -> bool:
    """Whether this name means this very machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _policy(file: _File) -> IdentityPolicy:
    issuers = tuple(map(_issuer, file.issuers))
    if len({one.url for one in issuers}) != len(issuers) or len(issuers) > _MAX_ISSUERS:
        raise ValueError(f"there are more than {_MAX_ISSUERS} issuers, or one of them twice")
    return IdentityPolicy(issuers)


def _issuer(asked: _Issuer) -> TrustedIssuer:
    _, host, _ = origin(asked.url)
    if asked.jwks_url is not None:
        origin(asked.jwks_url)
    if _KNOWN.get(host, asked.kind) is not asked.kind:
        raise ValueError(f"{asked.url!r} is of kind {_KNOWN[host].value!r}")
    if not asked.audience or len(asked.audience) > MAX_ID_CHARACTERS:
        raise ValueError(f"the audience of {asked.url!r} is empty or too long")
    if not asked.algorithms or not set(asked.algorithms) <= ALGORITHMS:
        raise ValueError(f"algorithms may name {', '.join(sorted(ALGORITHMS))}")
    names = [rule.name for rule in asked.rules]
    if len(set(names)) != len(names) or len(names) > _MAX_RULES:
        raise ValueError(f"there are more than {_MAX_RULES} rules, or two of one name")
    kept = tuple(KEPT_CLAIMS[asked.kind] if asked.kept_claims is None else asked.kept_claims)
    if len(kept) > MAX_CLAIMS:
        raise ValueError(f"there are more than {MAX_CLAIMS} kept_claims")
    rules = tuple(_rule(rule, asked.kind) for rule in asked.rules)
    return TrustedIssuer(
        asked.url, asked.kind, asked.audience, asked.algorithms, rules, kept, asked.jwks_url
    )


def _rule(asked: _Rule, kind: IssuerKind) -> WorkloadRule:
    made = WorkloadRule(
        check_name("rule", asked.name),
        check_name("tenant", asked.tenant),
        asked.role,
        {name: _patterns(value) for name, value in asked.claims.items()},
        check_scopes(asked.scopes),
        frozenset(asked.allow_events),
        asked.key_seconds,
    )
    made.check(kind)
    return made


def _patterns(value: str | list[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)
