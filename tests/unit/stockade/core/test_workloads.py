"""Which jobs a rule means, and which rules could mean others than their author thinks."""

from dataclasses import replace

import pytest

from stockade.core.errors import StockadeError
from stockade.core.principals import Role
from stockade.core.workloads import (
    KEPT_CLAIMS,
    MAX_CLAIM_CHARACTERS,
    IdentityPolicy,
    IssuerKind,
    NoIssuerKeys,
    TrustedIssuer,
    WorkloadRule,
    claim_texts,
    matches,
)

RULE = WorkloadRule("r", "acme", Role.DEVELOPER, {"repository_id": ("42",), "ref": ("main", "v*")})
ISSUER = TrustedIssuer(
    "https://ci", IssuerKind.GITHUB, "us", ("RS256",), (RULE,), KEPT_CLAIMS[IssuerKind.GITHUB]
)
JOB = {"repository_id": "42", "ref": "main", "event_name": "push"}


@pytest.mark.parametrize(
    ("pattern", "value", "fits"),
    [
        ("main", "main", True),
        ("main", "main2", False),
        ("main", "Main", False),
        ("v*", "v1.2", True),
        ("v*", "v", True),
        ("v*", "w1", False),
        ("*", "", True),
        ("*", "a/b", False),
        ("*", "a:b", False),
        ("refs/tags/v*", "refs/tags/v1", True),
        ("refs/tags/v*", "refs/tags/v1/evil", False),
        ("refs/heads/*-stable", "refs/heads/a-stable", True),
        ("refs/heads/*-stable", "refs/heads/a-stable2", False),
        ("ab*ba", "aba", False),
        ("ab*ba", "abba", True),
        ("repo:acme/*:ref:refs/heads/main", "repo:acme/x:environment:y:ref:refs/heads/main", False),
        ("a.c", "abc", False),
        ("*", "a" * 100_000, True),
    ],
)
def test_patterns(pattern: str, value: str, fits: bool) -> None:  # noqa: FBT001 - a case
    assert matches(pattern, value) is fits


@pytest.mark.parametrize(
    ("change", "fits"),
    [
        ({}, True),
        ({"ref": "v2"}, True),
        ({"ref": "other"}, False),
        ({"repository_id": "421"}, False),
        ({"repository_id": "042"}, False),
        ({"more": "claims"}, True),
    ],
)
def test_every_claim_must_fit(change: dict[str, str], fits: bool) -> None:  # noqa: FBT001 - a case
    assert RULE.fits(JOB | change) is fits
    assert not RULE.fits({"ref": "main"})


def test_the_first_rule_that_fits_decides_unless_one_is_wanted() -> None:
    wide = replace(RULE, name="wide", claims={"repository_id": ("42",)})
    issuer = replace(ISSUER, rules=(RULE, wide))
    assert issuer.rule_for(JOB, None) is RULE
    assert issuer.rule_for(JOB, "wide") is wide
    assert issuer.rule_for(JOB | {"ref": "other"}, None) is wide
    for claims, wanted in ((JOB | {"ref": "other"}, "r"), (JOB, "none"), ({}, None)):
        with pytest.raises(StockadeError, match=r"^oidc\.no_rule"):
            issuer.rule_for(claims, wanted)


@pytest.mark.parametrize("event", ["pull_request_target", "workflow_run", ""])
def test_events_that_run_what_strangers_sent_are_refused(event: str) -> None:
    job = JOB | {"event_name": event}
    with pytest.raises(StockadeError, match=r"^oidc\.event_refused"):
        ISSUER.rule_for(job, None)
    silent = {name: value for name, value in job.items() if name != "event_name"}
    with pytest.raises(StockadeError, match=r"^oidc\.event_refused"):
        ISSUER.rule_for(silent, None)
    assert replace(ISSUER, kind=IssuerKind.GITLAB).rule_for(job, None) is RULE


def test_an_operator_may_allow_such_an_event_for_one_rule() -> None:
    allowing = replace(RULE, name="allows", events=frozenset({"workflow_run"}))
    issuer = replace(ISSUER, rules=(RULE, allowing))
    assert issuer.rule_for(JOB | {"event_name": "workflow_run"}, None) is allowing
    with pytest.raises(StockadeError, match=r"^oidc\.event_refused"):
        issuer.rule_for(JOB | {"event_name": "pull_request_target"}, None)


