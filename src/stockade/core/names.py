"""Names that users choose: one rule for tenants, functions, aliases and signers."""

import re

from stockade.core.errors import StockadeError

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_SECRET_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}")


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
