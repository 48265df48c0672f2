"""`stockade keys` for API keys: shown once or kept in a private file; CI jobs' tokens exchanged."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pytest

from tests.unit.sdk_python.fake_gateway import problem
from tests.unit.sdk_python.test_keys import JOB, KEY
from tests.unit.stockade.cli.conftest import CommandLine

SECRET = "stk_dev_" + "secret"
MAKE, ROTATE, EXCHANGE = "POST /v1/keys", "POST /v1/keys/abcdefghij01/rotate", "POST /v1/oidc/token"


@pytest.fixture
def gateway(cli: CommandLine) -> CommandLine:
    made = httpx.Response(201, json=KEY | {"key": SECRET})
    cli.gateway.on(MAKE, made).on(ROTATE, made)
    cli.gateway.on(EXCHANGE, httpx.Response(201, json=JOB))
    return cli


def test_keys_are_listed(cli: CommandLine) -> None:
    ended = KEY | {"id": "ended0000001", "scopes": []}
    lasting = KEY | {"id": "lasting00001", "expires_ms": None, "last_used_ms": None}
    revoked = KEY | {"id": "revoked00001", "revoked_ms": 5}
    keys = {"keys": [ended, lasting, revoked]}
    cli.gateway.on("GET /v1/keys", httpx.Response(200, json=keys))
    rows = cli.run("keys", "list").stdout.splitlines()
    assert rows[0].split()[:5] == ["ID", "NAME", "ROLE", "SCOPES", "STATE"]
    assert rows[1].split()[:5] == ["ended0000001", "ci", "developer", "-", "ended"]
    assert "in force" in rows[2]
    assert "revoked" in rows[3]
    listed = json.loads(cli.run("keys", "list", "--json").stdout)
    assert [one["id"] for one in listed] == ["ended0000001", "lasting00001", "revoked00001"]


def test_a_new_key_is_printed_once_and_alone(gateway: CommandLine) -> None:
    done = gateway.run("keys", "create", "ci")
    assert (done.exit_code, done.stdout) == (0, f"{SECRET}\n")
    assert SECRET not in done.stderr
    assert gateway.gateway.last_json == {"name": "ci"}
    words = ("--role", "developer", "--scope", "read", "--scope", "deploy:a", "--expires", "90d")
    shown = json.loads(gateway.run("keys", "create", "ci", *words, "--json").stdout)
    assert (shown["key"], shown["id"]) == (SECRET, "abcdefghij01")
    assert gateway.gateway.last_json == {
        "name": "ci",
        "role": "developer",
        "scopes": ["read", "deploy:a"],
        "expires_in_seconds": 90 * 86400,
    }


@pytest.mark.parametrize(
    "words",
    [
        ("create", "ci"),
        ("rotate", "abcdefghij01"),
        ("exchange", "--token-file", "token"),
    ],
)
def test_a_new_key_goes_into_a_private_file(gateway: CommandLine, words: tuple[str, ...]) -> None:
    Path("token").write_text("a.b.c\n")
    done = gateway.run("keys", *words, "--out", "key", "--json")
    assert done.exit_code == 0, done.output
    assert Path("key").read_text() == f"{SECRET}\n"
    assert Path("key").stat().st_mode & 0o777 == 0o600
    assert SECRET not in done.output
    assert json.loads(done.stdout)["key_file"] == "key"
    assert sorted(path.name for path in Path().iterdir()) == ["key", "token"]


def test_a_file_is_not_replaced_by_accident(gateway: CommandLine) -> None:
    Path("key").write_text("another")
    done = gateway.run("keys", "create", "ci", "--out", "key")
    assert (done.exit_code, gateway.gateway.requests) == (2, [])
    assert "cli.key_exists" in done.stderr
    assert gateway.run("keys", "create", "ci", "--out", "key", "--force").exit_code == 0
    assert Path("key").read_text() == f"{SECRET}\n"


def test_what_cannot_be_kept_is_not_made(gateway: CommandLine) -> None:
    done = gateway.run("keys", "create", "ci", "--out", "no/such/directory/key")
    assert (done.exit_code, gateway.gateway.requests) == (2, [])


def test_a_refusal_leaves_no_file(gateway: CommandLine) -> None:
    gateway.gateway.on(MAKE, problem(403, "key.exceeds_caller"))
    done = gateway.run("keys", "create", "ci", "--out", "key")
    assert (done.exit_code, list(Path().iterdir())) == (2, [])


def test_a_key_is_rotated_with_an_overlap_and_revoked(gateway: CommandLine) -> None:
    assert gateway.run("keys", "rotate", "abcdefghij01").stdout == f"{SECRET}\n"
    assert gateway.gateway.last_json == {"overlap_seconds": 86400}
    gateway.run("keys", "rotate", "abcdefghij01", "--overlap", "0")
    assert gateway.gateway.last_json == {"overlap_seconds": 0}
    gateway.gateway.on("DELETE /v1/keys/abcdefghij01", httpx.Response(204))
    assert "revoked" in gateway.run("keys", "revoke", "abcdefghij01").stderr
    assert gateway.run("keys", "create", "ci", "--expires", "soon").exit_code == 2


def test_a_jobs_token_comes_from_a_pipe_or_a_variable(gateway: CommandLine) -> None:
    done = gateway.run(
        "keys", "exchange", "--token-file", "-", "--rule", "deploys", data=b"a.b.c\n"
    )
    assert (done.exit_code, done.stdout) == (0, f"{SECRET}\n")
    assert gateway.gateway.last_json == {"token": "a.b.c", "rule": "deploys"}
    done = gateway.run("keys", "exchange", "--token-env", "JOB_JWT", JOB_JWT="d.e.f")
    assert done.exit_code == 0
    assert gateway.gateway.last_json == {"token": "d.e.f"}
    assert "d.e.f" not in done.output


def test_an_exchange_wants_no_key_and_sends_none(gateway: CommandLine) -> None:
    """The file that it is to write may be named as the one that all other commands read."""
    done = gateway.run(
        *("keys", "exchange", "--token-env", "T", "--out", "key"),
        T="a.b.c",
        STOCKADE_API_KEY_FILE="key",
        STOCKADE_API_KEY="stk_other",
    )
    assert done.exit_code == 0, done.output
    assert "authorization" not in gateway.gateway.last.headers
    gateway.gateway.on("GET /v1/keys", httpx.Response(200, json={"keys": []}))
    assert gateway.run("keys", "list", STOCKADE_API_KEY_FILE="key").exit_code == 0
    assert gateway.gateway.last.headers["authorization"] == f"Bearer {SECRET}"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ((), "cli.usage"),
        (("--token-env", "NOT_SET"), "cli.token_missing"),
        (("--token-file", "empty"), "cli.token_missing"),
        (("--audience", "https://stockade.example.org"), "cli.token_missing"),
    ],
)
def test_no_token(gateway: CommandLine, words: tuple[str, ...], code: str) -> None:
    Path("empty").write_text("\n")
    none = {"ACTIONS_ID_TOKEN_REQUEST_URL": "", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": ""}
    done = gateway.run("keys", "exchange", *words, **none)
    assert (done.exit_code, gateway.gateway.requests) == (2, [])
    assert code in done.stderr


class GitHub:
    """The service that a GitHub job asks for its token."""

    def __init__(self, port: int) -> None:
        self.environment = {
            "ACTIONS_ID_TOKEN_REQUEST_URL": f"http://127.0.0.1:{port}/token?api-version=2.0",
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "runner-secret",
        }
        self.asked: list[tuple[str, str]] = []
        self.answer = (200, b'{"value": "a.b.c"}')


@pytest.fixture
def github() -> Iterator[GitHub]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            it.asked.append((self.path, self.headers["authorization"]))
            status, body = it.answer
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    it = GitHub(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield it
    server.shutdown()
    server.server_close()
    thread.join()


def test_github_is_asked_for_the_jobs_token(gateway: CommandLine, github: GitHub) -> None:
    words = ("keys", "exchange", "--audience", "https://stockade.example.org")
    done = gateway.run(*words, **github.environment)
    assert (done.exit_code, done.stdout) == (0, f"{SECRET}\n")
    path = "/token?api-version=2.0&audience=https%3A%2F%2Fstockade.example.org"
    assert github.asked == [(path, "Bearer runner-secret")]
    assert gateway.gateway.last_json == {"token": "a.b.c"}
    assert "runner-secret" not in done.output


@pytest.mark.parametrize("answer", [(403, b"{}"), (200, b"{}"), (200, b"<html>"), (200, b"[]")])
def test_github_gives_no_token(
    gateway: CommandLine, github: GitHub, answer: tuple[int, bytes]
) -> None:
    github.answer = answer
    done = gateway.run("keys", "exchange", "--audience", "us", **github.environment)
    assert done.exit_code == 2
    assert "cli.token_refused" in done.stderr
    assert gateway.gateway.requests == []


def test_the_runners_secret_goes_to_https_alone(gateway: CommandLine) -> None:
    environment = {
        "ACTIONS_ID_TOKEN_REQUEST_URL": "http://evil.example.org/token",
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "runner-secret",
    }
    done = gateway.run("keys", "exchange", "--audience", "us", **environment)
    assert "cli.token_refused" in done.stderr