@pytest.mark.parametrize(
    ("kind", "claims"),
    [
        (IssuerKind.GITHUB, {"repository_id": ("42",)}),
        (IssuerKind.GITHUB, {"repository_owner_id": ("7", "8"), "repository": ("acme/*",)}),
        (IssuerKind.GITLAB, {"project_id": ("42",)}),
        (IssuerKind.GITLAB, {"namespace_id": ("42",)}),
        (IssuerKind.OTHER, {"sub": ("anything",)}),
        (IssuerKind.OTHER, {"repository_id": ("x*",)}),
    ],
)
def test_sound_rules(kind: IssuerKind, claims: dict[str, tuple[str, ...]]) -> None:
    replace(RULE, claims=claims).check(kind)


@pytest.mark.parametrize(
    ("kind", "change", "why"),
    [
        (IssuerKind.OTHER, {"claims": {}}, "any job"),
        (IssuerKind.GITHUB, {"claims": {"repository": ("acme/hello",)}}, "names change hands"),
        (IssuerKind.GITHUB, {"claims": {"project_id": ("42",)}}, "names change hands"),
        (IssuerKind.GITLAB, {"claims": {"repository_id": ("42",)}}, "names change hands"),
        (IssuerKind.GITHUB, {"claims": {"repository_id": ("4*",)}}, "as a number"),
        (IssuerKind.GITHUB, {"claims": {"repository_id": ("42", "*")}}, "as a number"),
        (IssuerKind.GITHUB, {"claims": {"repository_id": ("٤٢",)}}, "as a number"),
        (IssuerKind.GITHUB, {"claims": {"repository_id": ("4" * 21,)}}, "as a number"),
        (IssuerKind.GITHUB, {"claims": {"repository_owner_id": ("acme",)}}, "as a number"),
        (IssuerKind.OTHER, {"claims": {"sub": ()}}, "1 to 16 values"),
        (IssuerKind.OTHER, {"claims": {"sub": ("a",) * 17}}, "1 to 16 values"),
        (IssuerKind.OTHER, {"claims": {"sub": ("",)}}, "1 to 256 characters"),
        (IssuerKind.OTHER, {"claims": {"sub": ("a" * 257,)}}, "1 to 256 characters"),
        (IssuerKind.OTHER, {"claims": {"sub": ("a*b*c",)}}, "more than one"),
        (IssuerKind.GITHUB, {"events": frozenset({"push"})}, "allow_events"),
        (IssuerKind.GITHUB, {"key_seconds": 59}, "key_seconds"),
        (IssuerKind.GITHUB, {"key_seconds": 901}, "key_seconds"),
    ],
)
def test_rules_that_could_mean_others(
    kind: IssuerKind, change: dict[str, object], why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        replace(RULE, **change).check(kind)  # type: ignore[arg-type]


def test_policies_see_what_is_kept_and_nothing_is_cut_short() -> None:
    claims = JOB | {"secret_thing": "x", "sha": "a" * MAX_CLAIM_CHARACTERS}
    assert dict(ISSUER.keep(claims)) == {
        "repository_id": "42",
        "ref": "main",
        "sha": "a" * MAX_CLAIM_CHARACTERS,
        "event_name": "push",
    }
    with pytest.raises(StockadeError, match=r"^oidc\.claims_invalid"):
        ISSUER.keep(claims | {"sha": "a" * (MAX_CLAIM_CHARACTERS + 1)})


def test_claims_as_text() -> None:
    claims = {"a": "x", "b": 5, "c": True, "d": False, "e": None, "f": ["x"], "g": 1.5, "h": {}}
    assert claim_texts(claims) == {"a": "x", "b": "5", "c": "true", "d": "false"}


def test_an_issuer_is_trusted_by_its_exact_url() -> None:
    policy = IdentityPolicy((replace(ISSUER, url="https://other"), ISSUER))
    assert policy.issuer("https://ci") is ISSUER
    for url in ("https://ci/", "https://CI", "http://ci", "", "https://ci.evil.example"):
        with pytest.raises(StockadeError, match=r"^oidc\.issuer_untrusted"):
            policy.issuer(url)
    with pytest.raises(StockadeError, match=r"^oidc\.issuer_untrusted"):
        IdentityPolicy().issuer("https://ci")


async def test_who_trusts_no_issuer_knows_no_keys() -> None:
    assert await NoIssuerKeys().key(ISSUER, "one") is None
