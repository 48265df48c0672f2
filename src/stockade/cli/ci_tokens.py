"""Where a CI job's token comes from: a file, a pipe, the environment, or GitHub's own service."""

import sys
from pathlib import Path
from urllib.parse import quote, urlsplit

from stockade.cli.environment import variable
from stockade.core.errors import StockadeError

GITHUB_URL, GITHUB_BEARER = "ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"
_TIMEOUT_SECONDS = 10.0
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_OK = 200


def read_token(file: Path | None, name: str | None, audience: str) -> str:
    """The job's token.

    Args:
        file: Read it from here; `-` is stdin. Else
        name: from this variable of the environment. Else GitHub is asked for one,
        audience: for this audience.

    Raises:
        StockadeError: `cli.token_missing` or `cli.token_refused`.
    """
    if file is not None:
        text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="ascii")
    elif name is not None:
        text = variable(name) or ""
    else:
        text = _from_github(audience)
    if not text.strip():
        raise StockadeError("cli.token_missing", f"There is no token in {file or name}.")
    return text.strip()


def _from_github(audience: str) -> str:
    """A token for this job, as GitHub's runners give it.

    Raises:
        StockadeError: `cli.token_missing` or `cli.token_refused`.
    """
    url, bearer = variable(GITHUB_URL), variable(GITHUB_BEARER)
    if not url or not bearer:
        raise StockadeError(
            "cli.token_missing",
            "No token was named, and no GitHub job with 'permissions: id-token: write' runs here."
            " Give --token-file or --token-env.",
        )
    parts = urlsplit(url)
    if parts.scheme != "https" and parts.hostname not in _LOOPBACK:
        raise StockadeError("cli.token_refused", f"{GITHUB_URL} is no https address.")
    return _ask(f"{url}{'&' if parts.query else '?'}audience={quote(audience, safe='')}", bearer)


def _ask(url: str, bearer: str) -> str:
    import httpx  # noqa: PLC0415 - takes longer than --help should

    headers = {"Authorization": f"Bearer {bearer}", "Accept": "application/json"}
    try:
        answer = httpx.get(url, headers=headers, timeout=_TIMEOUT_SECONDS)
        found = answer.json().get("value") if answer.status_code == _OK else None
    except (httpx.HTTPError, ValueError, AttributeError):
        found = None
    if not isinstance(found, str):
        raise StockadeError("cli.token_refused", "GitHub gave this job no token. Try again.")
    return found
