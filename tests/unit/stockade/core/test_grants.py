"""Grant texts: what each gives, and which cannot be."""

import pytest

from stockade.core.errors import StockadeError
from stockade.core.grants import (
    ALWAYS,
    MAX_GRANT_CHARACTERS,
    MAX_GRANTS,
    missing_grants,
    parse_grants,
)
from stockade.core.host_functions import OFFERED, VARYING


def test_without_grants_there_is_what_only_tells_of_the_run() -> None:
    grants = parse_grants(())
    free = {"log", "span_open", "span_close", "span_attribute"}
    assert {name for name in OFFERED if grants.allows_call(name)} == free == ALWAYS
    assert not ALWAYS & VARYING


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ("log", set()),
        ("now_ms", {"now_ms"}),
        ("config_get", {"config_get"}),
        ("random", {"random"}),
        ("emit", {"emit"}),
        ("progress", {"progress"}),
        ("secret:API_KEY", {"secret_get"}),
        ("kv:orders:read", {"kv_get"}),
        ("kv:orders", {"kv_get", "kv_set", "kv_delete", "kv_add"}),
        ("http_fetch:GET https://a.example", {"http_fetch"}),
    ],
)
def test_a_grant_gives_its_calls_and_no_other(text: str, calls: set[str]) -> None:
    grants = parse_grants([text])
    assert {name for name in OFFERED if grants.allows_call(name)} == calls | ALWAYS


def test_secrets_and_namespaces_are_told_apart() -> None:
    grants = parse_grants(["secret:A", "kv:mine", "kv:theirs:read"])
    assert grants.secret("A")
    assert not grants.secret("a")
    assert grants.kv("mine", write=True)
    assert grants.kv("mine", write=False)
    assert grants.kv("theirs", write=False)
    assert not grants.kv("theirs", write=True)
    assert not grants.kv("other", write=False)


@pytest.mark.parametrize(
    ("texts", "code"),
    [
        (["fly"], "function.grant_unknown"),
        ([""], "function.grant_unknown"),
        (["kv_get"], "function.grant_unknown"),
        (["secret"], "function.grant_unknown"),
        (["http_fetch"], "function.grant_unknown"),
        (["kv:a:write"], "function.grant_unknown"),
        (["secret:"], "function.grant_invalid"),
        (["secret:1"], "function.grant_invalid"),
        (["secret:a b"], "function.grant_invalid"),
        (["kv:"], "function.grant_invalid"),
        (["kv:A"], "function.grant_invalid"),
        (["http_fetch:GET nowhere"], "function.grant_invalid"),
        (["log", "log"], "function.grants_contradict"),
        (["kv:a", "kv:a:read"], "function.grants_contradict"),
        (["kv:a:read", "kv:a"], "function.grants_contradict"),
        (["kv:a:read:read"], "function.grant_unknown"),
        (["LOG"], "function.grant_unknown"),
        (["log "], "function.grant_unknown"),
        (["secret:A", "secret:A"], "function.grants_contradict"),
        (
            ["http_fetch:GET https://a.example", "http_fetch:GET https://A.example:443/"],
            "function.grants_contradict",
        ),
        (
            ["http_fetch:GET,POST https://a.example", "http_fetch:POST,GET https://a.example"],
            "function.grants_contradict",
        ),
        (
            ["http_fetch:GET https://a.example/" + "a" * MAX_GRANT_CHARACTERS],
            "function.grant_invalid",
        ),
        ([f"secret:S{number}" for number in range(MAX_GRANTS + 1)], "function.grant_invalid"),
    ],
)
def test_what_cannot_be_granted_is_refused(texts: list[str], code: str) -> None:
    with pytest.raises(StockadeError) as refused:
        parse_grants(texts)
    assert refused.value.code == code


def test_what_is_missing_is_named_as_it_is_written() -> None:
    grants = parse_grants(["kv:a:read", "now_ms"])
    imports = ["log", "now_ms", "kv_get", "kv_set", "kv_add", "random", "secret_get", "http_fetch"]
    assert missing_grants(imports, grants) == (
        "http_fetch:METHODS ORIGIN",
        "kv:NAMESPACE",
        "random",
        "secret:NAME",
    )


def test_origins_are_granted_side_by_side() -> None:
    texts = ["http_fetch:GET https://a.example", "http_fetch:* https://a.example/v1"]
    assert [grant.prefix for grant in parse_grants(texts).http] == ["", "/v1"]


def test_a_refusal_shows_little_of_the_text_and_nothing_that_moves_a_cursor() -> None:
    with pytest.raises(StockadeError) as refused:
        parse_grants(["\x1b[2J\u202e" + "a" * 400])
    assert refused.value.message.isascii()
    assert refused.value.message.isprintable()
    assert len(refused.value.message) < 600
