"""Keys, tokens, signing keys and secrets, sent wherever callers send them: no log may hold them.

And guessing: slowed by source, while keys that are known go on.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from registry.keys import secret_key_pem
from stockade.core.api_keys import generate_key
from stockade.infra.system_clock import SystemClock
from tests.e2e.service import KEY, PUBLIC, Service, running_service
from tests.security.test_secret_leaks import everything_kept
from tests.unit.oidc_issuer import AUDIENCE, Issuer, serving, token

POLICIES = Path(__file__).parents[2] / "policies"
IDENTITY = """
[[issuers]]
url = "{url}"
kind = "github"
audience = "{audience}"
[[issuers.rules]]
name = "deploys"
tenant = "dev"
role = "developer"
claims = {{ repository_id = "42" }}
"""
SEALED = "canary-7d1e-sealed-value"
HASH_PARTS = 3


@dataclass
class Planted:
    """A running installation that was told every canary, and all that it answered."""

    service: Service
    issuer: Issuer
    canaries: dict[str, str]
    answers: list[httpx.Response]

    def call(
        self, method: str, path: str, key: str | None = None, **sent: object
    ) -> httpx.Response:
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        with httpx.Client(base_url=self.service.url, timeout=60) as http:
            answer = http.request(method, path, headers=headers, **sent)  # type: ignore[arg-type]
        self.answers.append(answer)
        return answer

    def token(self, **changes: object) -> str:
        return token(self.issuer.claims(SystemClock().now_ms() / 1000, **changes))


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Planted]:
    place = tmp_path_factory.mktemp("credentials")
    shutil.copytree(POLICIES, place / "policies")
    with serving() as issuer:
        trust = IDENTITY.format(url=issuer.url, audience=AUDIENCE)
        (place / "policies" / "identity.toml").write_text(trust, encoding="utf-8")
        environment = {
            "STOCKADE_POLICY_DIR": str(place / "policies"),
            "STOCKADE_LOG_LEVEL": "debug",
        }
        with running_service(place / "data", **environment) as service:
            own = service.http.headers["authorization"].removeprefix("Bearer ")
            yield Planted(service, issuer, {"own key": own}, [])


def _made(planted: Planted, name: str, **asked: object) -> str:
    answer = planted.service.http.post("/v1/keys", json={"name": name, **asked})
    assert answer.status_code == 201, answer.text
    planted.canaries[f"{name} key"] = answer.json()["key"]
    return str(answer.json()["key"])


def _exchange_tokens(planted: Planted) -> None:
    """One that is taken, and some that are not."""
    texts = {
        "good token": planted.token(),
        "foreign token": planted.token(iss="https://ci.example.org"),
        "misdirected token": planted.token(aud="x"),
        "unfitting token": planted.token(repository_id="43"),
    }
    planted.canaries |= texts
    statuses = [
        planted.call("POST", "/v1/oidc/token", json={"token": text}).status_code
        for text in (*texts.values(), texts["good token"])
    ]
    assert statuses == [201, 401, 401, 403, 409]
    planted.canaries["job's key"] = planted.answers[-5].json()["key"]
    planted.answers[-5:-4] = []
    typo = texts["good token"][:-4] + "AAAA"
    assert planted.call("POST", "/v1/oidc/token", json={"token": typo}).status_code == 401
    assert planted.call("GET", "/v1/functions", planted.canaries["good token"]).status_code == 401


def _every_call(planted: Planted, key: str | None, filling: str = "none") -> None:
    """Every call of the API, with a body that says secrets where none belong."""
    document = planted.service.http.get("/openapi.json").json()
    body = json.dumps({"public_key": planted.canaries["signing key"], "name": "x", "more": SEALED})
    for path, calls in document["paths"].items():
        for method in calls:
            parts = path.replace("{", "\0").replace("}", "\0").split("\0")
            parts[1::2] = [filling] * len(parts[1::2])
            planted.call(method.upper(), "".join(parts), key, content=body.encode())


def _shown(planted: Planted, texts: Iterator[tuple[object, bytes]]) -> list[tuple[object, str]]:
    """Where which canary can be seen: of a token its signature counts, of a key its secret."""
    told = {name: _telling(text).encode() for name, text in planted.canaries.items()}
    return [(place, name) for place, text in texts for name, one in told.items() if one in text]


def _telling(text: str) -> str:
    if text.startswith("stk_"):
        return text.split("_")[HASH_PARTS]
    return text.splitlines()[1] if text.startswith("-----") else text.rpartition(".")[2]


def test_no_credential_is_in_a_log_a_file_or_a_refusal(planted: Planted) -> None:
    admin, http = planted.canaries["own key"], planted.service.http
    planted.canaries |= {
        "signing key": secret_key_pem(KEY).decode(),
        "sealed": SEALED,
        "unknown key": generate_key("dev")[0],
        "mistyped key": generate_key("dev")[0][:-1] + "g",
    }
    viewer, revoked = _made(planted, "viewer", role="viewer"), _made(planted, "revoked")
    key_id = revoked.split("_")[2]
    rotated = http.post(f"/v1/keys/{key_id}/rotate", json={"overlap_seconds": 60})
    planted.canaries["rotated key"] = rotated.json()["key"]
    assert planted.call("GET", "/v1/keys", planted.canaries["rotated key"]).status_code == 200
    assert planted.call("DELETE", f"/v1/keys/{key_id}", admin).status_code == 204
    assert planted.call("PUT", "/v1/secrets/TOKEN", admin, content=SEALED.encode()).is_success
    signer = {"name": "s", "public_key": planted.canaries["signing key"]}
    assert planted.call("POST", "/v1/signers", admin, json=signer).status_code == 400
    good = {"name": "tests", "public_key": PUBLIC}
    assert planted.call("POST", "/v1/signers", admin, json=good).status_code == 201
    _exchange_tokens(planted)
    for key in (viewer, admin):
        _every_call(planted, key)
    for key in (None, planted.canaries["unknown key"], planted.canaries["mistyped key"], revoked):
        assert planted.call("GET", "/v1/functions", key).status_code == 401
    named = _made(planted, "named")
    for path in (f"/v1/keys/{named}", f"/v1/functions?api_key={named}", f"/{named}"):
        for method in ("GET", "DELETE"):
            planted.call(method, path, admin)
    planted.call("POST", f"/v1/keys/{named}/rotate", admin, json={})
    _every_call(planted, admin, filling=named)
    for answer in planted.answers:
        assert answer.status_code != 500, answer.text
    refusals = ((one.request.url, one.content) for one in planted.answers)
    assert _shown(planted, refusals) == []
    kept = (
        (path, text)
        for path, text in everything_kept(planted.service.data_dir)
        if path.name != "dev-api-key"
    )
    # A secret may have any name, a key's text too: what a tenant names its own is kept as it is.
    shown = [one for one in _shown(planted, kept) if one[1] != "named key"]
    assert shown == []
    log = planted.service.data_dir.with_suffix(".log").read_bytes()
    assert b'"event": "action_refused"' in log
    assert _shown(planted, iter([("log", log)])) == []


def test_a_job_gets_its_key_by_the_command_line(planted: Planted, tmp_path: Path) -> None:
    job_token, out = planted.token(), tmp_path / "key"
    words = ("keys", "exchange", "--token-env", "JOB_TOKEN", "--out", str(out))
    done = subprocess.run(
        [sys.executable, "-m", "stockade.cli.main", *words, "--url", planted.service.url],
        env=os.environ | {"JOB_TOKEN": job_token},  # noqa: TID251 - a child's
        capture_output=True,
        text=True,
        check=True,
    )
    assert out.stat().st_mode & 0o777 == 0o600
    key = out.read_text().strip()
    assert planted.call("GET", "/v1/functions", key).status_code == 200
    assert planted.call("GET", "/v1/keys", key).status_code == 403
    assert not any(_telling(one) in done.stderr for one in (job_token, key))
    assert done.stdout == ""


def test_guessing_is_slowed_by_source_and_known_keys_go_on(planted: Planted) -> None:
    http = planted.service.http
    assert http.get("/v1/functions").status_code == 200
    stranger = _made(planted, "stranger")
    statuses = []
    for number in range(40):
        guess = {"authorization": f"Bearer {generate_key('dev')[0]}"}
        forged = {"x-forwarded-for": f"198.51.100.{number}"}
        answer = httpx.get(f"{planted.service.url}/v1/functions", headers=guess | forged)
        statuses.append(answer.status_code)
    assert answer.status_code == 429
    assert answer.json()["code"] == "auth.too_many_failures"
    assert answer.json()["retryable"]
    assert int(answer.headers["retry-after"]) >= 1
    assert set(statuses) == {401, 429}
    assert statuses.count(401) <= 30
    # A key that the gateway has not seen waits too: or else guesses would tell.
    assert planted.call("GET", "/v1/functions", stranger).status_code == 429
    # A known one does not, also when what is known of it is looked up anew.
    began = time.monotonic()
    while time.monotonic() - began < 1.5:
        assert http.get("/v1/functions").status_code == 200
