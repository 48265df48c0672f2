"""`stockade tenants`: on a real database, with keys that open what they are for."""

import asyncio
import json
from pathlib import Path

from stockade.core.api_keys import ApiKey, parse_key
from stockade.core.principals import Role
from stockade.infra.sql.sql_catalog import SqlCatalog
from tests.unit.stockade.cli.conftest import CommandLine

URL = "sqlite:///catalog.db"
ON = ("--database-url", URL)


def _stored(text: str) -> ApiKey:
    async def find() -> ApiKey | None:
        catalog = await SqlCatalog.open(URL)
        try:
            return await catalog.find_key(parse_key(text).id)
        finally:
            await catalog.aclose()

    found = asyncio.run(find())
    assert found is not None
    assert parse_key(text).opens(found, 1)
    return found


def test_a_tenant_is_added_with_an_admin_key(cli: CommandLine) -> None:
    done = cli.run("tenants", "add", "acme", *ON, "--environment", "prod")
    assert done.exit_code == 0, done.output
    text = done.stdout.strip()
    assert text.startswith("stk_prod_")
    assert text not in done.stderr
    assert (_stored(text).tenant, _stored(text).role) == ("acme", Role.ADMIN)
    assert cli.run("tenants", "add", "beta", "--out", "key", STOCKADE_DATABASE_URL=URL).stdout == ""
    assert Path("key").stat().st_mode & 0o777 == 0o600
    assert _stored(Path("key").read_text().strip()).tenant == "beta"
    assert cli.run("tenants", "list", *ON).stdout.splitlines() == ["acme", "beta"]
    listed = json.loads(cli.run("tenants", "list", *ON, "--json").stdout)
    assert listed == [{"name": "acme"}, {"name": "beta"}]


def test_a_tenant_is_added_once_but_may_be_given_another_key(cli: CommandLine) -> None:
    first = cli.run("tenants", "add", "acme", *ON).stdout.strip()
    again = cli.run("tenants", "add", "acme", *ON, "--out", "key")
    assert (again.exit_code, again.stdout) == (2, "")
    assert "cli.tenant_exists" in again.stderr
    assert not Path("key").exists()
    shown = json.loads(cli.run("tenants", "key", "acme", *ON, "--json").stdout)
    assert (shown["tenant"], shown["role"]) == ("acme", "admin")
    assert _stored(shown["key"]).id != _stored(first).id


def test_what_cannot_be(cli: CommandLine) -> None:
    for words, code in (
        (("add", "../acme", *ON), "tenant.name_invalid"),
        (("key", "nobody", *ON), "tenant.not_found"),
        (("list", "--database-url", "mysql://x"), "config.catalog_url_invalid"),
    ):
        done = cli.run("tenants", *words)
        assert done.exit_code in {1, 2}
        assert code in done.stderr
    assert cli.run("tenants", "list").exit_code == 2
