"""The one error type of the platform.

A guest that fails is a value (`Outcome`). The platform refusing or failing is a `StockadeError`: a
stable dotted code, a message that tells the user what to do, and whether trying again may help.

The first part of a code names the thing that was wrong (`module`, `signer`, `function`,
`invocation`, `request`, `auth`, `queue`, `store`); HTTP numbers for codes live in
`gateway.problems` alone.
"""


class StockadeError(Exception):
    """A refusal or failure of the platform, safe to show to the caller.

    Args:
        code: Stable, dotted, lower-case; documented in `docs/reference/errors.md`.
        message: One sentence or two for the user: what is wrong and what to do. Never a secret.
        retryable: True when the same request may succeed later.
        detail: Further public facts, JSON-ready.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        retryable: bool = False,
        detail: dict[str, object] | None = None,
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.retryable = retryable
        self.detail = detail or {}


def code_of(error: Exception) -> str:
    """A failure's code, for the log; what is our own fault has the one that callers see."""
    return error.code if isinstance(error, StockadeError) else "internal.error"


def not_found(kind: str, name: str) -> StockadeError:
    """The answer for what is absent and for what belongs to another tenant: the two look alike."""
    return StockadeError(f"{kind}.not_found", f"There is no {kind} {name!r} in this tenant.")
