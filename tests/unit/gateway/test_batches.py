"""Many inputs in one call: each line answered, none lost, however the body comes."""

import json
from collections.abc import AsyncIterator, Sequence

import pytest

from stockade.core.errors import StockadeError
from stockade.core.invocations import Invocation, SubmitReceipt
from stockade.core.outcomes import Outcome
from stockade.core.rate_limits import RateLimit
from stockade.core.shares import SharePolicy, TenantShare
from stockade.infra.memory.memory_queue import MemoryInvocationQueue
from stockade.infra.memory.memory_queue_state import MemoryQueueState
from stockade.infra.queue_settings import QueueSettings
from stockade.infra.system_clock import SystemClock
from tests.unit.gateway.installation import Installation, ending, installed, refused

PATH = "/v1/functions/f/invocations:batch"
NDJSON = {"content-type": "application/x-ndjson"}


async def sent(
    gateway: Installation, body: bytes | AsyncIterator[bytes], **headers: str
) -> list[dict[str, object]]:
    answer = await gateway.http.post(PATH, content=body, headers=NDJSON | headers)
    assert answer.status_code == 202, answer.text
    assert answer.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in answer.text.splitlines()]


async def in_pieces(body: bytes, size: int) -> AsyncIterator[bytes]:
    for at in range(0, len(body), size):
        yield body[at : at + size]


async def inputs(gateway: Installation) -> list[bytes]:
    """The inputs of all that waits, which is worked off."""
    while claims := await gateway.worker.claim(100, 0.0):
        for claim in claims:
            assert await gateway.worker.begin(claim, 1)
            assert await gateway.worker.complete(claim, ending(Outcome.COMPLETED))
        gateway.claims += claims
    return sorted(claim.invocation.input_inline or b"" for claim in gateway.claims)


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
@pytest.mark.parametrize("size", [1, 7, 1 << 20])
async def test_each_line_is_an_invocation_in_order(
    gateway: Installation, end: bytes, size: int
) -> None:
    await gateway.deploy()
    lines = [b'{"n": %d}' % number for number in range(5)]
    answers = await sent(gateway, in_pieces(b"\n".join(lines) + end, size))
    ids = [str(answer["id"]) for answer in answers]
    assert len(set(ids)) == 5
    assert await inputs(gateway) == lines
    assert sorted(claim.invocation.id for claim in gateway.claims) == sorted(ids)


async def test_ten_thousand_lines_are_taken_and_one_more_is_told(gateway: Installation) -> None:
    await gateway.deploy()
    answers = await sent(gateway, b"1\n" * 10_001)
    assert len(answers) == 10_001
    assert all("id" in answer for answer in answers[:-1])
    assert answers[-1]["code"] == "batch.too_many_lines"


async def test_a_bad_line_is_answered_and_the_others_go_on(gateway: Installation) -> None:
    await gateway.deploy(limits={"input_bytes": 10})
    lines = [b"1", b"", b"{", b"\xff", b"[" * 100, b'"too long for it"', b"1 2", b"2"]
    answers = await sent(gateway, in_pieces(b"\n".join(lines), 3))
    codes = [answer.get("code") for answer in answers]
    bad = "batch.line_invalid"
    long = "request.too_large"
    assert codes == [None, bad, bad, bad, long, long, bad, None]
    assert await inputs(gateway) == [b"1", b"2"]


async def test_the_same_batch_under_one_key_makes_the_same_invocations(
    gateway: Installation,
) -> None:
    await gateway.deploy()
    first = await sent(gateway, b"1\n2\n3", **{"idempotency-key": "k"})
    again = await sent(gateway, b"1\n2\n3\n4", **{"idempotency-key": "k"})
    assert again[:3] == first
    changed = await sent(gateway, b"9\n2", **{"idempotency-key": "k"})
    assert changed[0]["code"] == "invocation.idempotency_conflict"
    assert changed[1] == first[1]
    assert await inputs(gateway) == [b"1", b"2", b"3", b"4"]


async def test_what_was_taken_stands_when_the_queue_goes_away() -> None:
    class Fails(MemoryInvocationQueue):
        groups = 0

        async def submit_many(
            self, tenant: str, invocations: Sequence[Invocation]
        ) -> Sequence[SubmitReceipt | StockadeError]:
            self.groups += 1
            if self.groups == 2:
                raise StockadeError("queue.unavailable", "Away.", retryable=True)
            return await super().submit_many(tenant, invocations)

    queue = Fails(SystemClock(), state=MemoryQueueState(QueueSettings()))
    async with installed(queue=queue) as gateway:
        await gateway.deploy()
        answers = await sent(gateway, b"1\n" * 300)
    codes = [answer.get("code") for answer in answers]
    assert codes == [None] * 128 + ["queue.unavailable"] * 128 + [None] * 44


async def test_a_full_backlog_is_told_line_by_line() -> None:
    state = MemoryQueueState(QueueSettings(backlog_limit=10))
    settings = QueueSettings(backlog_limit=10)
    queue = MemoryInvocationQueue(SystemClock(), settings=settings, state=state)
    async with installed(queue=queue) as gateway:
        await gateway.deploy()
        answers = await sent(gateway, b"1\n" * 30)
    codes = [answer.get("code") for answer in answers]
    assert codes == [None] * 18 + ["queue.full"] * 12


async def test_lines_over_the_rate_are_told_when_to_come_again() -> None:
    shares = SharePolicy(TenantShare(rate_limit=RateLimit(0.01, 4)))
    async with installed(shares=shares) as gateway:
        await gateway.deploy()
        answers = await sent(gateway, b"1\n" * 6)
    assert [answer.get("code") for answer in answers] == [None] * 4 + ["tenant.rate_limited"] * 2
    facts = answers[-1]["facts"]
    assert isinstance(facts, dict)
    assert 90_000 < facts["retry_after_ms"] <= 100_000


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"content-type": "application/json"}, 415, "request.content_type"),
        (NDJSON | {"content-encoding": "gzip"}, 415, "request.encoding_unsupported"),
        (NDJSON | {"stockade-priority": "soon"}, 400, "request.header_invalid"),
        (NDJSON | {"authorization": "Bearer no"}, 401, "auth.key_malformed"),
    ],
)
async def test_a_batch_is_refused_as_a_whole(
    gateway: Installation, headers: dict[str, str], status: int, code: str
) -> None:
    await gateway.deploy()
    refused(await gateway.http.post(PATH, content=b"1\n", headers=headers), status, code)


async def test_an_unknown_function_is_told_before_anything_is_read(gateway: Installation) -> None:
    answer = await gateway.http.post(PATH, content=b"1\n", headers=NDJSON)
    refused(answer, 404, "function.not_found")


async def test_an_empty_batch_has_no_answers(gateway: Installation) -> None:
    await gateway.deploy()
    assert await sent(gateway, b"") == []
