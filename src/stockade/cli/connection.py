"""How a command reaches a gateway: `connected` adds the options and hands in an open client."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Concatenate, ParamSpec
from urllib.parse import urlsplit

import typer

from stockade.cli.environment import api_key_from_environment
from stockade.cli.reporting import client_errors_in_words, errors_in_words
from stockade.core.errors import StockadeError

if TYPE_CHECKING:
    import httpx

    from stockade_client import Client

P = ParamSpec("P")
DEFAULT_URL = "http://127.0.0.1:8080"
DEV_KEY_FILE = Path(".stockade/dev-api-key")
_PANEL = "Connection"
_LOOPBACK = ("127.0.0.1", "::1", "localhost")

_UrlOption = Annotated[
    str,
    typer.Option(
        "--url", envvar="STOCKADE_URL", help="Where the gateway listens.", rich_help_panel=_PANEL
    ),
]
_KeyFileOption = Annotated[
    Path | None,
    typer.Option(
        "--api-key-file",
        envvar="STOCKADE_API_KEY_FILE",
        dir_okay=False,
        show_default=False,
        help="File with the API key. Else STOCKADE_API_KEY holds the key itself; else "
        f"{DEV_KEY_FILE} is read when there is one.",
        rich_help_panel=_PANEL,
    ),
]


@dataclass(frozen=True, slots=True)
class Wiring:
    """What tests hand in (as the context's object) to have no network."""

    transport: "httpx.BaseTransport"


def connected(
    command: "Callable[Concatenate[Client, P], None]", *, with_key: bool = True
) -> Callable[..., None]:
    """Gives a command its client, `--url` and `--api-key-file`, and its errors in words."""
    call: Callable[..., None] = command

    def run(
        ctx: typer.Context,
        *,
        url: str,
        api_key_file: Path | None = None,
        **given: Any,  # noqa: ANN401
    ) -> None:
        with errors_in_words(), client_errors_in_words(url):
            wiring = ctx.find_object(Wiring)
            transport = None if wiring is None else wiring.transport
            key = read_api_key(api_key_file) if with_key else None
            with open_client(url, key, transport) as client:
                call(client, **given)

    run.__doc__ = command.__doc__
    run.__name__ = command.__name__
    _describe(run, command, with_key=with_key)
    return run


def connected_without_key(
    command: "Callable[Concatenate[Client, P], None]",
) -> Callable[..., None]:
    """As `connected`, for what is there to get a key: none is looked for, and none is sent."""
    return connected(command, with_key=False)


def open_client(
    url: str, api_key: str | None, transport: "httpx.BaseTransport | None" = None
) -> "Client":
    """A client for this gateway; one on this machine is never reached through a proxy."""
    import httpx  # noqa: PLC0415 - takes longer than --help should

    from stockade_client import Client  # noqa: PLC0415 - likewise

    if transport is None and urlsplit(url).hostname in _LOOPBACK:
        transport = httpx.HTTPTransport()
    try:
        return Client(url, api_key, transport=transport)
    except httpx.InvalidURL as error:
        raise ValueError(f"{url!r} is no URL ({error})") from error


def read_api_key(file: Path | None) -> str | None:
    """The API key: from the file that was named, the environment, or `stockade dev` beside us.

    Raises:
        StockadeError: `cli.api_key_unreadable`.
    """
    if file is None:
        from_environment = api_key_from_environment()
        if from_environment or not DEV_KEY_FILE.is_file():
            return from_environment
    path = file or DEV_KEY_FILE
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise StockadeError(
            "cli.api_key_unreadable", f"The API key file {str(path)!r} cannot be read: {error}."
        ) from error


def _describe(run: Callable[..., None], command: Callable[..., None], *, with_key: bool) -> None:
    """Tells Typer the command's own parameters, then ours."""
    own = list(inspect.signature(command).parameters.values())[1:]
    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = [
        inspect.Parameter("ctx", keyword, annotation=typer.Context),
        *(parameter.replace(kind=keyword) for parameter in own),
        inspect.Parameter("url", keyword, default=DEFAULT_URL, annotation=_UrlOption),
    ]
    if with_key:
        parameters.append(
            inspect.Parameter("api_key_file", keyword, default=None, annotation=_KeyFileOption)
        )
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
