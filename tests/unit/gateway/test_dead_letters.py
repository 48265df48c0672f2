"""What failed for good is listed, and queued again on request."""

import pytest

from stockade.core.actions import Action
from stockade.core.authorization import Decision, Question, Vouching
from stockade.core.invocations import Claim, Completion
from stockade.core.outcomes import Outcome
from tests.unit.gateway.installation import Installation, ending, installed, refused

LIST, REDRIVE = "/v1/dead-letters", "/v1/dead-letters/redrive"
ABSENT = "018f4b3c-0000-7000-8000-000000000000"


def trapping(_claim: Claim, _data: bytes) -> Completion:
    return ending(Outcome.TRAPPED, detail="It trapped.")


async def dead(gateway: Installation) -> str:
    """A fresh dead letter's id."""
    answer = await gateway.worked(gateway.invoke(b"input"), trapping)
    return str(refused(answer, 422, "invocation.trapped")["invocation_id"])


async def test_dead_letters_are_listed_page_by_page(gateway: Installation) -> None:
    await gateway.deploy()
    made = [await dead(gateway) for _ in range(5)][::-1]
    page = (await gateway.http.get(LIST, params={"limit": "2"})).json()
    assert [one["id"] for one in page["dead_letters"]] == made[:2]
    assert page["dead_letters"][0]["outcome"] == "trapped"
    assert page["next"] == made[1]
    rest = (await gateway.http.get(LIST, params={"after": made[1]})).json()
    assert [one["id"] for one in rest["dead_letters"]] == made[2:]
    assert rest["next"] is None


async def test_one_is_redriven_with_its_input(gateway: Installation) -> None:
    await gateway.deploy()
    invocation_id = await dead(gateway)
    answer = await gateway.http.post(f"/v1/invocations/{invocation_id}/redrive")
    assert (answer.status_code, answer.json()) == (202, {"id": invocation_id})
    await gateway.work()
    result = await gateway.http.get(f"/v1/invocations/{invocation_id}/result")
    assert (result.status_code, result.content) == (200, b"input")
    record = (await gateway.http.get(f"/v1/invocations/{invocation_id}")).json()
    assert [one["outcome"] for one in record["attempts"]] == ["trapped", "completed"]


async def test_many_are_redriven_and_the_others_told(gateway: Installation) -> None:
    await gateway.deploy()
    first, second = await dead(gateway), await dead(gateway)
    done = (await gateway.worked(gateway.invoke())).headers["stockade-invocation-id"]
    ids = [first, done, ABSENT, "no id", second]
    answer = (await gateway.http.post(REDRIVE, json={"ids": ids})).json()
    assert answer["redriven"] == [first, second]
    assert [(one["id"], one["code"]) for one in answer["refused"]] == [
        (done, "invocation.not_dead"),
        (ABSENT, "invocation.not_found"),
        ("no id", "invocation.not_found"),
    ]


async def test_one_that_was_attempted_too_often_is_not_queued_again(
    gateway: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.usecases.redrive_dead_letters.MOST_ATTEMPTS", 2)
    await gateway.deploy()
    often, fresh = await dead(gateway), await dead(gateway)
    assert (await gateway.http.post(f"/v1/invocations/{often}/redrive")).status_code == 202
    await gateway.work(trapping)
    again = await gateway.http.post(f"/v1/invocations/{often}/redrive")
    assert refused(again, 409, "invocation.too_many_attempts")["facts"] == {"most": 2}
    answer = (await gateway.http.post(REDRIVE, json={"all": True})).json()
    assert answer["redriven"] == [fresh]
    answer = (await gateway.http.post(REDRIVE, json={"ids": [often]})).json()
    assert [one["code"] for one in answer["refused"]] == ["invocation.too_many_attempts"]


async def test_all_are_redriven(gateway: Installation) -> None:
    await gateway.deploy()
    made = {await dead(gateway) for _ in range(3)}
    answer = (await gateway.http.post(REDRIVE, json={"all": True})).json()
    assert set(answer["redriven"]) == made
    assert (await gateway.http.get(LIST)).json()["dead_letters"] == []


async def test_another_tenants_are_not_there(gateway: Installation) -> None:
    await gateway.deploy()
    invocation_id = await dead(gateway)
    async with gateway.client(await gateway.new_key("bob")) as bob:
        assert (await bob.get(LIST)).json()["dead_letters"] == []
        path = f"/v1/invocations/{invocation_id}/redrive"
        refused(await bob.post(path), 404, "invocation.not_found")
        assert (await bob.post(REDRIVE, json={"all": True})).json()["redriven"] == []


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=1001",
        "limit=-1",
        "limit=-0",
        "limit=x",
        "limit=%D9%A1",
        "limit=000001999999",
        "limit=00000100000",
        f"limit=000001{'9' * 5000}",
    ],
)
async def test_a_bad_page_is_refused(gateway: Installation, query: str) -> None:
    refused(await gateway.http.get(f"{LIST}?{query}"), 400, "request.query_invalid")


async def test_a_bad_cursor_is_refused(gateway: Installation) -> None:
    refused(await gateway.http.get(f"{LIST}?after=x"), 404, "invocation.not_found")


@pytest.mark.parametrize(
    "asked", [{}, {"ids": []}, {"ids": [ABSENT], "all": True}, {"ids": [ABSENT] * 1001}]
)
async def test_a_redrive_says_what_it_wants(
    gateway: Installation, asked: dict[str, object]
) -> None:
    refused(await gateway.http.post(REDRIVE, json=asked), 400, "request.invalid")


@pytest.mark.parametrize(
    ("path", "code"),
    [
        (f"/v1/invocations/{ABSENT}/redrive", "invocation.not_found"),
        ("/v1/invocations/x/redrive", "invocation.not_found"),
    ],
)
async def test_what_is_not_there_cannot_be_redriven(
    gateway: Installation, path: str, code: str
) -> None:
    refused(await gateway.http.post(path), 404, code)


class NotOfF:
    """The `PolicyEngine` port: lets nobody queue what is of the function `f` again."""

    version, alarm = "1", None

    def decide(self, question: Question) -> Decision:
        redrives = question.action is Action.REDRIVE and question.resource.name == "f"
        return Decision(not redrives, ("not-of-f",))

    def vouches(self, vouching: Vouching) -> Decision:
        del vouching
        return Decision(allowed=True)


async def test_a_policy_that_keeps_one_function_back_holds_for_many_at_once() -> None:
    async with installed(policies=NotOfF()) as gateway:
        await gateway.deploy()
        kept = await dead(gateway)
        await gateway.deploy("g")
        call = gateway.worked(gateway.invoke(b"", "g"), trapping)
        free = str(refused(await call, 422, "invocation.trapped")["invocation_id"])
        refused(await gateway.http.post(f"/v1/invocations/{kept}/redrive"), 403, "auth.denied")
        named = (await gateway.http.post(REDRIVE, json={"ids": [kept]})).json()
        assert named["redriven"] == []
        assert [(one["id"], one["code"]) for one in named["refused"]] == [(kept, "auth.denied")]
        every = (await gateway.http.post(REDRIVE, json={"all": True})).json()
        assert every["redriven"] == [free]
