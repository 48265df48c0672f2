"""A CI job's token in, a short-lived key out; each token once.

First `judge_token`, which changes nothing, then `give_key`: between them the audit log is told.
"""

from dataclasses import dataclass

import msgspec

from gateway.identity_tokens import VerifiedToken, check_algorithm, read_token, verify_token
from gateway.services import Services
from stockade.core.api_keys import ApiKey, generate_key
from stockade.core.errors import StockadeError
from stockade.core.principals import Kind
from stockade.core.workloads import TrustedIssuer, UsedToken, WorkloadRule, claim_texts

MAX_WORKLOADS = 1_000
"""Keys of jobs in force, of one tenant."""
_REMEMBERED_MS = 10 * 60 * 1000


class TokenRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The job's token, and by which rule it is to be taken: else the first that fits."""

    token: str
    rule: str | None = None


@dataclass(frozen=True, slots=True)
class Judged:
    """A sound token, and the key it may have: its text, which is nowhere else, and what to store.

    The key is named after the rule that decided.
    """

    text: str
    key: ApiKey
    used: UsedToken


async def judge_token(services: Services, asked: TokenRequest) -> Judged:
    """What the token is good for, unless it was used.

    Raises:
        StockadeError: `oidc.…` as `gateway.identity_tokens` and `stockade.core.workloads` say;
            `oidc.too_many_jobs`.
    """
    unverified = read_token(asked.token)
    issuer = services.identity.current.issuer(unverified.issuer)
    check_algorithm(unverified, issuer)
    jwk = await services.issuer_keys.key(issuer, unverified.key_id)
    token = verify_token(unverified, issuer, jwk, services.clock.now_ms())
    texts = claim_texts(token.claims)
    rule = issuer.rule_for(texts, asked.rule)
    await _check_room(services, rule.tenant)
    text, key = _key(services, issuer, token, rule)
    # A little longer than it lives: gateways' clocks differ.
    used = UsedToken(token.id_hash, token.expires_ms + _REMEMBERED_MS)
    return Judged(text, key, used)


async def give_key(services: Services, judged: Judged) -> None:
    """Puts the key in force, and the token out of it.

    Raises:
        StockadeError: `oidc.token_replayed` or `tenant.not_found`.
    """
    if not await services.catalog.admit_workload(judged.used, judged.key):
        raise StockadeError(
            "oidc.token_replayed", "This token has been exchanged already. Ask for a new one."
        )


def _key(
    services: Services, issuer: TrustedIssuer, token: VerifiedToken, rule: WorkloadRule
) -> tuple[str, ApiKey]:
    text, made = generate_key(services.settings.environment)
    now_ms = services.clock.now_ms()
    key = ApiKey(
        made.id,
        rule.tenant,
        rule.name,
        made.secret_hash,
        created_ms=now_ms,
        expires_ms=now_ms + rule.key_seconds * 1000,
        role=rule.role,
        scopes=rule.scopes,
        kind=Kind.WORKLOAD,
        subject=f"{issuer.url}|{token.subject}",
        claims=issuer.keep(claim_texts(token.claims)),
    )
    return text, key


async def _check_room(services: Services, tenant: str) -> None:
    now_ms = services.clock.now_ms()
    found = await services.catalog.keys(tenant)
    jobs = sum(key.kind is Kind.WORKLOAD and key.in_force(now_ms) for key in found)
    if jobs >= MAX_WORKLOADS:
        raise StockadeError(
            "oidc.too_many_jobs",
            f"This tenant has {MAX_WORKLOADS} keys of jobs in force. Try again when some end.",
            retryable=True,
        )
