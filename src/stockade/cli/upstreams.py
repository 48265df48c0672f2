"""`stockade upstreams`: the servers that guests call, as far as they fail."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from stockade.cli.connection import connected
from stockade.cli.options import JsonFlag
from stockade.cli.words import print_json, print_table, say

if TYPE_CHECKING:
    from stockade_client import Client

app = typer.Typer(no_args_is_help=True, help="See which servers that guests call are out.")

_KIND = "http_fetch:"
_Upstream = Annotated[
    str,
    typer.Argument(
        metavar="UPSTREAM",
        help="As listed: a host of a grant, such as api.example.com or '*.example.com:8443'.",
        show_default=False,
    ),
]


@app.command("list")
@connected
def list_(client: "Client", *, as_json: JsonFlag = False) -> None:
    """List the upstreams of which a call failed lately.

    'open' is out: calls are refused before anything is sent, until the next probe shows that it is
    back. 'half_open': a probe is under way. 'closed': calls go out.
    """
    found = client.upstreams()
    if as_json:
        print_json([asdict(one) for one in found])
        return
    print_table(
        ("UPSTREAM", "STATE", "FAILURES", "CAUSE", "SINCE", "NEXT PROBE", "FAILED PROBES"),
        (
            (
                one.upstream.removeprefix(_KIND),
                one.state,
                str(one.failures),
                one.cause,
                _when(one.since_ms),
                "-" if one.next_probe_ms is None else _when(one.next_probe_ms),
                str(one.failed_probes),
            )
            for one in found
        ),
    )


@app.command()
@connected
def reset(client: "Client", upstream: _Upstream) -> None:
    """Let calls to an upstream out at once, when you know that it is back."""
    name = upstream if upstream.startswith(_KIND) else _KIND + upstream
    client.reset_upstream(name)
    say(f"Calls to {name.removeprefix(_KIND)} go out again.")


def _when(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%H:%M:%S UTC")
