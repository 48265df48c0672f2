"""What a run can be replayed from is given to whoever may replay, without values of secrets."""

import base64
from contextlib import ExitStack
from dataclasses import replace

import pytest

from gateway.export_stream import MOST_EXPORTS
from stockade.core.actions import Action
from stockade.core.api_keys import ApiKey, generate_key
from stockade.core.digests import digest_of
from stockade.core.invocations import Claim, Completion
from stockade.core.limits import Limits
from stockade.core.outcomes import Outcome
from stockade.core.principals import Role
from stockade.core.recordings import Blank, RecordedCall, Recording
from tests.unit.gateway.installation import Installation, ending, refused
from tests.unit.gateway.test_history import asgi_request

ABSENT = "018f4b3c-0000-7000-8000-000000000000"
CALLS = (
    RecordedCall(1, "now_ms", "a" * 32, answer=b"12345678"),
    RecordedCall(3, "secret_get", "b" * 32, answer=b"0a1b", blanks=(Blank("KEY", 0, 4),)),
)


async def ran(
    gateway: Installation, data: bytes = b"in", *, reference: str | None = None, **asked: object
) -> str:
    """The id of a completed run, whose attempt names this recording."""

    def end(claim: Claim, content: bytes) -> Completion:
        made = ending(Outcome.COMPLETED, content)
        attempt = replace(made.attempt, engine="wasmtime-1", recording=reference)
        keep = claim.invocation.content.record
        return replace(made, attempt=attempt, keep_input=keep)

    assert (await gateway.deploy(**asked)).status_code in {200, 201}
    answer = await gateway.worked(gateway.invoke(data), end)
    return str(answer.headers["stockade-invocation-id"])


async def recorded(gateway: Installation, recording: Recording) -> str:
    """The id of a run with this recording under its id, and stored under the recording's."""
    told: dict[str, str] = {}

    async def keep(invocation_id: str) -> str:
        own = recording.invocation_id or invocation_id
        made = replace(recording, invocation_id=own)
        box = gateway.services.recordings
        return await box.put("alice", made)

    await gateway.deploy(record=True)
    call = gateway.http.post("/v1/functions/f/invocations", content=b"in")
    invocation_id = str((await call).json()["id"])
    told["reference"] = await keep(invocation_id)

    def end(_claim: Claim, content: bytes) -> Completion:
        made = ending(Outcome.COMPLETED, content)
        return replace(made, attempt=replace(made.attempt, recording=told["reference"]))

    await gateway.work(end)
    return invocation_id


