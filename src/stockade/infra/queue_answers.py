"""What every queue adapter answers alike: receipts, refusals, and when submissions are equal."""

import hashlib
from enum import IntEnum
from typing import NamedTuple

from stockade.core.digests import digest_of
from stockade.core.errors import StockadeError
from stockade.core.invocations import Invocation, SubmitReceipt
from stockade.infra.queue_settings import QueueSettings


class SubmitAnswer(IntEnum):
    """How the store answered a submission."""

    CREATED = 1
    EARLIER = 0
    CONFLICT = -1
    FULL = -2
    ID_TAKEN = -3
    RATE_LIMITED = -4
    SHED = -5


class Answer(NamedTuple):
    """A submission's answer: of which invocation, and the figure that a refusal is made of.

    `figure` is how many of the tenant's wait (`FULL`), or microseconds until a token
    (`RATE_LIMITED`).
    """

    code: int
    id: str
    figure: int = 0


def submission_digest(invocation: Invocation) -> str:
    """What two submissions under one idempotency key must share: the function and the input."""
    body = invocation.input_inline or b""
    of_input = invocation.input_digest or invocation.input_blob or digest_of(body)
    return hashlib.sha256(f"{invocation.function}\n{of_input}".encode()).hexdigest()


def receipt_of(answer: Answer, invocation: Invocation, settings: QueueSettings) -> SubmitReceipt:
    """The receipt.

    Raises:
        StockadeError: `invocation.idempotency_conflict`, `invocation.id_taken`, `queue.full`,
            `tenant.rate_limited` or `queue.shedding`.
    """
    receipt = receipt_or_refusal(answer, invocation, settings)
    if isinstance(receipt, StockadeError):
        raise receipt
    return receipt


def receipt_or_refusal(
    answer: Answer, invocation: Invocation, settings: QueueSettings
) -> SubmitReceipt | StockadeError:
    """The receipt, or the refusal as a value, where one of many must not end the others."""
    if answer.code in {SubmitAnswer.CREATED, SubmitAnswer.EARLIER}:
        return SubmitReceipt(answer.id, created=answer.code == SubmitAnswer.CREATED)
    return _refusal(answer, invocation, settings)


def _refusal(answer: Answer, invocation: Invocation, settings: QueueSettings) -> StockadeError:
    match SubmitAnswer(answer.code):
        case SubmitAnswer.CONFLICT:
            return StockadeError(
                "invocation.idempotency_conflict",
                "This idempotency key was used for another function or input. Use a new key.",
                detail={"id": answer.id},
            )
        case SubmitAnswer.ID_TAKEN:
            return StockadeError("invocation.id_taken", "This invocation id is in use.")
        case SubmitAnswer.FULL:
            return _full(answer.figure, invocation, settings)
        case SubmitAnswer.RATE_LIMITED:
            return _rate_limited(answer.figure, invocation)
        case _:
            return _shed(invocation, settings)


def backlog_limit(invocation: Invocation, settings: QueueSettings) -> int:
    """How many of the invocation's tenant may wait."""
    return invocation.tenant_backlog or settings.backlog_limit


def _full(waiting: int, invocation: Invocation, settings: QueueSettings) -> StockadeError:
    limit = backlog_limit(invocation, settings)
    return StockadeError(
        "queue.full",
        f"This tenant has {waiting} invocations waiting, {limit} may. Try again later.",
        retryable=True,
        detail={"limit": limit, "waiting": waiting, "retry_after_ms": settings.full_retry_ms},
    )


def _rate_limited(wait_us: int, invocation: Invocation) -> StockadeError:
    limit = invocation.rate_limit
    return StockadeError(
        "tenant.rate_limited",
        "This tenant submits more than its rate allows. Try again after the time in Retry-After.",
        retryable=True,
        detail={
            "rate_per_second": limit and limit.per_second,
            "burst": limit and limit.burst,
            "retry_after_ms": -(-wait_us // 1000),
        },
    )


def _shed(invocation: Invocation, settings: QueueSettings) -> StockadeError:
    # How much waits is not told: it is the other tenants' affair.
    return StockadeError(
        "queue.shedding",
        "Too much work of all tenants waits for work of this priority to be taken. Try again"
        " later.",
        retryable=True,
        detail={
            "priority": invocation.priority.name.lower(),
            "retry_after_ms": settings.shedding_retry_ms,
        },
    )


def quarantine_detail(deaths: int) -> str:
    """Why an invocation that kills its workers is not tried again."""
    return f"Its worker died {deaths} times; it will not be tried again."
