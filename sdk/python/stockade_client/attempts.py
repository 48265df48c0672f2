"""When a call is sent again: the one rule of both clients.

Sent again are calls that never reached the gateway, and calls that may be sent twice when the
connection broke or the gateway answered 503. Nothing else, and not for ever.
"""

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx

from stockade_client.calls import Call
from stockade_client.errors import ConnectionFailed, InvocationPending

_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_BROKEN = (httpx.NetworkError, httpx.RemoteProtocolError, httpx.TimeoutException)
_FIRST_LOOK_SECONDS, _LONGEST_LOOK_SECONDS = 0.05, 1.0


@dataclass(frozen=True, slots=True)
class RetryRule:
    """How often and how soon.

    Args:
        max_attempts: How often a call is sent at most.
        first_pause_seconds: Before the second attempt; doubles from there, half of it random.
        longest_pause_seconds: No pause is longer, whatever the gateway asks for.
    """

    max_attempts: int = 4
    first_pause_seconds: float = 0.1
    longest_pause_seconds: float = 5.0

    def after_error(self, call: Call[Any], attempt: int, error: httpx.TransportError) -> float:
        """The pause before the next attempt.

        Raises:
            ConnectionFailed: There is none.
        """
        again = isinstance(error, _NEVER_SENT) or (call.repeatable and isinstance(error, _BROKEN))
        if not again or attempt >= self.max_attempts:
            raise ConnectionFailed(f"{type(error).__name__}: {error}") from error
        return self._pause(attempt)

    def after_answer(self, call: Call[Any], attempt: int, response: httpx.Response) -> float | None:
        """The pause before the next attempt; None when the answer counts."""
        unavailable = response.status_code == httpx.codes.SERVICE_UNAVAILABLE
        if not (unavailable and call.repeatable) or attempt >= self.max_attempts:
            return None
        return max(self._pause(attempt), self._asked_for(response))

    def _pause(self, attempt: int) -> float:
        full = min(self.first_pause_seconds * 2.0 ** (attempt - 1), self.longest_pause_seconds)
        share = random.uniform(0.5, 1.0)  # noqa: S311 - spreads callers, protects nothing
        return float(full) * share

    def _asked_for(self, response: httpx.Response) -> float:
        text = response.headers.get("Retry-After", "")
        return min(float(text), self.longest_pause_seconds) if text.isdecimal() else 0.0


DEFAULT_RETRIES = RetryRule()


def timeout_for(call: Call[Any], timeout_seconds: float) -> httpx.Timeout:
    """Time to read the answer comes on top of the time the gateway was asked to wait."""
    return httpx.Timeout(timeout_seconds, read=timeout_seconds + call.wait_seconds)


def looks(invocation_id: str, timeout_seconds: float | None) -> Iterator[float]:
    """The pauses between looks at a record, until the time is over.

    Raises:
        InvocationPending: It is.
    """
    pause, left = _FIRST_LOOK_SECONDS, math.inf if timeout_seconds is None else timeout_seconds
    while left > 0:
        yield min(pause, left)
        left -= pause
        pause = min(pause * 1.5, _LONGEST_LOOK_SECONDS)
    raise InvocationPending(invocation_id)
