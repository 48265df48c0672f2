"""What every queue adapter answers alike: receipts, refusals, and when submissions are equal."""

import hashlib
from enum import IntEnum

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


def submission_digest(invocation: Invocation) -> str:
    """What two submissions under one idempotency key must share: the function and the input."""
    body = invocation.input_inline or b""
    of_input = invocation.input_digest or invocation.input_blob or digest_of(body)
    return hashlib.sha256(f"{invocation.function}\n{of_input}".encode()).hexdigest()


def receipt_of(answer: int, invocation_id: str, settings: QueueSettings) -> SubmitReceipt:
    """The receipt.

    Raises:
        StockadeError: `invocation.idempotency_conflict`, `queue.full` or `invocation.id_taken`.
    """
    match SubmitAnswer(answer):
        case SubmitAnswer.CREATED | SubmitAnswer.EARLIER:
            return SubmitReceipt(invocation_id, created=answer == SubmitAnswer.CREATED)
        case SubmitAnswer.CONFLICT:
            raise StockadeError(
                "invocation.idempotency_conflict",
                "This idempotency key was used for another function or input. Use a new key.",
                detail={"id": invocation_id},
            )
        case SubmitAnswer.FULL:
            raise StockadeError(
                "queue.full",
                f"This tenant has {settings.backlog_limit} invocations waiting. Try again later.",
                retryable=True,
                detail={"limit": settings.backlog_limit},
            )
        case SubmitAnswer.ID_TAKEN:
            raise StockadeError("invocation.id_taken", "This invocation id is in use.")


def receipt_or_refusal(
    answer: int, invocation_id: str, settings: QueueSettings
) -> SubmitReceipt | StockadeError:
    """The receipt, or the refusal as a value, where one of many must not end the others."""
    try:
        return receipt_of(answer, invocation_id, settings)
    except StockadeError as refusal:
        return refusal


def quarantine_detail(deaths: int) -> str:
    """Why an invocation that kills its workers is not tried again."""
    return f"Its worker died {deaths} times; it will not be tried again."
