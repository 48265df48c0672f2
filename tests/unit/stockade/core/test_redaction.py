"""Credentials are hidden wherever they stand, and nothing else is."""

import pytest

from registry.keys import generate_secret_key, secret_key_pem
from stockade.core.api_keys import generate_key
from stockade.core.redaction import redact
from tests.unit.oidc_issuer import ED_KEY, token

KEY, _ = generate_key("prod")
TOKEN = token({"sub": "x"}, ED_KEY, "EdDSA")
PEM = secret_key_pem(generate_secret_key()).decode()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (KEY, f"{KEY[:22]}***"),
        (
            f"no secret '{KEY}' here, nor {KEY}",
            f"no secret '{KEY[:22]}***' here, nor {KEY[:22]}***",
        ),
        (KEY[:-8], f"{KEY[:22]}***"),
        (f"Bearer {TOKEN}", "Bearer ***"),
        (f"token={TOKEN}&x", "token=***&x"),
        (f"<{PEM}>", "<-----BEGIN PRIVATE KEY-----***-----END PRIVATE KEY-----\n>"),
        (PEM[:60], "-----BEGIN PRIVATE KEY-----***"),
    ],
    ids=range(7),
)
def test_credentials_are_hidden(text: str, shown: str) -> None:
    assert redact(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "",
        "stk_dev_",
        KEY[:21],
        "eyJ",
        "eyJhbGciOiJub25lIn0.e30.",
        "heyJude.is.a-song-of-the-sixties",
        "-----BEGIN PUBLIC KEY-----\nx\n-----END PUBLIC KEY-----",
        "sha256:" + "a" * 64,
    ],
    ids=range(8),
)
def test_nothing_else_is(text: str) -> None:
    assert redact(text) == text


def test_hostile_texts_come_back() -> None:
    for text in ("eyJ" * 100_000, "stk_a_" * 100_000, "eyJaaaaaaaa.aaaaaaa." * 10_000):
        assert redact(text) == text
    assert len(redact("-----BEGIN PRIVATE KEY-----" * 10_000)) < 100
