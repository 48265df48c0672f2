"""What an attempt can be run again from: module, input, effective limits, what varied, its end."""

from dataclasses import dataclass

from gateway.services import Services
from stockade.core.digests import digest_of
from stockade.core.errors import StockadeError
from stockade.core.invocations import Invocation, InvocationRecord
from stockade.core.limits import Limits
from stockade.core.outcomes import Attempt, Outcome
from stockade.core.recordings import Recording
from stockade.core.replays import Ending, ending_of


@dataclass(frozen=True, slots=True)
class ReplayFacts:
    """One attempt, as far as it is told in words: `recording` is None where nothing was recorded.

    `limits` are those that the attempt had.
    """

    invocation: Invocation
    attempt: Attempt
    limits: Limits
    ending: Ending
    recording: Recording | None


async def replay_facts(
    services: Services, record: InvocationRecord, number: int | None
) -> ReplayFacts:
    """The facts of the attempt of this number, or of the last one.

    Raises:
        StockadeError: `invocation.attempt_not_found`, `recording.lost`, `recording.unreadable`.
    """
    attempt = _attempt(record, number)
    invocation = await _asked(services, record)
    recording = None
    if attempt.recording is not None:
        recording = await services.recordings.get(
            record.tenant, record.id, attempt.number, attempt.recording
        )
        if recording is None:
            raise StockadeError(
                "recording.lost", "The recording is no longer in the blob store. Invoke again."
            )
    limits = attempt.limits or invocation.content.limits
    return ReplayFacts(
        invocation, attempt, limits, ending_of(attempt, _output_digest(record, attempt)), recording
    )


async def read_input(services: Services, record: InvocationRecord) -> bytes:
    """What the invocation was asked with.

    Raises:
        StockadeError: `invocation.input_gone`.
    """
    invocation = await _asked(services, record)
    data = invocation.input_inline
    if invocation.input_blob is not None:
        data = await services.payloads.get(record.tenant, record.id, invocation.input_blob)
    if data is None:
        raise StockadeError(
            "invocation.input_gone",
            "The input was not kept. Deploy with record: true to keep it, or give the input"
            " yourself; its digest is in the recording.",
        )
    return data


async def read_module(services: Services, record: InvocationRecord) -> bytes:
    """The bytes of the module that ran.

    Raises:
        StockadeError: `module.not_found`.
    """
    invocation = await _asked(services, record)
    async with services.rereading.turn(record.tenant):
        body = await services.blobs.get(invocation.content.digest)
    if body is None:
        raise StockadeError("module.not_found", "The module that ran was deleted.")
    return body


def _attempt(record: InvocationRecord, number: int | None) -> Attempt:
    if number is None and record.attempts:
        return record.attempts[-1]
    found = next((one for one in record.attempts if one.number == number), None)
    if found is None:
        raise StockadeError(
            "invocation.attempt_not_found", "There is no such attempt that has ended."
        )
    return found


async def _asked(services: Services, record: InvocationRecord) -> Invocation:
    invocation = await services.queue.invocation(record.tenant, record.id)
    if invocation is None:  # its time was over between two looks
        raise StockadeError("invocation.not_found", "The record is gone. Invoke again.")
    return invocation


def _output_digest(record: InvocationRecord, attempt: Attempt) -> str | None:
    """Of the attempt whose output the record has."""
    completed = attempt.outcome is Outcome.COMPLETED and record.outcome is Outcome.COMPLETED
    if not completed or attempt != record.attempts[-1]:
        return None
    return record.output_blob or digest_of(record.output_inline or b"")
