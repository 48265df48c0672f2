"""What an attempt says is told in order, redacted and bounded; trouble costs lines, not runs."""

import asyncio
from typing import TYPE_CHECKING, cast

import pytest

from sandbox_worker.guest.frames import Told
from sandbox_worker.live_log import MOST_WAITING_BYTES, LiveLog
from sandbox_worker.redaction import Redaction
from stockade.core.errors import StockadeError
from stockade.core.invocations import Claim
from stockade.core.live_events import Heard, Spoken
from stockade.core.outcomes import Event, LogLine, Outcome, RunResult

if TYPE_CHECKING:
    from sandbox_worker.broker import HostCallsOfRun

CLAIM = cast("Claim", type("Held", (), {"attempt": 2}))


class Calls:
    """As much of a run's host calls as counts here."""

    def __init__(self) -> None:
        self.redaction = Redaction()
        self.listener = None
        self.secrets: dict[str, bytes] = {}
        self.away = False

    async def know_secrets(self) -> None:
        if self.away:
            raise StockadeError("catalog.unavailable", "away", retryable=True)
        for name, value in self.secrets.items():
            self.redaction.add(name, value)


class Live:
    """The `LiveEvents` port: keeps what it is told once the gate is open."""

    def __init__(self) -> None:
        self.told: list[Spoken] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.fails = 0
        self.failure: Exception = StockadeError("queue.unavailable", "away", retryable=True)
        self.held = True

    async def tell(self, claim: Claim, spoken: Spoken) -> bool:
        assert claim is CLAIM
        await self.gate.wait()
        if self.fails:
            self.fails -= 1
            raise self.failure
        if self.held:
            self.told.append(spoken)
        return self.held

    async def listen(self, tenant: str, invocation_id: str) -> None:
        raise NotImplementedError

    async def read(
        self, tenant: str, invocation_id: str, after: str, timeout_seconds: float
    ) -> Heard:
        raise NotImplementedError


def voice() -> tuple[LiveLog, Live, Calls]:
    live, calls = Live(), Calls()
    log = LiveLog(live, CLAIM, cast("HostCallsOfRun", calls))
    assert calls.listener is not None
    return log, live, calls


def said(*texts: str) -> Told:
    return Told(tuple(LogLine(2, text) for text in texts))


def result(*texts: str, **facts: object) -> RunResult:
    lines = tuple(LogLine(2, text) for text in texts)
    return RunResult(Outcome.TRAPPED, logs=lines, **facts)  # type: ignore[arg-type]


async def test_a_retried_attempt_has_told_all_of_it() -> None:
    log, live, _ = voice()
    log.hear(said("a", "b"))
    log.hear(Told((), (Event("x", "1"),)))
    events = (Event("x", "1"), Event("y", "2"))
    await log.finish(result("a", "b", "c", events=events, logs_truncated=True), is_last=False)
    assert live.told == [
        Spoken(2, said("a", "b").logs),
        Spoken(2, (), events[:1], 2),
        Spoken(2, said("c").logs, events[1:], 2, 1, logs_cut=True),
    ]


async def test_the_last_attempt_leaves_the_rest_to_the_record() -> None:
    log, live, _ = voice()
    live.gate.clear()
    log.hear(said("a"))
    await asyncio.sleep(0)
    await log.finish(result("a", "b"), is_last=True)
    live.gate.set()
    await asyncio.sleep(0)
    assert live.told == []
    silent, live, _ = voice()
    await silent.finish(result(), is_last=True)
    await silent.finish(result(), is_last=False)
    assert live.told == []


async def test_trouble_costs_lines_and_says_how_many() -> None:
    log, live, _ = voice()
    live.fails = 1
    log.hear(said("a", "b"))
    log.hear(said("c"))
    await log.finish(result("a", "b", "c"), is_last=False)
    assert live.told == [Spoken(2, said("c").logs, first_log=2)]


async def test_a_server_that_refuses_what_it_is_told_ends_no_run() -> None:
    log, live, _ = voice()
    live.fails, live.failure = 2, RuntimeError("The queue's server refused a command.")
    log.hear(said("a"))
    await log.finish(result("a", "b"), is_last=False)
    assert (live.fails, live.told) == (0, [])


async def test_what_waits_is_bounded_and_the_oldest_goes() -> None:
    log, live, _ = voice()
    live.gate.clear()
    size = MOST_WAITING_BYTES // 8
    for number in range(20):
        log.hear(said(f"{number}" + "x" * size))
    await asyncio.sleep(0)
    live.gate.set()
    texts = [f"{number}" + "x" * size for number in range(20)]
    await log.finish(result(*texts), is_last=False)
    numbers = [one.first_log for one in live.told]
    assert len(numbers) <= 9
    assert numbers[-1] == 19


async def test_a_queue_that_hangs_holds_the_end_up_for_a_moment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sandbox_worker.live_log._REST_SECONDS", 0.01)
    log, live, _ = voice()
    live.gate.clear()
    log.hear(said("a"))
    await log.finish(result("a"), is_last=False)
    assert live.told == []


async def test_a_stale_claim_says_nothing_more() -> None:
    log, live, _ = voice()
    live.held = False
    log.hear(said("a"))
    log.hear(said("b"))
    await log.finish(result("a", "b"), is_last=False)
    assert live.told == []


async def test_secrets_are_redacted_line_by_line_as_in_the_record() -> None:
    log, live, calls = voice()
    calls.redaction.add("TOKEN", b"hunter2-hunter2\nsecond-part")
    texts = ("it is hunter2-hunter2", "second-part", "cut off: hunter2-hun", "harmless")
    for text in texts:
        log.hear(said(text))
    await log.finish(result(*texts), is_last=False)
    recorded = calls.redaction.of_result(result(*texts)).logs
    assert tuple(line for one in live.told for line in one.logs) == recorded
    assert "hunter2" not in str(live.told)
    assert "second" not in str(live.told)


async def test_a_secret_is_redacted_before_the_run_has_asked_for_it() -> None:
    log, live, calls = voice()
    calls.secrets["TOKEN"] = b"hunter2-hunter2"
    log.hear(said("it is hunter2-hunter2"))
    await log.finish(result("it is hunter2-hunter2"), is_last=False)
    assert live.told == [Spoken(2, said("it is [secret TOKEN]").logs)]


async def test_without_knowing_the_secrets_nothing_is_told() -> None:
    log, live, calls = voice()
    calls.away = True
    log.hear(said("a"))
    await log.finish(result("a"), is_last=False)
    assert live.told == []
