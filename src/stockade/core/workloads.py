"""CI jobs as callers: whose tokens count, and which rule makes of a job's claims a principal.

A job proves what it is by a token of its CI service (OpenID Connect). An operator's policy names
the services and, for each, rules; the first rule whose every claim fits decides the tenant, the
role and the scopes. Names of repositories can be given up and taken by others, numbers cannot: a
rule for GitHub or GitLab pins one of theirs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from stockade.core.api_keys import ApiKey
from stockade.core.errors import StockadeError
from stockade.core.key_sets import Jwk
from stockade.core.principals import Role

MIN_KEY_SECONDS, MAX_KEY_SECONDS = 60, 900
MAX_PATTERNS, MAX_PATTERN_CHARACTERS = 16, 256
MAX_CLAIMS, MAX_CLAIM_CHARACTERS = 48, 512
_MAX_NUMBER_DIGITS = 20


class IssuerKind(StrEnum):
    """Which CI service an issuer is of; `other` has no claims that we know."""

    GITHUB = "github"
    GITLAB = "gitlab"
    OTHER = "other"


PINNED: Mapping[IssuerKind, tuple[str, ...]] = {
    IssuerKind.GITHUB: ("repository_id", "repository_owner_id"),
    IssuerKind.GITLAB: ("project_id", "namespace_id"),
    IssuerKind.OTHER: (),
}
"""Claims with numbers that name one repository or owner for ever; a rule pins one of them."""

RISKY_EVENTS = frozenset({"pull_request_target", "workflow_run"})
"""GitHub's events that run with a repository's rights on what strangers sent."""

KEPT_CLAIMS: Mapping[IssuerKind, tuple[str, ...]] = {
    IssuerKind.GITHUB: (
        "repository_id",
        "repository_owner_id",
        "repository",
        "ref",
        "sha",
        "event_name",
        "environment",
        "workflow_ref",
        "job_workflow_ref",
        "actor_id",
        "run_id",
        "runner_environment",
    ),
    IssuerKind.GITLAB: (
        "project_id",
        "namespace_id",
        "project_path",
        "ref",
        "ref_type",
        "ref_protected",
        "sha",
        "pipeline_source",
        "pipeline_id",
        "job_id",
        "environment",
        "user_id",
    ),
    IssuerKind.OTHER: ("sub",),
}
"""What policies can ask of a job unless the operator names other claims."""


@dataclass(frozen=True, slots=True)
class WorkloadRule:
    """Which jobs become which principal.

    Each claim in `claims` must be one of its patterns; in a pattern `*` stands for any characters
    but '/' and ':'. `events` are those of `RISKY_EVENTS` that the operator allows after all.
    """

    name: str
    tenant: str
    role: Role
    claims: Mapping[str, tuple[str, ...]]
    scopes: tuple[str, ...] = ()
    events: frozenset[str] = frozenset()
    key_seconds: int = MAX_KEY_SECONDS

    def fits(self, claims: Mapping[str, str]) -> bool:
        """Whether a job with these claims is meant."""
        return all(
            name in claims and any(matches(pattern, claims[name]) for pattern in patterns)
            for name, patterns in self.claims.items()
        )

    def check(self, kind: IssuerKind) -> None:
        """Refuses a rule that could mean other jobs than its author thinks.

        Raises:
            ValueError: And why.
        """
        if not self.claims:
            raise ValueError(f"the rule {self.name!r} asks for no claims, so any job would fit")
        for name, patterns in self.claims.items():
            _check_patterns(f"{self.name}: {name}", patterns)
            if name in PINNED[kind] and not all(map(_is_number, patterns)):
                raise ValueError(f"the rule {self.name!r} must give {name} as a number, in full")
        if PINNED[kind] and not set(PINNED[kind]) & set(self.claims):
            wanted = " or ".join(PINNED[kind])
            raise ValueError(f"the rule {self.name!r} must pin {wanted}: names change hands")
        if not self.events <= RISKY_EVENTS:
            raise ValueError(f"allow_events of {self.name!r} may name {sorted(RISKY_EVENTS)} only")
        if not MIN_KEY_SECONDS <= self.key_seconds <= MAX_KEY_SECONDS:
            raise ValueError(f"key_seconds of {self.name!r} is not {MIN_KEY_SECONDS} to 900")


@dataclass(frozen=True, slots=True)
class TrustedIssuer:
    """A CI service whose tokens count when they are for `audience`.

    `jwks_url` is where its keys are, else its discovery document says it; `kept_claims` are those
    that policies can ask for.
    """

    url: str
    kind: IssuerKind
    audience: str
    algorithms: tuple[str, ...]
    rules: tuple[WorkloadRule, ...]
    kept_claims: tuple[str, ...]
    jwks_url: str | None = None

    def rule_for(self, claims: Mapping[str, str], wanted: str | None) -> WorkloadRule:
        """The first rule that fits, of this name where one is wanted.

        Raises:
            StockadeError: `oidc.no_rule` or `oidc.event_refused`.
        """
        fitting = [rule for rule in self.rules if wanted in {None, rule.name} and rule.fits(claims)]
        if not fitting:
            raise StockadeError(
                "oidc.no_rule",
                "No rule of this installation fits this job. Compare its token's claims with the"
                " rules that the operator has written.",
            )
        event = claims.get("event_name", "")
        refused = RISKY_EVENTS | {""} if self.kind is IssuerKind.GITHUB else frozenset()
        for rule in fitting:
            if event not in refused - rule.events:
                return rule
        raise StockadeError(
            "oidc.event_refused",
            f"Jobs started by {event[:40]!a} are refused: they run on what strangers sent.",
        )

    def keep(self, claims: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
        """What policies will see of the claims.

        Raises:
            StockadeError: `oidc.claims_invalid` when one is too long: cut short it could mislead.
        """
        kept = tuple((name, claims[name]) for name in self.kept_claims if name in claims)
        for name, value in kept:
            if len(value) > MAX_CLAIM_CHARACTERS:
                raise StockadeError(
                    "oidc.claims_invalid",
                    f"The token's claim {name!r} has more than {MAX_CLAIM_CHARACTERS} characters.",
                )
        return kept


@dataclass(frozen=True, slots=True)
class IdentityPolicy:
    """Whose tokens count; by default nobody's."""

    issuers: tuple[TrustedIssuer, ...] = ()

    def issuer(self, url: str) -> TrustedIssuer:
        """The trusted issuer of exactly this URL.

        Raises:
            StockadeError: `oidc.issuer_untrusted`.
        """
        for issuer in self.issuers:
            if issuer.url == url:
                return issuer
        raise StockadeError(
            "oidc.issuer_untrusted",
            "Tokens of this issuer are not accepted here. The operator can trust it in"
            " policies/identity.toml.",
        )


