"""The broker answers only what was granted, within bounds, and forgets no secret it gave."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from sandbox_worker.broker import MAX_RUN_BYTES, HostCallBroker, HostCallsOfRun
from sandbox_worker.guest.frames import HostCall, HostReply
from stockade.core.egress import EgressPolicy, HttpGrant
from stockade.core.errors import StockadeError
from stockade.core.guest_spans import GuestSpan
from stockade.core.http_messages import HttpRequest, HttpResponse
from stockade.core.invocations import Invocation
from stockade.core.key_values import KeyValueQuota
from stockade.core.modules import Abi, FunctionContent
from stockade.core.outcomes import Event, LogLine, Outcome, Progress, RunResult
from stockade.infra.memory.memory_catalog import MemoryCatalog
from stockade.infra.memory.memory_key_values import MemoryKeyValueStore
from stockade.infra.secret_box import AesGcmSecretBox
from stockade.infra.system_clock import SystemClock

CLOCK, BOX = SystemClock(), AesGcmSecretBox((b"k" * 32,))
SECRET = b"s3cret-value"
FETCH = HostCall("http_fetch", data=b"GET https://a.example/\n\n")


class FakeEgress:
    """The `HttpEgress` port: answers alike, or refuses with what it was given."""

    policy = EgressPolicy(max_fetches=2)

    def __init__(self) -> None:
        self.asked: list[tuple[str, HttpRequest, Sequence[HttpGrant]]] = []
        self.refusal: StockadeError | None = None
        self.response = HttpResponse(200, (("a", "b"),), b"hi")

    async def fetch(
        self, tenant: str, request: HttpRequest, grants: Sequence[HttpGrant]
    ) -> HttpResponse:
        self.asked.append((tenant, request, grants))
        if self.refusal is not None:
            raise self.refusal
        return self.response


@pytest.fixture
async def broker() -> HostCallBroker:
    catalog = MemoryCatalog()
    for tenant in ("acme", "rival"):
        await catalog.ensure_tenant(tenant)
        sealed = BOX.seal(tenant, "KEY", SECRET + tenant.encode())
        await catalog.put_secret(tenant, "KEY", sealed, 1)
    return HostCallBroker(FakeEgress(), MemoryKeyValueStore(CLOCK, KeyValueQuota()), catalog, BOX)


def opened(broker: HostCallBroker, *grants: str, tenant: str = "acme") -> HostCallsOfRun:
    content = FunctionContent("sha256:x", Abi.STOCKADE_V1, deterministic=False, grants=grants)
    return broker.open(Invocation("id", tenant, "f", 1, content, 0, input_inline=b""))


async def refused(run: HostCallsOfRun, call: HostCall, code: str) -> None:
    reply = await run.answer(call)
    assert (reply.status, reply.stop) == (2, None)
    assert reply.data.decode().startswith(f"{code}: ")


async def test_values_are_kept_for_the_tenant(broker: HostCallBroker) -> None:
    run = opened(broker, "kv:orders")
    assert await run.answer(HostCall("kv_get", "orders/1")) == HostReply(1)
    assert await run.answer(HostCall("kv_set", "orders/1", b"one")) == HostReply(0)
    assert await run.answer(HostCall("kv_get", "orders/1")) == HostReply(0, b"one")
    rival = opened(broker, "kv:orders", tenant="rival")
    assert await rival.answer(HostCall("kv_get", "orders/1")) == HostReply(1)
    assert await run.answer(HostCall("kv_delete", "orders/1")) == HostReply(0)
    assert await run.answer(HostCall("kv_delete", "orders/1")) == HostReply(1)
    added = await run.answer(HostCall("kv_add", "orders/n", number=-3))
    assert added == HostReply(0, (-3).to_bytes(8, "little", signed=True))


@pytest.mark.parametrize(
    ("grants", "call", "code"),
    [
        ((), HostCall("kv_get", "a/b"), "host_call.not_granted"),
        (("kv:a",), HostCall("kv_get", "b/c"), "host_call.not_granted"),
        (("kv:a:read",), HostCall("kv_set", "a/b", b"x"), "host_call.not_granted"),
        (("kv:a:read", "kv:b"), HostCall("kv_set", "a/b", b"x"), "host_call.not_granted"),
        (("kv:a:read", "kv:b"), HostCall("kv_delete", "a/b"), "host_call.not_granted"),
        (("kv:a:read", "kv:b"), HostCall("kv_add", "a/b"), "host_call.not_granted"),
        (("kv:a",), HostCall("kv_get", "no key"), "kv.key_invalid"),
        (("kv:a",), HostCall("kv_set", "a/b", bytes(65537)), "kv.value_too_large"),
        ((), HostCall("secret_get", "KEY"), "host_call.not_granted"),
        (("secret:OTHER",), HostCall("secret_get", "KEY"), "host_call.not_granted"),
        ((), FETCH, "host_call.not_granted"),
        ((), HostCall("progress", "x", number=1), "host_call.not_granted"),
        (("http_fetch:GET https://a.example",), HostCall("http_fetch", data=b"?"),
         "http_fetch.malformed"),
        (("kv:a",), HostCall("format_disk"), "host_call.not_granted"),
        (("kv:a",), HostCall("__init__"), "host_call.not_granted"),
        (("log",), HostCall("log", "x"), "host_call.not_granted"),
    ],
)  # fmt: skip
async def test_what_is_not_granted_or_malformed_is_an_answer(
    broker: HostCallBroker, grants: tuple[str, ...], call: HostCall, code: str
) -> None:
    await refused(opened(broker, *grants), call, code)


async def test_a_run_tells_which_upstream_it_met_last(broker: HostCallBroker) -> None:
    egress = broker.egress
    assert isinstance(egress, FakeEgress)
    api = "http_fetch:a.example"
    completed = RunResult(Outcome.COMPLETED)
    rejected = RunResult(Outcome.REJECTED, retry_hint=True)
    run = opened(broker, "http_fetch:GET https://a.example")
    assert run.of_result(completed) == completed
    egress.response = HttpResponse(200, upstream=api)
    await run.answer(FETCH)
    assert run.of_result(completed) == replace(completed, upstream=api)
    assert run.of_result(rejected) == rejected
    egress.refusal = StockadeError("http_fetch.unreachable", "", detail={"upstream": api})
    await run.answer(FETCH)
    assert run.of_result(rejected) == replace(rejected, upstream=api, cause="connect")
    assert run.of_result(completed) == completed


async def test_a_secret_is_given_and_kept_out_of_what_is_recorded(broker: HostCallBroker) -> None:
    run = opened(broker, "secret:KEY", "secret:GONE")
    assert await run.answer(HostCall("secret_get", "GONE")) == HostReply(1)
    assert await run.answer(HostCall("secret_get", "KEY")) == HostReply(0, SECRET + b"acme")
    said = f"it is {SECRET.decode()}acme!"
    result = RunResult(
        Outcome.REJECTED,
        output=said.encode(),
        detail=said,
        logs=(LogLine(2, said), LogLine(2, "harmless"), LogLine(2, "cut s3cret-va")),
        events=(Event(said, said),),
    )
    redacted = run.redaction.of_result(result)
    assert redacted.detail == "it is [secret KEY]!"
    assert [line.text for line in redacted.logs] == [
        "it is [secret KEY]!",
        "harmless",
        "cut [secret KEY]",
    ]
    assert redacted.events == (Event("it is [secret KEY]!", "it is [secret KEY]!"),)
    assert redacted.output == result.output, "what it answers is the guest's own business"


KEPT_BEFORE = RunResult(
    Outcome.REJECTED,
    detail="s3cret-valueacme",
    logs=(LogLine(2, "s3cret-valueacme"),),
    events=(Event("e", "s3cret-valueacme"),),
    spans=(GuestSpan("s3cret-valueacme", 0, 0, 0, ()),),
)


async def test_a_secret_of_an_earlier_run_is_kept_out_though_this_one_never_asks(
    broker: HostCallBroker,
) -> None:
    told = await opened(broker, "secret:KEY", "secret:GONE", "kv:n").recorded(KEPT_BEFORE)
    assert "s3cret" not in str(told)
    assert (told.detail, told.logs) == ("[secret KEY]", (LogLine(2, "[secret KEY]"),))


async def test_while_secrets_cannot_be_read_nothing_of_what_was_said_is_recorded(
    broker: HostCallBroker,
) -> None:
    other = replace(broker, secret_box=AesGcmSecretBox((b"o" * 32,)))
    told = await opened(other, "secret:KEY").recorded(KEPT_BEFORE)
    assert "s3cret" not in str(told)
    assert told.outcome is Outcome.REJECTED
    assert (told.logs_truncated, told.events_truncated, told.spans_dropped) == (True, True, 1)
    trapped = RunResult(Outcome.TRAPPED, detail="The guest trapped: unreachable.")
    assert await opened(other, "secret:KEY").recorded(trapped) == trapped


async def test_without_secrets_a_result_stays_as_it_is(broker: HostCallBroker) -> None:
    result = RunResult(Outcome.REJECTED, detail=SECRET.decode())
    assert opened(broker).redaction.of_result(result) is result


async def test_each_line_of_a_secret_is_kept_out(broker: HostCallBroker) -> None:
    sealed = BOX.seal("acme", "PEM", b"-----BEGIN-----\nabcdef\n--\n")
    await broker.catalog.put_secret("acme", "PEM", sealed, 1)
    run = opened(broker, "secret:PEM")
    await run.answer(HostCall("secret_get", "PEM"))
    assert run.redaction.of_text("got abcdef --") == "got [secret PEM] --"


async def test_a_secret_that_cannot_be_opened_is_told(broker: HostCallBroker) -> None:
    await broker.catalog.put_secret("acme", "KEY", b"not sealed", 1)
    await refused(opened(broker, "secret:KEY"), HostCall("secret_get", "KEY"), "secret.unreadable")


async def test_requests_are_made_under_the_versions_grants(broker: HostCallBroker) -> None:
    run = opened(broker, "http_fetch:GET https://a.example")
    assert await run.answer(FETCH) == HostReply(0, b"200\na: b\n\nhi")
    egress = broker.egress
    assert isinstance(egress, FakeEgress)
    ((tenant, request, grants),) = egress.asked
    assert (tenant, request.url.host) == ("acme", "a.example")
    assert [grant.host for grant in grants] == ["a.example"]
    egress.refusal = StockadeError("http_fetch.timeout", "Too slow.")
    assert await run.answer(FETCH) == HostReply(2, b"http_fetch.timeout: Too slow.")
    await refused(run, FETCH, "http_fetch.too_many")
    assert len(egress.asked) == 2


async def test_the_bytes_of_all_calls_are_bounded(broker: HostCallBroker) -> None:
    run = opened(broker, "http_fetch:GET https://a.example", "kv:a")
    egress = broker.egress
    assert isinstance(egress, FakeEgress)
    egress.response = replace(egress.response, body=bytes(MAX_RUN_BYTES - 100))
    assert (await run.answer(FETCH)).status == 0
    await refused(run, HostCall("kv_get", "a/" + "b" * 100), "host_call.too_many_bytes")


async def test_progress_is_noted_within_its_bounds(broker: HostCallBroker) -> None:
    run = opened(broker, "progress")
    assert run.progress is None
    assert await run.answer(HostCall("progress", "half", number=50)) == HostReply(0)
    assert run.progress == Progress(50, "half")
    await run.answer(HostCall("progress", "x" * 10_000, number=10**9))
    assert run.progress == Progress(100, "x" * 256)
