"""Both SDKs make every host call as `sdk/abi` says, and read what comes back.

The guests are the examples `host-calls-rust` and `host-calls-assemblyscript`, which make the calls
that their input asks for.
"""

import json
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from wasmtime import Config, Engine, Module

from tests.guest.abi_host import DONE, Example, Guest, Ran, World, failed

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples" / "wasm"
VECTORS = json.loads((ROOT / "sdk" / "abi" / "vectors.json").read_text())
SDKS = ["host-calls-rust", "host-calls-assemblyscript"]


@pytest.fixture(scope="module")
def engine() -> Engine:
    config = Config()
    config.consume_fuel = True
    return Engine(config)


@dataclass(frozen=True)
class Caller:
    guest: Guest

    @property
    def world(self) -> World:
        return self.guest.world

    def run(self, *lines: str) -> Ran:
        return self.guest.run("\n".join(lines).encode())

    def tell(self, *lines: str) -> list[str]:
        ran = self.run(*lines)
        assert ran.outcome == "completed", ran.body
        return [line.partition(": ")[2] for line in ran.body.decode().splitlines()]


def load(name: str, engine: Engine, directory: Path) -> Guest:
    place = EXAMPLES / name
    example = Example(place, tomllib.loads((place / "stockade.toml").read_text()))
    return Guest(engine, Module.from_file(engine, str(example.committed)), example, directory)


@pytest.fixture(params=SDKS)
def sdk(request: pytest.FixtureRequest, engine: Engine, tmp_path: Path) -> Caller:
    guest = load(request.param, engine, tmp_path)
    guest.world.grants += ["kv:a", "secret:KEY"]
    return Caller(guest)


def test_log_lines_carry_their_level(sdk: Caller) -> None:
    sdk.tell(*(f"log {level} é {level}" for level in ("trace", "debug", "info", "warn", "error")))
    levels = ["trace", "debug", "info", "warn", "error"]
    assert sdk.world.logs == [(number, f"é {it}".encode()) for number, it in enumerate(levels)]


def test_spans_lie_within_each_other_and_are_closed(sdk: Caller) -> None:
    assert sdk.tell("span outer inner two words") == ["ok"]
    told = ["open outer", "open inner", "2 value=two words"]
    assert sdk.world.spans[:3] == told
    # What is open within a span ends with it.
    assert sdk.world.spans[-1] == "close 1"


def test_a_spans_value_is_cut_at_a_character(sdk: Caller) -> None:
    sdk.tell("span a b " + "é€" * 100)
    assert sdk.world.spans[2] == "2 value=" + "é€" * 51


def test_settings_are_texts_or_absent(sdk: Caller) -> None:
    sdk.world.config.update({"A": "é€", "EMPTY": ""})
    assert sdk.tell("config_get A", "config_get EMPTY", "config_get B") == ["ok é€", "ok", "absent"]


@pytest.mark.parametrize("now_ms", [0, -1, 1_795_451_445_678, 2**62])
def test_the_time_is_a_signed_number(sdk: Caller, now_ms: int) -> None:
    sdk.world.now_ms = now_ms
    assert sdk.tell("now_ms") == [str(now_ms)]


@pytest.mark.parametrize("size", [0, 1, 8, 65_535, 65_536, 65_537, 100_000])
def test_randomness_of_any_size_comes_in_pieces(sdk: Caller, size: int) -> None:
    expected = b"".join(
        bytes(at % 251 for at in range(min(65_536, size - start)))
        for start in range(0, size, 65_536)
    )
    assert sdk.tell(f"random {size}") == [expected.hex()]


def test_events_reach_the_host(sdk: Caller) -> None:
    name = "n" * 64
    assert sdk.tell('emit order {"id": "é"}', f"emit {name} ") == ["ok", "ok"]
    assert sdk.world.events == [("order", '{"id": "é"}'), (name, "")]


def test_progress_is_kept_within_its_bounds(sdk: Caller) -> None:
    long = "é€" * 100
    sdk.tell("progress 0 ", "progress 50 half", f"progress 200 {long}", "progress 1 " + "x" * 257)
    expected = [(0, ""), (50, "half"), (100, "é€" * 51), (1, "x" * 256)]
    assert sdk.world.progress == expected


def test_a_secret_comes_whole(sdk: Caller) -> None:
    sdk.world.secrets["KEY"] = bytes(range(256))
    told = sdk.tell("secret_get KEY", "secret_get EXAMPLE_TOKEN", "secret_get OTHER")
    assert told == ["ok 256 bytes", "absent", "failed host_call.not_granted"]


