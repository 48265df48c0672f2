"""`stockade policy who`: which of a tenant's real keys could do that, by these policies?"""

import time
from typing import TYPE_CHECKING

from stockade.cli.connection import connected
from stockade.cli.options import JsonFlag
from stockade.cli.policy_simulation import (
    HEAD,
    Actions,
    AliasOf,
    Function,
    Grants,
    Limits,
    Module,
    Subject,
    Tenant,
    answers,
    facts_of,
    row_of,
    told_of_deploy,
    told_of_module,
)
from stockade.cli.policy_words import Directory, PolicyDir, load, locate
from stockade.cli.words import print_json, print_table
from stockade.core.actions import Action
from stockade.core.policy_questions import SAMPLE_ALIAS
from stockade.core.principals import Kind, Principal, Role

if TYPE_CHECKING:
    from stockade_client import Client
    from stockade_client.keys import ApiKey


@connected
def who(  # noqa: PLR0913 - one for each option
    client: "Client",
    directory: Directory = None,
    *,
    tenant: Tenant,
    action: Actions = [],  # noqa: B006 - Typer reads the default, nobody changes it
    function: Function = None,
    alias: AliasOf = SAMPLE_ALIAS,
    module: Module = [],  # noqa: B006 - likewise
    grant: Grants = [],  # noqa: B006 - likewise
    limit: Limits = [],  # noqa: B006 - likewise
    policies: PolicyDir = None,
    as_json: JsonFlag = False,
) -> None:
    """Ask which of a tenant's keys could do that, if the policies of DIR were in force.

    The keys are those of the gateway that are in force; keys of CI jobs are left out, since what
    policies may ask of a job stands in its token. See 'stockade policy simulate --claim' for them.
    """
    keys = [key for key in client.api_keys() if _counts(key)]
    names = {key.id: key.name for key in keys}
    callers = [Principal(tenant, key.id, Role(key.role), key.scopes) for key in keys]
    subject = Subject(function, None, told_of_module(module), told_of_deploy(grant, limit), alias)
    engine = load(locate(directory, policies))
    found = list(answers(engine, callers, action or list(Action), subject))
    if as_json:
        told = [
            {"id": one.caller.id, "key": names[one.caller.id], **facts_of(one)} for one in found
        ]
        print_json({"version": engine.version, "answers": told})
        return
    rows = (
        (one.caller.id, names[one.caller.id], one.caller.role.value, *row_of(one)) for one in found
    )
    print_table(("id", "name", "role", *HEAD), rows)


def _counts(key: "ApiKey") -> bool:
    now_ms = time.time_ns() // 1_000_000
    unexpired = key.expires_ms is None or now_ms < key.expires_ms
    return key.kind == Kind.KEY and key.revoked_ms is None and unexpired
