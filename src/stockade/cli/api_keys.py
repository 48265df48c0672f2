"""`stockade keys`: the keys that callers of this tenant have, and those that CI jobs get."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stockade.cli.ci_tokens import read_token
from stockade.cli.connection import connected, connected_without_key
from stockade.cli.durations import span_seconds
from stockade.cli.files import written_aside
from stockade.cli.options import JsonFlag
from stockade.cli.words import print_json, print_table, say
from stockade.core.errors import StockadeError
from stockade.core.principals import Role

if TYPE_CHECKING:
    from stockade_client import ApiKey, Client

_PANEL = "API keys"
_Id = Annotated[str, typer.Argument(metavar="ID", help="The key's id.", show_default=False)]
_Name = Annotated[
    str, typer.Argument(metavar="NAME", help="To know the key by.", show_default=False)
]
_RoleOption = Annotated[
    Role | None, typer.Option("--role", help="Default: that of your own key.", show_default=False)
]
_Scopes = Annotated[
    list[str] | None,
    typer.Option(
        "--scope",
        metavar="SCOPE",
        help="Narrow it below its role; may be repeated. read, invoke, deploy, administer, or of "
        "one function as invoke:NAME.",
        show_default=False,
    ),
]
_Expires = Annotated[
    str | None,
    typer.Option(
        "--expires",
        metavar="SPAN",
        help="End it after 12h, 90d; else as your own.",
        show_default=False,
    ),
]
_Overlap = Annotated[
    str, typer.Option("--overlap", metavar="SPAN", help="How long the old key goes on.")
]
_Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        dir_okay=False,
        help="Write the key to this file (mode 0600) instead of printing it.",
        show_default=False,
    ),
]
_Force = Annotated[bool, typer.Option("--force", help="Replace the file when it is there.")]
_TokenFile = Annotated[
    Path | None,
    typer.Option("--token-file", help="The job's token; - reads stdin.", show_default=False),
]
_TokenVariable = Annotated[
    str | None,
    typer.Option(
        "--token-env",
        metavar="VARIABLE",
        help="The environment variable that holds the job's token, as GitLab's id_tokens do.",
        show_default=False,
    ),
]
_Audience = Annotated[
    str | None,
    typer.Option(
        "--audience",
        help="What GitHub is to make the token for: the audience in the gateway's identity policy.",
        show_default=False,
    ),
]
_Rule = Annotated[
    str | None,
    typer.Option("--rule", help="The operator's rule; else the first that fits."),
]


@connected
def list_keys(client: "Client", *, as_json: JsonFlag = False) -> None:
    """List API keys, ended ones too; never their secrets."""
    found = client.api_keys()
    if as_json:
        print_json([asdict(key) for key in found])
        return
    now_ms = datetime.now(UTC).timestamp() * 1000  # noqa: TID251 - shown to a person, decides nothing
    rows = (
        (
            key.id,
            key.name,
            key.role,
            ",".join(key.scopes) or "-",
            _state(key, now_ms),
            _when(key.expires_ms),
            _when(key.last_used_ms),
            key.subject or "-",
        )
        for key in found
    )
    print_table(("ID", "NAME", "ROLE", "SCOPES", "STATE", "ENDS", "LAST USED", "CI JOB"), rows)


@connected
def create(
    client: "Client",
    name: _Name,
    *,
    role: _RoleOption = None,
    scope: _Scopes = None,
    expires: _Expires = None,
    out: _Out = None,
    force: _Force = False,
    as_json: JsonFlag = False,
) -> None:
    """Make an API key. It is shown this once.

    By default it may do all that your own key may.
    """
    seconds = None if expires is None else span_seconds("--expires", expires)
    with delivery(out, force=force, as_json=as_json) as deliver:
        made = client.create_api_key(
            name, role=role, scopes=scope or None, expires_in_seconds=seconds
        )
        deliver(made.key, asdict(made.facts))
    within = f", within {', '.join(made.facts.scopes)}" if made.facts.scopes else ""
    say(f"Key {made.facts.id} may do what a {made.facts.role} may{within}.")


@connected
def rotate(
    client: "Client",
    key_id: _Id,
    *,
    overlap: _Overlap = "1d",
    out: _Out = None,
    force: _Force = False,
    as_json: JsonFlag = False,
) -> None:
    """Make a new key like this one, which goes on beside it for a while."""
    seconds = span_seconds("--overlap", overlap)
    with delivery(out, force=force, as_json=as_json) as deliver:
        made = client.rotate_api_key(key_id, overlap_seconds=seconds)
        deliver(made.key, asdict(made.facts))
    say(f"Key {made.facts.id} takes the place of {key_id}, which ends in {overlap}.")


@connected
def revoke(client: "Client", key_id: _Id) -> None:
    """End a key, within seconds on every gateway. This cannot be undone."""
    client.revoke_api_key(key_id)
    say(f"Key {key_id} is revoked.")


@connected_without_key
def exchange(
    client: "Client",
    *,
    token_file: _TokenFile = None,
    token_env: _TokenVariable = None,
    audience: _Audience = None,
    rule: _Rule = None,
    out: _Out = None,
    as_json: JsonFlag = False,
) -> None:
    """In a CI job: exchange the job's own token for a key of at most 15 minutes.

    On GitHub Actions the token is asked for by itself; elsewhere name its file or variable. Nobody
    needs to keep a key for this; docs/how-to/ci.md says how both sides are set up.
    """
    if token_file is None and token_env is None and audience is None:
        raise ValueError("give --token-file, --token-env, or on GitHub --audience")
    token = read_token(token_file, token_env, audience or "")
    with delivery(out, force=True, as_json=as_json) as deliver:
        made = client.exchange_token(token, rule=rule)
        facts = asdict(made)
        del facts["key"]
        deliver(made.key, facts)
    say(f"A key for {made.tenant}, role {made.role}, by the rule {made.rule}.")


def add_to(app: typer.Typer) -> None:
    """Adds these commands to `stockade keys`."""
    commands: dict[str, Callable[..., None]] = {
        "list": list_keys,
        "create": create,
        "rotate": rotate,
        "revoke": revoke,
        "exchange": exchange,
    }
    for name, command in commands.items():
        app.command(name, rich_help_panel=_PANEL)(command)


Deliver = Callable[[str, dict[str, object]], None]


@contextmanager
def delivery(out: Path | None, *, force: bool, as_json: bool) -> Iterator[Deliver]:
    """Hands in what gives a new key to its owner: into a file, or else on stdout.

    Raises:
        StockadeError: `cli.key_exists`, before anything is made.
    """
    if out is None:
        yield lambda key, facts: print_json(facts | {"key": key}) if as_json else typer.echo(key)
        return
    if out.exists() and not force:
        raise StockadeError(
            "cli.key_exists", f"{str(out)!r} exists. It may hold a key; --force replaces it."
        )
    with written_aside(out) as write:

        def deliver(key: str, facts: dict[str, object]) -> None:
            write(f"{key}\n".encode())
            if as_json:
                print_json(facts | {"key_file": str(out)})

        yield deliver
    say(f"The key is in {out}.")


def _state(key: "ApiKey", now_ms: float) -> str:
    if key.revoked_ms is not None:
        return "revoked"
    return "ended" if key.expires_ms is not None and key.expires_ms <= now_ms else "in force"


def _when(time_ms: int | None) -> str:
    if time_ms is None:
        return "-"
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
