import hmac
import re
import zlib
from dataclasses import asdict, replace

import pytest

from stockade.core import api_keys
from stockade.core.api_keys import ApiKey, PresentedKey, generate_key, parse_key
from stockade.core.errors import StockadeError


def _stored(key: PresentedKey, expires_ms: int | None = None) -> ApiKey:
    return ApiKey(key.id, "acme", "ci", key.secret_hash, created_ms=0, expires_ms=expires_ms)


def _sealed(body: str) -> str:
    return f"{body}{zlib.crc32(body.encode()):08x}"


def test_a_generated_key_reads_back_as_itself() -> None:
    text, key = generate_key("prod")
    assert re.fullmatch(r"stk_prod_[a-z0-9]{12}_[a-z0-9]{40}", text)
    assert parse_key(text) == key


def test_generated_keys_differ() -> None:
    made = [generate_key("dev") for _ in range(50)]
    assert len({text for text, _ in made}) == 50
    assert len({key.id for _, key in made}) == 50
    assert len({key.secret_hash for _, key in made}) == 50


def test_what_is_stored_holds_nothing_of_the_secret() -> None:
    text, key = generate_key("dev")
    secret = text.split("_")[3][:32]
    assert secret not in repr(asdict(_stored(key)))
    assert secret.encode() not in key.secret_hash
    assert len(key.secret_hash) == 32


@pytest.mark.parametrize(
    ("now_ms", "opens"), [(0, True), (999, True), (1000, False), (1001, False)]
)
def test_a_key_opens_until_it_expires(now_ms: int, opens: bool) -> None:  # noqa: FBT001 - a case
    _, key = generate_key("dev")
    assert key.opens(_stored(key, expires_ms=1000), now_ms) is opens


def test_a_key_without_an_end_opens_for_ever() -> None:
    _, key = generate_key("dev")
    assert key.opens(_stored(key), 2**62)


@pytest.mark.parametrize("expires_ms", [None, 1000])
def test_another_secret_opens_nothing(expires_ms: int | None) -> None:
    (_, key), (_, other) = generate_key("dev"), generate_key("dev")
    presented = PresentedKey(key.id, other.secret_hash)
    assert not presented.opens(_stored(key, expires_ms), 0)


def test_every_single_typo_is_noticed() -> None:
    text, _ = generate_key("dev")
    for place, letter in enumerate(text):
        typo = text[:place] + ("0" if letter != "0" else "1") + text[place + 1 :]
        with pytest.raises(StockadeError) as caught:
            parse_key(typo)
        assert (caught.value.code, caught.value.retryable) == ("auth.key_malformed", False)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "stk_",
        "Bearer stk_dev_" + "a" * 12 + "_" + "b" * 40,
        _sealed("stk_dev_" + "a" * 12 + "_" + "b" * 31),
        _sealed("stk_dev_" + "a" * 11 + "_" + "b" * 32),
        _sealed("stk_DEV_" + "a" * 12 + "_" + "b" * 32),
        _sealed("stk__" + "a" * 12 + "_" + "b" * 32),
        _sealed("sk_dev_" + "a" * 12 + "_" + "b" * 32),
        _sealed("stk_dev_" + "a" * 12 + "_" + "b" * 32) + "\n",
        _sealed("stk_dev_" + "a" * 12 + "_" + "b" * 32).upper(),
        "\ud800",
        "stk_dev_" + "\u0660" * 12 + "_" + "b" * 40,
    ],
    ids=ascii,
)
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(StockadeError, match=r"^auth\.key_malformed"):
        parse_key(text)


def test_the_refusal_does_not_repeat_the_key() -> None:
    text, _ = generate_key("dev")
    with pytest.raises(StockadeError) as caught:
        parse_key(text[:-1] + "x")
    assert text[9:] not in str(caught.value)


def test_a_revoked_key_opens_nothing() -> None:
    _, key = generate_key("dev")
    stored = replace(_stored(key), revoked_ms=5)
    assert not key.opens(stored, 0)
    assert not stored.in_force(0)


def test_secrets_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []
    compare = hmac.compare_digest

    def watched(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return compare(one, other)

    _, key = generate_key("dev")
    monkeypatch.setattr(api_keys.hmac, "compare_digest", watched)
    right, wrong = _stored(key), replace(_stored(key), secret_hash=bytes(32))
    ended = replace(right, revoked_ms=1, expires_ms=1)
    for stored in (right, wrong, ended):
        key.opens(stored, 5)
    # Hashes of equal length, and also where the key's end would have decided.
    assert compared == [(key.secret_hash, one.secret_hash) for one in (right, wrong, ended)]
