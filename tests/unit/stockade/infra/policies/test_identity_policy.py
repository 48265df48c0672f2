"""The identity policy is read whole or not at all."""

import asyncio
from pathlib import Path

import pytest

from stockade.core.errors import StockadeError
from stockade.core.principals import Role
from stockade.core.workloads import IdentityPolicy, IssuerKind
from stockade.infra.policies.watched_identity import identity_file, watched_identity

SHIPPED = Path(__file__).parents[5] / "policies" / "identity.toml"
ISSUER = """
[[issuers]]
url = "https://token.actions.githubusercontent.com"
kind = "github"
audience = "https://stockade.example.org"
"""
RULE = """
[[issuers.rules]]
name = "deploy-hello"
tenant = "acme"
role = "developer"
claims = { repository_id = "123456789", ref = ["refs/heads/main", "refs/tags/v*"] }
"""
GITLAB = """
[[issuers]]
url = "https://gitlab.example.org:8443/sub"
kind = "gitlab"
audience = "us"
algorithms = ["RS256", "ES256"]
jwks_url = "http://127.0.0.1:99/jwks"
kept_claims = ["ref"]
[[issuers.rules]]
name = "all"
tenant = "acme"
role = "invoker"
scopes = ["invoke:hello", "read"]
key_seconds = 60
claims = { project_id = "1" }
"""


def _load(tmp_path: Path, content: str | bytes) -> IdentityPolicy:
    file = tmp_path / "identity.toml"
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return identity_file(file).current


def test_the_shipped_policy_trusts_nobody_and_its_example_is_sound(tmp_path: Path) -> None:
    assert identity_file(SHIPPED).current == IdentityPolicy()
    _, mark, example = SHIPPED.read_text().partition("# [[issuers]]\n")
    assert mark
    lines = (mark + example).splitlines()
    policy = _load(tmp_path, "\n".join(line.removeprefix("# ").removeprefix("#") for line in lines))
    assert policy.issuers[0].rules[0].tenant == "acme"


def test_a_policy_is_read_as_it_was_written(tmp_path: Path) -> None:
    github, gitlab = _load(tmp_path, ISSUER + RULE + GITLAB).issuers
    assert (github.kind, github.algorithms, github.jwks_url) == (
        IssuerKind.GITHUB,
        ("RS256",),
        None,
    )
    assert "repository_id" in github.kept_claims
    (rule,) = github.rules
    assert (rule.tenant, rule.role, rule.scopes, rule.key_seconds) == (
        "acme",
        Role.DEVELOPER,
        (),
        900,
    )
    assert dict(rule.claims) == {
        "repository_id": ("123456789",),
        "ref": ("refs/heads/main", "refs/tags/v*"),
    }
    assert (gitlab.url, gitlab.jwks_url) == (
        "https://gitlab.example.org:8443/sub",
        "http://127.0.0.1:99/jwks",
    )
    assert (gitlab.algorithms, gitlab.kept_claims) == (("RS256", "ES256"), ("ref",))
    assert gitlab.rules[0].scopes == ("invoke:hello", "read")


URL = "https://token.actions.githubusercontent.com"
BROKEN = {
    "no TOML": "issuers = [",
    "a deep file": "issuers = " + "[" * 50_000,
    "a huge file": " " * (1024 * 1024 + 1),
    "not UTF-8": b"\xff",
    "unknown key": "trust = true",
    "unknown key of an issuer": ISSUER + 'trust = "all"\n' + RULE,
    "unknown key of a rule": ISSUER + RULE + "admin = true\n",
    "no rules": ISSUER,
    "http": (ISSUER + RULE).replace(URL, "http://ci.example.org"),
    "http to a name like this machine": (ISSUER + RULE).replace(URL, "http://localhost.evil.org"),
    "a password in the URL": (ISSUER + RULE).replace(URL, "https://a:b@ci.example.org"),
    "a query in the URL": (ISSUER + RULE).replace(URL, "https://ci.example.org?x"),
    "no URL": (ISSUER + RULE).replace(URL, "ci.example.org"),
    "a port that is none": (ISSUER + RULE).replace(URL, "https://ci.example.org:99999"),
    "a file": (ISSUER + RULE).replace(URL, "file:///etc/passwd"),
    "keys over http": ISSUER + 'jwks_url = "http://ci.example.org/jwks"\n' + RULE,
    "GitHub as another kind": (ISSUER + RULE).replace('kind = "github"', 'kind = "other"'),
    "unknown kind": (ISSUER + RULE).replace('kind = "github"', 'kind = "jenkins"'),
    "no audience": (ISSUER + RULE).replace("https://stockade.example.org", ""),
    "a secret in common": ISSUER + 'algorithms = ["RS256", "HS256"]\n' + RULE,
    "no signature": ISSUER + 'algorithms = ["none"]\n' + RULE,
    "no algorithm": ISSUER + "algorithms = []\n" + RULE,
    "two rules of one name": ISSUER + RULE + RULE,
    "one issuer twice": ISSUER + RULE + ISSUER + RULE,
    "too many kept claims": ISSUER + f"kept_claims = {['c'] * 49}\n" + RULE,
    "an unpinned repository": (ISSUER + RULE).replace("repository_id", "repository"),
    "a repository by pattern": (ISSUER + RULE).replace("123456789", "1*"),
    "a number as TOML's": (ISSUER + RULE).replace('"123456789"', "123456789"),
    "no such role": (ISSUER + RULE).replace("developer", "root"),
    "no such scope": ISSUER + RULE + 'scopes = ["all"]\n',
    "a bad tenant": (ISSUER + RULE).replace('"acme"', '"../acme"'),
    "a bad name": (ISSUER + RULE).replace("deploy-hello", "Deploy Hello"),
    "a long key": ISSUER + RULE + "key_seconds = 3600\n",
    "a harmless event": ISSUER + RULE + 'allow_events = ["push"]\n',
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_a_broken_policy_stops_the_start(tmp_path: Path, content: str | bytes) -> None:
    with pytest.raises(StockadeError, match=r"^config\.identity_invalid"):
        _load(tmp_path, content)


def test_a_policy_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(StockadeError, match=r"^config\.identity_invalid"):
        identity_file(tmp_path / "none.toml")


def test_the_guides_example_is_sound(tmp_path: Path) -> None:
    guide = SHIPPED.parents[1] / "docs" / "how-to" / "ci.md"
    example = guide.read_text(encoding="utf-8").partition("```toml\n")[2].partition("```")[0]
    policy = _load(tmp_path, example)
    assert [one.kind for one in policy.issuers] == [IssuerKind.GITHUB, IssuerKind.GITLAB]


async def test_a_change_is_in_force_without_a_restart_and_a_broken_one_never(
    tmp_path: Path,
) -> None:
    file = tmp_path / "identity.toml"
    file.write_text("", encoding="utf-8")
    async with asyncio.timeout(30), watched_identity(file, 0.0) as rules:
        file.write_text(ISSUER + RULE, encoding="utf-8")
        while not rules.current.issuers:
            await asyncio.sleep(0)
        file.write_text("issuers = 5", encoding="utf-8")
        while rules.alarm is None:
            await asyncio.sleep(0)
        assert rules.current.issuers[0].kind is IssuerKind.GITHUB
        file.write_text("", encoding="utf-8")
        while rules.current.issuers:
            await asyncio.sleep(0)
        assert rules.alarm is None