class IdentityRules(Protocol):
    """The operator's identity policy as it is now."""

    @property
    def current(self) -> IdentityPolicy:
        """The newest that could be read."""

    @property
    def alarm(self) -> str | None:
        """Why a newer one is not in force; None when this is the newest."""


@dataclass(frozen=True, slots=True)
class FixedIdentity:
    """Rules that never change; by default nobody's token counts."""

    current: IdentityPolicy = IdentityPolicy()
    alarm: str | None = None


@dataclass(frozen=True, slots=True)
class UsedToken:
    """What is remembered of a token so that it is never taken twice."""

    hash: bytes
    expires_ms: int


class IssuerKeys(Protocol):
    """The public keys that issuers sign with."""

    async def key(self, issuer: TrustedIssuer, key_id: str) -> Jwk | None:
        """The key of this id, or None when the issuer has none.

        Raises:
            StockadeError: `oidc.issuer_unavailable`; retryable.
        """


class NoIssuerKeys:
    """Knows no issuer: where the policy trusts none."""

    async def key(self, issuer: TrustedIssuer, key_id: str) -> Jwk | None:
        """None."""
        del issuer, key_id
        return None


class WorkloadStore(Protocol):
    """The short-lived keys of CI jobs, and the tokens that they were given for."""

    async def admit_workload(self, token: UsedToken, key: ApiKey) -> bool:
        """Stores the key and remembers the token in one step; False when the token was used.

        Raises:
            StockadeError: `tenant.not_found`, `key.exists`; the token is not used then.
        """

    async def sweep_workloads(self, before_ms: int) -> int:
        """Deletes keys of jobs, and tokens, that ended before this; how many keys there were."""


def claim_texts(claims: Mapping[str, object]) -> dict[str, str]:
    """The claims that rules and policies can ask for: texts, whole numbers and truths as text."""
    texts: dict[str, str] = {}
    for name, value in claims.items():
        if isinstance(value, bool):
            texts[name] = "true" if value else "false"
        elif isinstance(value, str | int):
            texts[name] = str(value)
    return texts


def matches(pattern: str, value: str) -> bool:
    """Whether the pattern, with at most one `*`, is the value."""
    before, star, after = pattern.partition("*")
    if not star:
        return pattern == value
    middle = value[len(before) : len(value) - len(after)]
    fits = len(value) >= len(before) + len(after)
    return (
        fits and value.startswith(before) and value.endswith(after) and not set(middle) & set("/:")
    )


def _check_patterns(where: str, patterns: tuple[str, ...]) -> None:
    if not 1 <= len(patterns) <= MAX_PATTERNS:
        raise ValueError(f"{where} has not 1 to {MAX_PATTERNS} values")
    for pattern in patterns:
        if not 1 <= len(pattern) <= MAX_PATTERN_CHARACTERS:
            raise ValueError(f"{where} has a value of not 1 to {MAX_PATTERN_CHARACTERS} characters")
        if pattern.count("*") > 1:
            raise ValueError(f"{where} has a value with more than one '*'")


def _is_number(pattern: str) -> bool:
    return pattern.isascii() and pattern.isdecimal() and len(pattern) <= _MAX_NUMBER_DIGITS
