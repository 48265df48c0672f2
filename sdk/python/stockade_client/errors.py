"""What a call may raise.

```
StockadeClientError
├── ConnectionFailed        the gateway could not be reached, or hung up before it answered
├── StockadeApiError        the platform refused or failed: `code`, `status`, `message`,
│                           `retryable`, `retry_after_seconds`
├── GuestFailed             the platform worked, the guest did not: `outcome`, `limit`, `detail`
└── InvocationPending       the wait is over, the invocation is not: `invocation_id`
```

A guest's failure is no fault of the platform, so no `except StockadeApiError` catches it.
"""

from collections.abc import Mapping


class StockadeClientError(Exception):
    """Whatever a call may raise that is not a misuse of this package."""


class ConnectionFailed(StockadeClientError):
    """The gateway could not be reached, or the connection broke before it answered."""


class StockadeApiError(StockadeClientError):
    """The platform refused the request, or failed.

    Args:
        code: Stable and dotted, such as `module.signature_invalid`; branch on this.
        status: The HTTP status.
        message: For people: what is wrong and what to do.
        retryable: Whether the same request may succeed later.
        detail: Further facts, by name.
        retry_after_seconds: After how long it may, where the gateway says so (429 and 503).
    """

    def __init__(
        self,
        code: str,
        status: int,
        message: str,
        *,
        retryable: bool = False,
        detail: Mapping[str, object] | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(f"{code} ({status}): {message}")
        self.code = code
        self.status = status
        self.message = message
        self.retryable = retryable
        self.detail = dict(detail or {})
        self.retry_after_seconds = retry_after_seconds


class GuestFailed(StockadeClientError):
    """The invocation ended, and not with an output.

    Args:
        outcome: `rejected`, `trapped`, `limit_exceeded`, `crashed`, `lost`, `cancelled` or
            `expired`.
        invocation_id: Names the record, for `get` and `logs`.
        limit: Which limit, when the outcome is `limit_exceeded`.
        detail: One sentence on what happened. It may hold the guest's own words: escape control
            characters before a terminal sees it.
        attempts: How often it was tried.
    """

    def __init__(
        self,
        outcome: str,
        invocation_id: str,
        *,
        limit: str | None = None,
        detail: str | None = None,
        attempts: int = 0,
    ) -> None:
        super().__init__(" ".join(part for part in (outcome, limit, detail) if part))
        self.outcome = outcome
        self.invocation_id = invocation_id
        self.limit = limit
        self.detail = detail
        self.attempts = attempts


class InvocationPending(StockadeClientError):
    """The invocation goes on; `wait(invocation_id)` waits longer."""

    def __init__(self, invocation_id: str) -> None:
        super().__init__(f"invocation {invocation_id} is still queued or running")
        self.invocation_id = invocation_id