async def test_what_a_run_ran_from_comes_in_pieces_and_has_places(gateway: Installation) -> None:
    invocation_id = await ran(gateway, record=True, data=b"x" * 1000)
    exports, place = gateway.app.state.context.exports, f"/v1/invocations/{invocation_id}"
    sent: list[bytes] = []

    async def begins() -> None:
        assert exports.count == 1

    await gateway.app(*asgi_request(f"{place}/module", gateway.key, sent, begins))
    assert digest_of(b"".join(sent)) == (await gateway.upload()).json()["digest"]
    assert exports.count == 0
    with ExitStack() as held:
        for _ in range(MOST_EXPORTS // 4):
            held.enter_context(exports.listening("alice"))
        for what in ("recording", "input", "module"):
            refused(await gateway.http.get(f"{place}/{what}"), 429, "export.too_many")
    answer = await gateway.http.get(f"{place}/input")
    assert answer.content == b"x" * 1000
    assert answer.headers["content-length"] == "1000"


async def test_a_run_is_told_with_all_that_it_ran_from(gateway: Installation) -> None:
    invocation_id = await ran(gateway, env={"A": "b"}, limits={"fuel": 1000})
    answer = await gateway.http.get(f"/v1/invocations/{invocation_id}/recording")
    told = answer.json()
    assert (told["function"], told["version"], told["attempt"]) == ("f", 1, 1)
    assert (told["module"], told["abi"], told["engine"]) == (
        (await gateway.upload()).json()["digest"], "stockade:v1", "wasmtime-1",
    )  # fmt: skip
    assert (told["env"], told["limits"]["fuel"]) == ({"A": "b"}, 1000)
    assert told["input_digest"] == digest_of(b"in")
    assert told["ending"]["output_digest"] == digest_of(b"in")
    assert (told["ending"]["outcome"], told["ending"]["fuel"]) == ("completed", 42)
    assert told["recording"] is None
    module = await gateway.http.get(f"/v1/invocations/{invocation_id}/module")
    assert module.headers["content-type"] == "application/wasm"
    assert digest_of(module.content) == told["module"]


async def test_a_recording_is_told_call_by_call(gateway: Installation) -> None:
    invocation_id = await recorded(gateway, Recording("", 1, CALLS, cut=7))
    told = (await gateway.http.get(f"/v1/invocations/{invocation_id}/recording")).json()
    assert told["recording"]["cut"] == 7
    first, second = told["recording"]["calls"]
    assert base64.b64decode(first["answer"]) == b"12345678"
    assert (first["number"], first["name"], first["arguments"]) == (1, "now_ms", "a" * 32)
    assert second["blanks"] == [{"secret": "KEY", "start": 0, "length": 4}]


@pytest.mark.parametrize(
    ("data", "record", "kept"),
    [(b"x" * 1024, False, True), (b"x" * 1025, False, False), (b"x" * 1025, True, True),
     (b"x" * 40_000, False, True)],
    ids=["short", "longer", "recorded", "in the blob store"],
)  # fmt: skip
async def test_an_input_is_kept_when_it_is_short_or_asked_for(
    gateway: Installation, data: bytes, *, record: bool, kept: bool
) -> None:
    invocation_id = await ran(gateway, data, record=record)
    answer = await gateway.http.get(f"/v1/invocations/{invocation_id}/input")
    if kept:
        assert (answer.status_code, answer.content) == (200, data)
    else:
        refused(answer, 410, "invocation.input_gone")


async def test_recording_is_part_of_the_version(gateway: Installation) -> None:
    assert (await gateway.deploy()).json()["record"] is False
    again = await gateway.deploy(record=False)
    assert (again.status_code, again.json()["version"]) == (200, 1)
    asked = await gateway.deploy(record=True)
    assert (asked.status_code, asked.json()["version"], asked.json()["record"]) == (201, 2, True)
    diff = (await gateway.http.get("/v1/functions/f/diff?from=1&to=2")).json()
    assert diff["changes"] == {"record": {"from": False, "to": True}}
    refused(await gateway.deploy(record="host_calls"), 400, "request.invalid")


async def test_a_recording_of_another_attempt_is_refused(gateway: Installation) -> None:
    foreign = await recorded(gateway, Recording(ABSENT, 1, CALLS))
    path = f"/v1/invocations/{foreign}/recording"
    refused(await gateway.http.get(path), 410, "recording.lost")
    other = await recorded(gateway, Recording("", 2, CALLS))
    path = f"/v1/invocations/{other}/recording"
    refused(await gateway.http.get(path), 500, "recording.unreadable")


async def test_what_is_gone_is_told(gateway: Installation) -> None:
    invocation_id = await recorded(gateway, Recording("", 1, CALLS))
    path = f"/v1/invocations/{invocation_id}"
    gateway.payloads.clear()
    refused(await gateway.http.get(f"{path}/recording"), 410, "recording.lost")
    await gateway.blobs.delete((await gateway.upload()).json()["digest"])
    refused(await gateway.http.get(f"{path}/module"), 404, "module.not_found")
    absent = await gateway.http.get(f"{path}/recording?attempt=2")
    refused(absent, 404, "invocation.attempt_not_found")
    refused(await gateway.http.get(f"{path}/recording?attempt=x"), 400, "request.query_invalid")


async def test_one_that_has_not_ended_has_nothing_yet(gateway: Installation) -> None:
    await gateway.deploy()
    answer = await gateway.http.post("/v1/functions/f/invocations", content=b"in")
    path = f"/v1/invocations/{answer.json()['id']}"
    gone = await gateway.http.get(f"{path}/recording")
    refused(gone, 404, "invocation.attempt_not_found")
    assert (await gateway.http.get(f"{path}/input")).content == b"in"


@pytest.mark.parametrize("part", ["recording", "input", "module"])
async def test_reading_is_not_enough_and_others_see_nothing(
    gateway: Installation, part: str
) -> None:
    invocation_id = await ran(gateway)
    path = f"/v1/invocations/{invocation_id}/{part}"
    for role, scopes, code in (
        (Role.VIEWER, (), "auth.denied"),
        (Role.INVOKER, (), "auth.denied"),
        (Role.ADMIN, ("read", "invoke", "deploy:g"), "auth.scope_missing"),
    ):
        text, made = generate_key("test")
        key = ApiKey(made.id, "alice", "k", made.secret_hash, 0, role=role, scopes=scopes)
        await gateway.catalog.add_key(key)
        async with gateway.client(text) as caller:
            refused(await caller.get(path), 403, code)
    text, made = generate_key("test")
    key = ApiKey(made.id, "alice", "k", made.secret_hash, 0, role=Role.ADMIN, scopes=("deploy:f",))
    await gateway.catalog.add_key(key)
    async with gateway.client(text) as caller:
        assert (await caller.get(path)).status_code == 200
    async with gateway.client(await gateway.new_key("bob")) as bob:
        refused(await bob.get(path), 404, "invocation.not_found")
    assert Action.REPLAY.is_audited


async def test_taking_a_recording_is_in_the_audit_log(gateway: Installation) -> None:
    invocation_id = await ran(gateway)
    await gateway.http.get(f"/v1/invocations/{invocation_id}/recording")
    await gateway.app.state.context.audit.flush()
    entries = (await gateway.http.get("/v1/audit?action=replay")).json()["entries"]
    assert [(entry["kind"], entry["object"]) for entry in entries] == [
        ("done", invocation_id),
        ("begun", invocation_id),
    ]


async def test_the_limits_are_those_that_the_attempt_had(gateway: Installation) -> None:
    raised = Limits(fuel=7, wall_ms=9)

    def end(_claim: Claim, content: bytes) -> Completion:
        made = ending(Outcome.COMPLETED, content)
        return replace(made, attempt=replace(made.attempt, limits=raised))

    await gateway.deploy(limits={"fuel": 1000})
    answer = await gateway.worked(gateway.invoke(b"in"), end)
    path = f"/v1/invocations/{answer.headers['stockade-invocation-id']}/recording"
    limits = (await gateway.http.get(path)).json()["limits"]
    assert (limits["fuel"], limits["wall_ms"]) == (7, 9)
