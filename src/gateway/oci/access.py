"""Who pushes and pulls, and in whose repository.

OCI clients log in with a name and a password (HTTP Basic): the password is the API key, the name is
not looked at. The key then goes the way of every bearer credential.
"""

import base64
import binascii

from starlette.requests import Request

from gateway.routes.context import Context, caller_of
from stockade.core.actions import Action
from stockade.core.errors import StockadeError
from stockade.core.oci import OciRepository, parse_repository
from stockade.core.principals import Principal

_MAX_HEADER_CHARACTERS = 8192


async def repository_for(
    request: Request, name: str, action: Action
) -> tuple[Context, Principal, OciRepository]:
    """The context, the caller, and the repository of its own tenant.

    Raises:
        StockadeError: `auth.…`, `oci.name_invalid`, or `oci.repository_unknown` for whatever is
            another tenant's, there or not.
    """
    context, caller = await caller_of(with_bearer(request), action)
    repository = parse_repository(name)
    if repository.tenant != caller.tenant:
        raise no_repository(name)
    return context, caller, repository


def no_repository(name: str) -> StockadeError:
    """The refusal of a repository that is absent or another tenant's."""
    return StockadeError(
        "oci.repository_unknown",
        f"There is no repository {name!r} here. Its name must begin with your own tenant's.",
    )


def with_bearer(request: Request) -> Request:
    """The request, a password in it become a bearer credential."""
    scheme, _, text = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic" or len(text) > _MAX_HEADER_CHARACTERS:
        return request
    try:
        _, _, password = base64.b64decode(text.strip(), validate=True).partition(b":")
    except (binascii.Error, ValueError):
        password = b""
    headers = [
        (name, value) for name, value in request.scope["headers"] if name != b"authorization"
    ]
    if password:
        headers.append((b"authorization", b"Bearer " + password))
    return Request({**request.scope, "headers": headers}, request.receive)
