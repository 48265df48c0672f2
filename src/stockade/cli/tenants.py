"""`stockade tenants`: the operator's own command, on the database itself and past every gateway.

No key of a tenant reaches beyond it, so no call of the API can make another one.
"""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stockade.cli.api_keys import Deliver, delivery
from stockade.cli.options import JsonFlag
from stockade.cli.reporting import reported
from stockade.cli.words import print_json, say
from stockade.core.api_keys import ApiKey, generate_key
from stockade.core.errors import StockadeError
from stockade.core.names import check_new_name

if TYPE_CHECKING:
    from stockade.infra.sql.sql_catalog import SqlCatalog

app = typer.Typer(
    no_args_is_help=True,
    help="Add tenants, for the operator: works on the database, not through a gateway.",
)

_Name = Annotated[
    str, typer.Argument(metavar="NAME", help="The tenant's name.", show_default=False)
]
_Database = Annotated[
    str,
    typer.Option(
        "--database-url",
        envvar="STOCKADE_DATABASE_URL",
        help="As the gateways have it: sqlite:///FILE or postgresql://HOST/DATABASE.",
        show_default=False,
    ),
]
_Environment = Annotated[
    str,
    typer.Option(
        "--environment",
        envvar="STOCKADE_ENVIRONMENT",
        help="What keys begin with, as stk_ENVIRONMENT_….",
    ),
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


@app.callback()
def _tenants() -> None:
    """Add tenants, for the operator: works on the database, not through a gateway."""


@app.command()
@reported
def add(
    name: _Name,
    *,
    database_url: _Database,
    environment: _Environment = "dev",
    out: _Out = None,
    as_json: JsonFlag = False,
) -> None:
    """Add a tenant, with an admin key for whoever is to have it.

    The key is shown this once. With it, the tenant makes all others: stockade keys create.
    """
    check_new_name("tenant", name)
    with delivery(out, force=False, as_json=as_json) as deliver:
        asyncio.run(_added(database_url, name, environment, deliver))
    say(f"Tenant {name} is there.")


@app.command("key")
@reported
def key_(
    name: _Name,
    *,
    database_url: _Database,
    environment: _Environment = "dev",
    out: _Out = None,
    as_json: JsonFlag = False,
) -> None:
    """Make an admin key for a tenant that has lost all of its own."""
    with delivery(out, force=False, as_json=as_json) as deliver:
        asyncio.run(_given(database_url, name, environment, deliver))


@app.command("list")
@reported
def list_(*, database_url: _Database, as_json: JsonFlag = False) -> None:
    """List all tenants."""
    found = asyncio.run(_listed(database_url))
    if as_json:
        print_json([{"name": name} for name in found])
        return
    for name in found:
        typer.echo(name)


async def _added(url: str, name: str, environment: str, deliver: Deliver) -> None:
    catalog = await _opened(url)
    try:
        if not await catalog.ensure_tenant(name):
            raise StockadeError(
                "cli.tenant_exists",
                f"There is a tenant {name!r}. 'stockade tenants key' makes another key for it.",
            )
        await _give_key(catalog, name, environment, deliver)
    finally:
        await catalog.aclose()


async def _given(url: str, name: str, environment: str, deliver: Deliver) -> None:
    catalog = await _opened(url)
    try:
        await _give_key(catalog, name, environment, deliver)
    finally:
        await catalog.aclose()


async def _listed(url: str) -> list[str]:
    catalog = await _opened(url)
    try:
        return list(await catalog.tenants())
    finally:
        await catalog.aclose()


async def _opened(url: str) -> "SqlCatalog":
    from stockade.infra.sql.sql_catalog import SqlCatalog  # noqa: PLC0415 - keeps --help fast

    return await SqlCatalog.open(url)


async def _give_key(catalog: "SqlCatalog", tenant: str, environment: str, deliver: Deliver) -> None:
    from stockade.infra.system_clock import SystemClock  # noqa: PLC0415 - likewise

    text, made = generate_key(environment)
    key = ApiKey(made.id, tenant, "operator", made.secret_hash, SystemClock().now_ms())
    await catalog.add_key(key)
    deliver(text, {"id": key.id, "tenant": tenant, "role": key.role})
