"""`stockade functions`: make modules callable."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from stockade.cli import function_aliases as aliases
from stockade.cli.connection import connected
from stockade.cli.diff_words import print_changes
from stockade.cli.function_advice import advise
from stockade.cli.function_deploy import deploy
from stockade.cli.function_options import FunctionName, when
from stockade.cli.function_trust import trust
from stockade.cli.options import AliasOption, JsonFlag, VersionOption
from stockade.cli.words import print_facts, print_json, print_table, say

if TYPE_CHECKING:
    from stockade_client import Client

app = typer.Typer(no_args_is_help=True, help="Make modules callable under a name.")
app.command()(deploy)
app.command()(trust)
app.command()(advise)
for alias_command in (
    aliases.alias,
    aliases.aliases,
    aliases.promote,
    aliases.rollback,
    aliases.history,
    aliases.unalias,
):
    app.command(rich_help_panel="Aliases")(alias_command)

_Deleted = Annotated[bool, typer.Option("--deleted", help="What can be restored, and until when.")]
_Which = "A version, an alias or latest."


@app.command("list")
@connected
def list_(client: "Client", *, deleted: _Deleted = False, as_json: JsonFlag = False) -> None:
    """List all functions, each with its latest version."""
    if deleted:
        _list_deleted(client, as_json=as_json)
        return
    found = client.functions()
    if as_json:
        print_json([asdict(function) for function in found])
    else:
        rows = ((item.name, item.version, item.module) for item in found)
        print_table(("NAME", "VERSION", "MODULE"), rows)


@app.command()
@connected
def show(
    client: "Client",
    name: FunctionName,
    *,
    alias: AliasOption = None,
    version: VersionOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Show a version: module, limits, grants, who deployed it; the latest unless you name one."""
    facts = asdict(client.function(name, alias=alias, version=version))
    if as_json:
        print_json(facts)
        return
    auto = facts.pop("auto_limits")
    limits = {
        f"limit {limit}": f"auto ({value} at first)" if limit in auto else value
        for limit, value in facts.pop("limits").items()
    }
    retry = {f"retry {key}": value for key, value in facts.pop("retry").items()}
    variables = {f"env {key}": value for key, value in facts.pop("env").items()}
    labels = {f"label {key}": value for key, value in facts.pop("labels").items()}
    grants = {"grants": ", ".join(facts["grants"]) or "none"}
    made = {"deployed": when(facts.pop("created_ms")), "by": facts.pop("created_by") or None}
    message = {"message": facts.pop("message") or None}
    print_facts(facts | grants | limits | retry | variables | made | message | labels)


@app.command()
@connected
def versions(
    client: "Client",
    name: FunctionName,
    *,
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many, newest first.")] = 20,
    before: Annotated[
        int | None, typer.Option(min=1, help="Only those before this one.", show_default=False)
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """List a function's versions, newest first: who deployed them, when, and why."""
    page = client.versions(name, before=before, limit=limit)
    if as_json:
        print_json(asdict(page))
        return
    rows = ((v.version, when(v.created_ms), v.created_by, v.message) for v in page.versions)
    print_table(("VERSION", "DEPLOYED", "BY", "MESSAGE"), rows)
    if page.next is not None:
        say(f"There are more: --before {page.next}")


@app.command()
@connected
def diff(
    client: "Client",
    name: FunctionName,
    before: Annotated[str, typer.Argument(metavar="FROM", help=_Which, show_default=False)],
    after: Annotated[str, typer.Argument(metavar="[TO]", help=_Which)] = "latest",
    *,
    as_json: JsonFlag = False,
) -> None:
    """Show what differs between two versions: module, imports, grants, limits, settings.

    Example: stockade functions diff hello prod latest
    """
    found = client.diff(name, before, after)
    if as_json:
        print_json(asdict(found))
        return
    print_facts({"name": found.name, "from": found.before, "to": found.after})
    print_changes(found.changes)
    if not found.changes:
        say("They are the same.")


@app.command()
@connected
def delete(
    client: "Client",
    name: FunctionName,
    *,
    version: Annotated[
        int | None,
        typer.Option(min=1, help="Delete this version only, and for good.", show_default=False),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Delete a function: nothing new is invoked, what was accepted runs to its end.

    It can be restored for some days ('stockade functions restore'); then versions and aliases go.
    """
    if version is not None:
        client.delete_version(name, version)
        say(f"Version {version} of {name} is deleted, for good.")
        return
    gone = client.delete_function(name)
    if as_json:
        print_json(asdict(gone))
    else:
        say(f"Function {name} is deleted. Restore it until {when(gone.restorable_until_ms)}.")


@app.command()
@connected
def restore(client: "Client", name: FunctionName, *, as_json: JsonFlag = False) -> None:
    """Take a function's deletion back, with all its versions and aliases."""
    found = client.restore_function(name)
    if as_json:
        print_json(asdict(found))
    else:
        say(f"Function {name} is there again; its latest version is {found.version}.")


def _list_deleted(client: "Client", *, as_json: bool) -> None:
    found = client.deleted_functions()
    if as_json:
        print_json([asdict(function) for function in found])
        return
    rows = ((one.name, one.version, when(one.restorable_until_ms)) for one in found)
    print_table(("NAME", "VERSION", "RESTORABLE UNTIL"), rows)
