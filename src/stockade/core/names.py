"""Names that users choose: one rule for tenants, functions, aliases, signers and the like.

ASCII alone, so no two names look alike and none has two spellings; no dot, slash or percent sign,
so none walks in a path or a URL.
"""

import re

from stockade.core.errors import StockadeError

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_SECRET_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}")
_OURS = frozenset({"stockade", "system", "platform"})
_RESERVED = {
    "tenant": _OURS,
    "function": _OURS,
    "alias": frozenset({"latest"}),
}
_LOOKS_ELSE = {
    # A number is a version; `xn--` is how other tools write letters that look like these.
    "tenant": re.compile(r"xn--.*"),
    "function": re.compile(r"xn--.*"),
    "alias": re.compile(r"xn--.*|[0-9]+"),
}


def check_name(kind: str, name: str) -> str:
    """Returns `name` when it is 1 to 63 of a-z, 0-9 and inner hyphens.

    Raises:
        StockadeError: `<kind>.name_invalid`.
    """
    if not _NAME.fullmatch(name):
        raise StockadeError(
            f"{kind}.name_invalid",
            f"The name of a {kind} is 1 to 63 of a-z, 0-9 and '-', with no '-' at either end.",
        )
    return name


def check_new_name(kind: str, name: str) -> str:
    """Returns `name` when something new may have it; what has a reserved one already keeps it.

    Raises:
        StockadeError: `<kind>.name_invalid` or `<kind>.name_reserved`.
    """
    check_name(kind, name)
    odd = _LOOKS_ELSE.get(kind)
    if name in _RESERVED.get(kind, ()) or (odd is not None and odd.fullmatch(name)):
        raise StockadeError(
            f"{kind}.name_reserved",
            f"No new {kind} can be called {name!r}: the name means something else, or looks as if"
            " it did. Choose another one.",
        )
    return name


def check_secret_name(name: str) -> str:
    """Returns `name` when it is 1 to 63 of A-Z, a-z, 0-9, '_' and '-', beginning with a letter.

    Raises:
        StockadeError: `secret.name_invalid`.
    """
    if not _SECRET_NAME.fullmatch(name):
        raise StockadeError(
            "secret.name_invalid",
            "The name of a secret is 1 to 63 of A-Z, a-z, 0-9, '_' and '-', and begins with a"
            " letter.",
        )
    return name