def test_values_are_set_read_and_removed(sdk: Caller) -> None:
    asked = ["kv_set a/é/b 60 two words", "kv_get a/é/b", "kv_delete a/é/b", "kv_delete a/é/b"]
    assert sdk.tell(*asked, "kv_get a/é/b") == ["ok", "ok two words", "ok", "absent", "absent"]
    assert sdk.world.kept_seconds == {"a/é/b": 60}


@pytest.mark.parametrize("seconds", [0, 1, 2**31, 2**32 - 1])
def test_seconds_are_unsigned(sdk: Caller, seconds: int) -> None:
    sdk.tell(f"kv_set a/b {seconds} x")
    assert sdk.world.kept_seconds == {"a/b": seconds}


@pytest.mark.parametrize("delta", [1, -1, 0, 2**63 - 1, -(2**63)])
def test_sums_take_all_64_bits(sdk: Caller, delta: int) -> None:
    assert sdk.tell(f"kv_add a/n {delta}", "kv_add a/n 0") == [f"ok {delta}"] * 2


def test_large_values_cross_in_both_directions(sdk: Caller) -> None:
    value = "v" * 65_536
    assert sdk.tell(f"kv_set a/b 0 {value}", "kv_get a/b") == ["ok", f"ok {value}"]


@pytest.mark.parametrize("key", ["other/x", "a", "a/", "/x"])
def test_a_key_that_is_refused_is_an_answer(sdk: Caller, key: str) -> None:
    calls = [f"kv_get {key}", f"kv_set {key} 0 v", f"kv_delete {key}", f"kv_add {key} 1"]
    code = "host_call.not_granted" if key == "other/x" else "kv.key_invalid"
    assert sdk.tell(*calls) == [f"failed {code}"] * 4


@pytest.mark.parametrize("vector", VECTORS["replies"], ids=lambda it: it["name"])
def test_replies_are_read_as_the_vectors_say(sdk: Caller, vector: dict[str, str]) -> None:
    reply = bytes.fromhex(vector["reply"])
    setattr(sdk.world, "kv_get", lambda _key: reply)  # noqa: B010 (an instance's method)
    if vector["status"] == "broken":
        assert sdk.run("kv_get a/b").outcome == "trapped"
        return
    data = bytes.fromhex(vector.get("data", "")).decode()
    told = {
        "ok": f"ok {data}".rstrip(" "),
        "absent": "absent",
        "failed": f"failed {vector.get('code')}",
    }
    assert sdk.tell("kv_get a/b") == [told[vector["status"]]]


@pytest.mark.parametrize("vector", VECTORS["sums"], ids=lambda it: it["name"])
def test_sums_are_read_as_the_vectors_say(sdk: Caller, vector: dict[str, str]) -> None:
    reply = DONE + bytes.fromhex(vector["data"])
    setattr(sdk.world, "kv_add", lambda _key, _delta: reply)  # noqa: B010 (an instance's method)
    assert sdk.tell("kv_add a/b 1") == [f"ok {vector['sum']}"]


@pytest.mark.parametrize("size", [0, 7, 9])
def test_a_sum_of_another_size_traps(sdk: Caller, size: int) -> None:
    setattr(sdk.world, "kv_add", lambda _key, _delta: DONE + b"0" * size)  # noqa: B010 (likewise)
    assert sdk.run("kv_add a/b 1").outcome == "trapped"


def test_requests_are_written_as_the_abi_says(sdk: Caller) -> None:
    sdk.world.fetch = lambda _request: DONE + b"204\n\n"
    asked = [
        "http_fetch GET https://example.com/a?b=c",
        "http_fetch PUT https://example.com/é x-time:12:30:late the body\x00",
    ]
    assert sdk.tell(*asked) == ["ok 204 - ", "ok 204 - "]
    assert sdk.world.requests == [
        b"GET https://example.com/a?b=c\n\n",
        "PUT https://example.com/é\nx-time: 12:30:late\n\nthe body\x00".encode(),
    ]


@pytest.mark.parametrize("vector", VECTORS["http_responses"], ids=lambda it: it["name"])
def test_responses_are_read_as_the_vectors_say(sdk: Caller, vector: dict[str, Any]) -> None:
    response = DONE + bytes.fromhex(vector["bytes"])
    sdk.world.fetch = lambda _request: response
    ran = sdk.run("http_fetch GET https://example.com/")
    kind = dict(vector["headers"]).get("content-type", "-")
    body = bytes.fromhex(vector["body"]).decode()
    assert ran.body.decode() == f"http_fetch: ok {vector['status']} {kind} {body}\n"


def test_what_a_server_sends_in_its_head_cannot_break_it_up(sdk: Caller) -> None:
    head = b"200\ncontent-type: a\xc0\x8ab\nx: \xff"
    sdk.world.fetch = lambda _request: DONE + head + b"\n\nbody"
    told = sdk.tell("http_fetch GET https://example.com/")
    assert told == ["ok 200 a\ufffd\ufffdb body"]


