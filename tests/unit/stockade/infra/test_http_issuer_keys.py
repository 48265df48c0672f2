"""Keys of a real issuer over HTTP: remembered, fetched anew, and when it misbehaves or is away."""

import asyncio
import gzip
import threading
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from stockade.core.errors import StockadeError
from stockade.infra import http_issuer_keys
from stockade.infra.http_issuer_keys import (
    FRESH_SECONDS,
    MAX_RESPONSE_BYTES,
    MAX_STALE_SECONDS,
    MIN_INTERVAL_SECONDS,
    HttpIssuerKeys,
)
from tests.unit.oidc_issuer import Answer, Issuer, ec_jwk, ok, rsa_jwk, serving

DISCOVERY, JWKS = "/ci/.well-known/openid-configuration", "/ci/jwks"


class Time:
    """Goes on when it is told to."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with serving() as running:
        yield running


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
async def keys(time: Time) -> AsyncIterator[HttpIssuerKeys]:
    made = HttpIssuerKeys(time)
    yield made
    await made.aclose()


async def test_keys_are_found_by_discovery_and_remembered(
    issuer: Issuer, keys: HttpIssuerKeys
) -> None:
    found = await keys.key(issuer.trusted(), "one")
    assert found is not None
    assert (found["kid"], found["kty"]) == ("one", "RSA")
    for _ in range(5):
        assert await keys.key(issuer.trusted(), "one") == found
    assert issuer.asked == [DISCOVERY, JWKS]


async def test_keys_are_where_the_policy_says(issuer: Issuer, keys: HttpIssuerKeys) -> None:
    issuer.answers["/elsewhere"] = lambda: ok({"keys": [ec_jwk("one")]})
    jwks_url = f"http://localhost:{issuer.port}/elsewhere"
    found = await keys.key(issuer.trusted(jwks_url=jwks_url), "one")
    assert found is not None
    assert found["kty"] == "EC"
    assert issuer.asked == ["/elsewhere"]
    # A policy that changes the place is not answered out of what was known before.
    found = await keys.key(issuer.trusted(), "one")
    assert found is not None
    assert found["kty"] == "RSA"


async def test_many_at_once_fetch_once(issuer: Issuer, keys: HttpIssuerKeys) -> None:
    found = await asyncio.gather(*(keys.key(issuer.trusted(), "one") for _ in range(50)))
    assert all(found)
    assert issuer.asked == [DISCOVERY, JWKS]


async def test_a_rotated_key_is_fetched_and_a_storm_of_unknown_ones_is_not(
    issuer: Issuer, keys: HttpIssuerKeys, time: Time
) -> None:
    assert await keys.key(issuer.trusted(), "one")
    issuer.keys = [rsa_jwk("two")]
    assert await keys.key(issuer.trusted(), "two") is None
    time.seconds += MIN_INTERVAL_SECONDS
    assert await keys.key(issuer.trusted(), "two")
    assert await keys.key(issuer.trusted(), "one") is None
    before = len(issuer.asked)
    for number in range(200):
        assert await keys.key(issuer.trusted(), f"made-up-{number}") is None
    assert len(issuer.asked) == before
    assert await keys.key(issuer.trusted(), "two")


async def test_old_keys_are_looked_at_anew(
    issuer: Issuer, keys: HttpIssuerKeys, time: Time
) -> None:
    assert await keys.key(issuer.trusted(), "one")
    issuer.keys = []
    time.seconds += FRESH_SECONDS - 1
    assert await keys.key(issuer.trusted(), "one")
    time.seconds += 1
    assert await keys.key(issuer.trusted(), "one") is None


async def test_while_the_issuer_is_away_its_last_keys_count_for_a_day(
    keys: HttpIssuerKeys, time: Time
) -> None:
    with serving() as issuer:
        assert await keys.key(issuer.trusted(), "one")
    time.seconds += MAX_STALE_SECONDS - 1
    assert await keys.key(issuer.trusted(), "one")
    # Whether it has this key now, nobody knows.
    await _refused(keys, issuer, "two")
    time.seconds += 1
    await _refused(keys, issuer, "one")
    with serving(issuer):
        time.seconds += MIN_INTERVAL_SECONDS
        assert await keys.key(issuer.trusted(), "one")
        assert await keys.key(issuer.trusted(), "two") is None


async def test_an_issuer_that_is_away_is_not_asked_again_and_again(
    issuer: Issuer, keys: HttpIssuerKeys, time: Time
) -> None:
    issuer.answers[DISCOVERY] = lambda: (503, {}, b"")
    for _ in range(20):
        error = await _refused(keys, issuer, "one")
        assert error.detail["retry_after_ms"] == MIN_INTERVAL_SECONDS * 1000 + 1
    assert issuer.asked == [DISCOVERY]
    time.seconds += MIN_INTERVAL_SECONDS
    del issuer.answers[DISCOVERY]
    assert await keys.key(issuer.trusted(), "one")


def _discovery(**changes: object) -> Callable[[Issuer], Callable[[], Answer]]:
    def of(issuer: Issuer) -> Callable[[], Answer]:
        made = {"issuer": issuer.url, "jwks_uri": f"{issuer.url}/jwks"}
        return lambda: ok(made | changes)

    return of


def _answers(
    status: int, content: bytes, **headers: str
) -> Callable[[Issuer], Callable[[], Answer]]:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _: lambda: (status, sent, content)


HOSTILE = {
    "another issuer's document": (DISCOVERY, _discovery(issuer="https://other.example.org")),
    "keys elsewhere": (DISCOVERY, _discovery(jwks_uri="https://evil.example.org/jwks")),
    "keys at another port": (DISCOVERY, _discovery(jwks_uri="http://127.0.0.1:1/jwks")),
    "keys in a file": (DISCOVERY, _discovery(jwks_uri="file:///etc/passwd")),
    "keys with a password": (DISCOVERY, _discovery(jwks_uri="http://a:b@127.0.0.1/jwks")),
    "keys at a number": (DISCOVERY, _discovery(jwks_uri=5)),
    "no document": (DISCOVERY, _answers(200, b"<html>")),
    "a list": (DISCOVERY, _answers(200, b"[]")),
    "a deep document": (DISCOVERY, _answers(200, b"[" * 200_000)),
    "a deep field": (DISCOVERY, _answers(200, b'{"x":' + b"[" * 200_000)),
    "no discovery": (DISCOVERY, _answers(404, b"")),
    "redirected discovery": (DISCOVERY, _answers(302, b"", Location="http://127.0.0.1/x")),
    "redirected keys": (JWKS, _answers(301, b"", Location="http://127.0.0.1/x")),
    "no keys": (JWKS, _answers(200, b"{}")),
    "too much": (JWKS, _answers(200, b" " * (MAX_RESPONSE_BYTES + 1))),
    "compressed": (
        JWKS,
        _answers(200, gzip.compress(b'{"keys": []}'), Content_Encoding="gzip"),
    ),
    "half": (JWKS, _answers(200, b"{", Content_Length="100")),
    "no HTTP": (JWKS, _answers(200, b"", Content_Length="minus")),
}


@pytest.mark.parametrize(("path", "make"), HOSTILE.values(), ids=HOSTILE)
async def test_an_issuer_that_misbehaves_is_as_good_as_away(
    issuer: Issuer,
    keys: HttpIssuerKeys,
    path: str,
    make: Callable[[Issuer], Callable[[], Answer]],
) -> None:
    issuer.answers[path] = make(issuer)
    error = await _refused(keys, issuer, "one")
    assert str(issuer.port) not in error.message


async def test_sound_keys_elsewhere_are_not_even_asked_for(
    issuer: Issuer, keys: HttpIssuerKeys
) -> None:
    with serving() as other:
        elsewhere = {"issuer": issuer.url, "jwks_uri": f"{other.url}/jwks"}
        issuer.answers[DISCOVERY] = lambda: ok(elsewhere)
        await _refused(keys, issuer, "one")
        assert other.asked == []


@pytest.mark.parametrize("status", [201, 203, 302, 404, 500])
async def test_sound_keys_under_another_status_do_not_count(
    issuer: Issuer, keys: HttpIssuerKeys, status: int
) -> None:
    headers = {"Location": f"{issuer.url}/jwks"}
    issuer.answers[JWKS] = lambda: (status, headers, ok({"keys": issuer.keys})[2])
    await _refused(keys, issuer, "one")
    assert issuer.asked == [DISCOVERY, JWKS]


async def test_an_issuer_that_does_not_answer_in_time(
    issuer: Issuer, keys: HttpIssuerKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_issuer_keys, "TIMEOUT_SECONDS", 0.05)
    answered = threading.Event()

    def wait() -> Answer:
        assert answered.wait(60)
        return ok({})

    issuer.answers[DISCOVERY] = wait
    await _refused(keys, issuer, "one")
    answered.set()


async def _refused(keys: HttpIssuerKeys, issuer: Issuer, key_id: str) -> StockadeError:
    with pytest.raises(StockadeError) as caught:
        await keys.key(issuer.trusted(), key_id)
    assert (caught.value.code, caught.value.retryable) == ("oidc.issuer_unavailable", True)
    return caught.value
