"""The command `stockade`: a file for each group of commands, heavy imports within commands."""

import typer

from stockade.cli import (
    audit,
    functions,
    keys,
    modules,
    policy,
    retries,
    retry_states,
    runs,
    schedules,
    secrets,
    serve,
    sign,
    signers,
    storage,
    tenants,
    upstreams,
)
from stockade.cli.attest import attest
from stockade.cli.batch import batch
from stockade.cli.demo.command import demo
from stockade.cli.dev.command import dev
from stockade.cli.doctor import doctor
from stockade.cli.history import usage
from stockade.cli.invoke import invoke
from stockade.cli.logs import logs
from stockade.cli.replay import replay
from stockade.cli.status import status
from stockade.cli.trace import trace

_START, _TENANT, _CALL = "Start here", "Modules and functions", "Run and look"
_ACCESS, _OPERATE = "Access", "Operate an installation"

app = typer.Typer(
    name="stockade",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    help="Run code you did not write: signed WebAssembly modules under hard limits.",
    epilog="A first round: 'stockade demo'. A gateway to work with: 'stockade dev'.",
)
app.command(rich_help_panel=_START)(demo)
app.command(rich_help_panel=_START)(dev)
app.command(rich_help_panel=_TENANT)(sign.sign)
app.command(rich_help_panel=_TENANT)(attest)
app.add_typer(modules.app, name="modules", rich_help_panel=_TENANT)
app.add_typer(functions.app, name="functions", rich_help_panel=_TENANT)
app.add_typer(secrets.app, name="secrets", rich_help_panel=_TENANT)
app.command(rich_help_panel=_CALL)(invoke)
app.command(rich_help_panel=_CALL)(batch)
app.command(rich_help_panel=_CALL)(trace)
app.add_typer(schedules.app, name="schedules", rich_help_panel=_CALL)
app.command(rich_help_panel=_CALL)(replay)
app.add_typer(runs.app, name="runs", rich_help_panel=_CALL)
app.command(rich_help_panel=_CALL)(usage)
app.command(rich_help_panel=_CALL)(logs)
app.add_typer(upstreams.app, name="upstreams", rich_help_panel=_CALL)
retries.app.add_typer(retry_states.app)
app.add_typer(retries.app, name="retries", rich_help_panel=_CALL)
app.add_typer(keys.app, name="keys", rich_help_panel=_ACCESS)
app.add_typer(signers.app, name="signers", rich_help_panel=_ACCESS)
app.add_typer(policy.app, name="policy", rich_help_panel=_ACCESS)
app.add_typer(audit.app, name="audit", rich_help_panel=_ACCESS)
app.add_typer(serve.app, name="serve", rich_help_panel=_OPERATE)
app.command(rich_help_panel=_OPERATE)(status)
app.command(rich_help_panel=_OPERATE)(doctor)
app.add_typer(tenants.app, name="tenants", rich_help_panel=_OPERATE)
app.add_typer(storage.app, name="storage", rich_help_panel=_OPERATE)


def main() -> None:
    """Runs the command line."""
    app(prog_name="stockade")


if __name__ == "__main__":
    main()