@pytest.mark.parametrize(
    "response", [b"", b"200", b"200\n", b"many\n\n", b"70000\n\n", b"200\nno colon\n\nbody"]
)
def test_a_malformed_response_traps(sdk: Caller, response: bytes) -> None:
    sdk.world.fetch = lambda _request: DONE + response
    assert sdk.run("http_fetch GET https://example.com/").outcome == "trapped"


@pytest.mark.parametrize(
    "asked",
    [
        "http_fetch G\0ET https://example.com/",
        "http_fetch  https://example.com/",
        "http_fetch GET https://example.com/\r",
        "http_fetch GET https://example.com/\x7f",
        "http_fetch GET https://example.com/ x\x00:1",
        "http_fetch GET https://example.com/ :1",
        "http_fetch GET https://example.com/ (x):1",
        "http_fetch GET https://example.com/ x:1\r",
        "http_fetch G\u00e9T https://example.com/",
    ],
)
def test_what_would_break_out_of_its_line_never_reaches_the_host(sdk: Caller, asked: str) -> None:
    assert sdk.tell(asked) == ["failed http_fetch.malformed"]
    assert sdk.world.requests == []


def test_a_failed_fetch_is_an_answer(sdk: Caller) -> None:
    sdk.world.fetch = lambda _request: failed("http_fetch.timeout")
    assert sdk.tell("http_fetch GET https://example.com/") == ["failed http_fetch.timeout"]


@pytest.mark.parametrize(
    "asked",
    [
        "dance",
        "log",
        "log loud x",
        "emit  nameless",
        "emit " + "n" * 65 + " x",
        "kv_set a/b 60",
        "kv_set a/b soon x",
        "kv_add a/b 9223372036854775808",
        "random -1",
        "random 100001",
        "progress half x",
        "http_fetch GET",
    ],
)
def test_the_guests_reject_alike_what_makes_no_sense(sdk: Caller, asked: str) -> None:
    assert sdk.run("now_ms", asked).outcome == "rejected"


PAGE = b"200\ncontent-type: text/html; charset=utf-8\n\n"


@pytest.fixture
def preview(engine: Engine, tmp_path: Path) -> Callable[..., list[tuple[str, str]]]:
    guest = load("link-preview", engine, tmp_path)
    guest.world.config["WIKI_URL"] = "https://wiki.example.com/"
    guest.world.secrets["WIKI_TOKEN"] = b"swordfish"

    def preview(response: bytes, *links: str) -> list[tuple[str, str]]:
        guest.world.fetch = lambda _request: DONE + response
        ran = guest.run("\n".join(links or ["https://example.com/"]).encode())
        requests = [*guest.world.requests]
        guest.world.requests.clear()
        titles = [line.partition("\t")[2] for line in ran.body.decode().splitlines()]
        return list(zip(titles, (it.decode() for it in requests), strict=True))

    return preview


@pytest.mark.parametrize(
    ("response", "title"),
    [
        (PAGE + b"<title>Plain</title>", "Plain"),
        (PAGE + b"<html><TITLE\nlang='x'> a\n\tb&amp;lt;\x1b </Title >", "a b&lt;"),
        (PAGE + b"<titles>no</titles><title>yes</title>", "yes"),
        (PAGE + b"<title>never ends", "(no title)"),
        (PAGE + b"<title", "(no title)"),
        (PAGE, "(no title)"),
        (PAGE + b"<title>" + b"x" * 300 + b"</title>", "x" * 200 + "…"),
        (PAGE + b"<title>" + b"x" * 199 + "😀".encode() + b"</title>", "x" * 199 + "…"),
        (PAGE + b"\xff", "(not UTF-8)"),
        (b"200\ncontent-type: image/png\n\n<title>x</title>", "(no page)"),
        (b"200\n\n<title>x</title>", "(no page)"),
        (b"404\ncontent-type: text/html\n\n<title>x</title>", "(status 404)"),
    ],
)
def test_link_preview_finds_titles(
    preview: Callable[..., list[tuple[str, str]]], response: bytes, title: str
) -> None:
    assert [told for told, _ in preview(response)] == [title]


def test_link_preview_shows_its_token_to_the_wiki_only(
    preview: Callable[..., list[tuple[str, str]]],
) -> None:
    links = ["https://wiki.example.com/a", "https://wiki.example.com.evil.example/", "https://x/"]
    shown = [request for _, request in preview(PAGE + b"<title>x</title>", *links)]
    assert ["swordfish" in request for request in shown] == [True, False, False]
    assert "\nauthorization: Bearer swordfish\n" in shown[0]
