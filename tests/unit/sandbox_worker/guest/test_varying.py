"""What comes between a run and what varies: bounded notes, and answers of then."""

import pytest

from sandbox_worker.guest.faults import LimitHit
from sandbox_worker.guest.frames import HostCall, HostReply
from sandbox_worker.guest.run_state import RunState
from sandbox_worker.guest.varying import NOTED, Noting, Replayed, size_arguments
from stockade.core.host_functions import VARYING
from stockade.core.limits import Limits
from stockade.core.recordings import CALL_COST_BYTES, MAX_RECORDED_CALLS

CLOCK = 1


class Supervisor:
    """Answers with what it was given, and remembers what it was asked."""

    def __init__(self, reply: HostReply) -> None:
        self.reply = reply
        self.asked: list[HostCall] = []

    def __call__(self, call: HostCall) -> HostReply:
        self.asked.append(call)
        return self.reply


def state(varying: Noting | Replayed | None) -> RunState:
    made = RunState(b"", (), Limits())
    made.host_calls = 7
    made.varying = varying
    return made


def test_without_anything_between_nothing_is_kept() -> None:
    run = state(None)
    assert run.time_ns("now_ms", CLOCK, Limits().fuel) > 0
    assert len(run.random("random", 5)) == 5
    assert run.wait("poll_oneoff", b"asked", lambda: b"ready") == b"ready"
    assert run.varying is None


def test_what_varies_is_noted_by_its_place() -> None:
    notes = Noting(10_000)
    run = state(notes)
    now_ns = run.time_ns("now_ms", CLOCK, Limits().fuel)
    content = run.random("random", 5)
    run.wait("poll_oneoff", b"asked", lambda: b"ready")
    assert [(note.at, note.name, note.arguments, note.answer) for note in notes.notes] == [
        (7, "now_ms", size_arguments(CLOCK), now_ns.to_bytes(8, "little")),
        (7, "random", size_arguments(5), content),
        (7, "poll_oneoff", b"asked", b"ready"),
    ]
    assert {note.name for note in notes.notes} < NOTED < VARYING


def test_notes_are_bounded_and_the_first_that_is_missing_is_told() -> None:
    notes = Noting(2 * (CALL_COST_BYTES + 8 + 1))
    for at in (1, 4, 6, 9):
        notes.random(at, "random", 1)
    assert ([note.at for note in notes.notes], notes.notes_cut) == ([1, 4], 6)
    many = Noting(1 << 40)
    for at in range(1, MAX_RECORDED_CALLS + 3):
        many.random(at, "random", 0)
    assert (len(many.notes), many.notes_cut) == (MAX_RECORDED_CALLS, MAX_RECORDED_CALLS + 1)


def test_a_small_answer_behind_the_cut_is_not_noted() -> None:
    notes = Noting(CALL_COST_BYTES + 20)
    notes.random(1, "random", 1000)
    notes.random(2, "random", 1)
    assert (notes.notes, notes.notes_cut) == ([], 1)


def test_a_replay_asks_the_supervisor_for_what_varied() -> None:
    then = Supervisor(HostReply(0, (-5).to_bytes(8, "little", signed=True)))
    run = state(Replayed(then))
    assert run.time_ns("now_ms", CLOCK, Limits().fuel) == -5
    assert run.random("random", 8) == then.reply.data
    assert run.wait("poll_oneoff", b"asked", lambda: b"never") == then.reply.data
    assert [(call.name, call.at, call.data) for call in then.asked] == [
        ("now_ms", 7, size_arguments(CLOCK)),
        ("random", 7, size_arguments(8)),
        ("poll_oneoff", 7, b"asked"),
    ]


@pytest.mark.parametrize("reply", [HostReply(stop="host_calls"), HostReply(0, b"short")])
def test_an_answer_that_cannot_be_it_ends_the_run(reply: HostReply) -> None:
    replayed = Replayed(Supervisor(reply))
    with pytest.raises(LimitHit):
        replayed.random(1, "random", 8)
    with pytest.raises(LimitHit):
        replayed.time_ns(1, "now_ms", CLOCK, 0)
