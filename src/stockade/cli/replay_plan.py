"""Fetches what an attempt can be run again from, and refuses what cannot be."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from sandbox_worker.replay import ReplayPlan
from stockade.core.digests import digest_of
from stockade.core.errors import StockadeError
from stockade.core.limits import HARD_CEILINGS, Limits
from stockade.core.modules import Abi
from stockade.core.recordings import Blank, RecordedCall, Recording
from stockade.core.replays import REPLAYABLE, WALL, Ending

if TYPE_CHECKING:
    from stockade_client import Client, RecordedAttempt


@dataclass(frozen=True, slots=True)
class Fetched:
    """What is run again, how it ended then, and which limits are others than then."""

    attempt: "RecordedAttempt"
    plan: ReplayPlan
    expected: Ending
    what_if: Mapping[str, int]


def fetch(
    client: "Client",
    invocation_id: str,
    number: int | None,
    input_file: Path | None,
    what_if: Mapping[str, int],
    secrets: Mapping[str, bytes],
) -> Fetched:
    """All that a replay needs, checked.

    Raises:
        StockadeError: `replay.…`.
    """
    attempt = client.recording(invocation_id, number)
    _check_ending(attempt, what_if)
    recording = _recording(attempt)
    _check_secrets(recording, secrets)
    data = client.input_of(invocation_id) if input_file is None else input_file.read_bytes()
    if digest_of(data) != attempt.input_digest:
        raise _refusal("input_differs", "This is not the input that the run was given.")
    module = client.module_of(invocation_id)
    if digest_of(module) != attempt.module:
        raise _refusal("module_differs", "The gateway sends another module than the one that ran.")
    plan = ReplayPlan(
        module=module,
        abi=_abi(attempt.abi),
        data=data,
        limits=replace(_limits(attempt.limits), **what_if),
        env=tuple(sorted(attempt.env.items())),
        recording=recording,
        secrets=secrets,
    )
    ending = attempt.ending
    expected = Ending(**{field.name: getattr(ending, field.name) for field in fields(Ending)})
    return Fetched(attempt, plan, expected, what_if)


def _check_ending(attempt: "RecordedAttempt", what_if: Mapping[str, int]) -> None:
    ending = attempt.ending
    if ending.outcome not in REPLAYABLE:
        raise _refusal(
            "not_replayable",
            f"The attempt ended as {ending.outcome}, which the guest did not come to by itself."
            " Name another one with --attempt.",
        )
    if ending.limit == WALL and not what_if:
        raise _refusal(
            "not_deterministic",
            "The attempt ended at its wall limit. That depends on the machine and what else it did"
            " then, and does not repeat. Ask what if it had longer: --wall-ms.",
        )


def _recording(attempt: "RecordedAttempt") -> Recording:
    found = attempt.recording
    if found is None:
        if attempt.deterministic:
            return Recording(attempt.id, attempt.attempt)
        raise _refusal(
            "not_recorded",
            "The module asks for what varies (time, randomness, host calls), and nothing of it was"
            " recorded. Deploy with --record; runs from then on can be replayed.",
        )
    if found.cut is not None:
        raise _refusal(
            "recording_cut",
            f"The recording ends before host call {found.cut}: there was no room for more, or the"
            " run was stopped in it. It cannot be replayed to its end.",
        )
    calls = tuple(
        RecordedCall(
            one.number,
            one.name,
            one.arguments,
            one.status,
            one.answer,
            tuple(Blank(blank.secret, blank.start, blank.length) for blank in one.blanks),
        )
        for one in found.calls
    )
    return Recording(attempt.id, attempt.attempt, calls)


def _check_secrets(recording: Recording, secrets: Mapping[str, bytes]) -> None:
    unknown = set(secrets) - {blank.secret for call in recording.calls for blank in call.blanks}
    if unknown:
        names = ", ".join(sorted(unknown))
        raise _refusal("secret_unknown", f"The run was given no secret of this name: {names}.")


def _limits(told: Mapping[str, int]) -> Limits:
    known = set(told) == {field.name for field in fields(Limits)}
    # Nobody's gateway has this machine run without bounds.
    if not known or any(
        not 0 < value <= getattr(HARD_CEILINGS, name) for name, value in told.items()
    ):
        raise _unknown("limits")
    return Limits(**told)


def _abi(text: str) -> Abi:
    if text not in set(Abi):
        raise _unknown("ABI")
    return Abi(text)


def _unknown(what: str) -> StockadeError:
    return _refusal(
        "gateway_differs",
        f"The gateway tells of {what} that this version of stockade does not know. Use the version"
        " that the gateway has.",
    )


def _refusal(code: str, message: str) -> StockadeError:
    return StockadeError(f"replay.{code}", message)
