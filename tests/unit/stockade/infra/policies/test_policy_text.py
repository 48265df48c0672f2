"""What harms Cedar's native parser is refused before it; what does not is taken, and survives."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stockade.core.errors import StockadeError
from stockade.infra.policies.cedar_policies import CedarPolicies
from stockade.infra.policies.policy_text import (
    MAX_BYTES,
    MAX_DEPTH,
    MAX_PATH_STEPS,
    MAX_POLICIES,
    MAX_TOKENS,
    SCHEMA_FILE,
    Source,
    cut,
    read_sources,
    schema_text,
)
from tests.unit.stockade.infra.policies.policy_files import PERMIT_ALL, SCHEMA, policies_in, policy

BOMBS: dict[str, Callable[[int], str]] = {
    "parentheses": lambda n: policy("(" * n + "true" + ")" * n),
    "sets": lambda n: policy("[" * n + "1" + "]" * n + " == [1]"),
    "records": lambda n: policy("{a:" * n + "1" + "}" * n + " == {a: 1}"),
    "conditionals": lambda n: policy("if true then " * n + "true" + " else true" * n),
    "and": lambda n: policy(" && ".join(["true"] * n)),
    "or": lambda n: policy(" || ".join(["false"] * n)),
    "sums": lambda n: policy("+".join(["1"] * n) + " == 1"),
    "not": lambda n: policy("!" * n + "true"),
    "minus": lambda n: policy("-" * n + "1 == 1"),
    "path": lambda n: policy("principal" + ".tenant" * n + " == principal"),
    "has": lambda n: policy("principal has " + ".".join(["tenant"] * n)),
    "indices": lambda n: policy("principal" + '["tenant"]' * n + " == principal"),
    "calls": lambda n: policy("principal.scopes" + '.contains("x")' * n),
    "namespace": lambda n: policy("A::" * n + 'A::"x" == principal'),
    "conditions": lambda n: PERMIT_ALL.replace(";", "when { true } " * n + ";"),
    "annotations": lambda n: "".join(f"@a{k}" for k in range(n)) + PERMIT_ALL,
    "policies": lambda n: "".join(policy("true", f"a{k}") for k in range(n)),
}
HUGE = 30_000
PARSE = """
import sys, threading
from pathlib import Path
from stockade.infra.policies.cedar_policies import CedarPolicies
from stockade.infra.policies.policy_text import Source
schema, *bombs = sorted(Path(sys.argv[1]).iterdir(), key=lambda path: path.name)
def load():
    for bomb in bombs:
        print(bomb.name, flush=True)
        try:
            CedarPolicies([Source("s", schema.read_bytes()), Source("p", bomb.read_bytes())])
        except ValueError as error:
            pass
thread = threading.Thread(target=load)  # as a reload reads them
thread.start()
thread.join()
print("alive")
"""


def refusal(directory: Path) -> str:
    with pytest.raises(StockadeError) as caught:
        CedarPolicies.load(directory)
    assert caught.value.code == "config.policies_invalid"
    return caught.value.message


@pytest.mark.parametrize("bomb", sorted(set(BOMBS) - {"policies"}))
def test_a_bomb_is_refused_before_the_parser_sees_it(bomb: str) -> None:
    source = Source("p.cedar", BOMBS[bomb](HUGE).encode())
    with pytest.raises(ValueError, match=r"^p\.cedar:1: (more than|brackets|a path)"):
        cut(source)


def test_the_largest_that_are_let_through_harm_nobody(tmp_path: Path) -> None:
    (tmp_path / "0.schema").write_text(SCHEMA, encoding="utf-8")
    for name, bomb in BOMBS.items():
        (tmp_path / name).write_text(bomb(largest_let_through(name)), encoding="utf-8")
    command = [sys.executable, "-c", PARSE, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    said = [*sorted(BOMBS), "alive"]
    assert (done.returncode, done.stdout.split()) == (0, said), done.stderr[-500:]


def largest_let_through(name: str) -> int:
    low, high = 1, MAX_TOKENS + 1
    while high - low > 1:
        middle = (low + high) // 2
        try:
            fits = len(cut(Source("p", BOMBS[name](middle).encode()))) <= MAX_POLICIES
        except ValueError:
            fits = False
        low, high = (middle, high) if fits else (low, middle)
    return low


def test_the_bounds_are_where_they_are_said_to_be() -> None:
    assert largest_let_through("parentheses") == MAX_DEPTH - 1  # within the condition's own
    assert largest_let_through("path") == MAX_PATH_STEPS
    assert largest_let_through("policies") == MAX_POLICIES
    assert MAX_TOKENS / 2 - 20 < largest_let_through("sums") <= MAX_TOKENS / 2


def test_words_that_are_no_path_are_not_counted_as_one() -> None:
    many = " ".join(["if principal.tenant in resource.tenant then true else"] * 20)
    assert cut(Source("p", policy(f"{many} false").encode()))


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("entity A = {a: " + "{a:" * 40 + "Long" + "}" * 41 + ";", "nested deeper"),
        ("entity A = {a: " + "Set<" * 40 + "Long" + ">" * 40 + "};", "nested deeper"),
        ("entity A;" * 10_000, "more than"),
        ("type T = Long;", "'type' declarations are not supported"),
        ("entity A\x00;", r"s:1: the character U\+0000"),
    ],
)
def test_a_schema_that_could_harm_is_refused(text: str, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        schema_text(Source("s", text.encode()))


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (f"\n{PERMIT_ALL.replace(';', '')}", "p.cedar:2: the policy does not end with ';'"),
        (f"{PERMIT_ALL}\nper", "p.cedar:3: the policy does not end with ';'"),
        ("", "p.cedar: the file holds no policy"),
        ("// all of it is gone\n", "p.cedar: the file holds no policy"),
        (f"{PERMIT_ALL}// \u202e\n", "p.cedar:2: the character U+202E is not allowed"),
        (f"\n// a\rb\n{PERMIT_ALL}", "p.cedar:2: the character U+000D is not allowed"),
        (f"{PERMIT_ALL}// \u200b\n", "p.cedar:2: the character U+200B is not allowed"),
    ],
)
def test_what_is_no_whole_readable_policy_is_told_with_its_line(
    tmp_path: Path, text: str, what: str
) -> None:
    assert what in refusal(policies_in(tmp_path, p=text))


def test_brackets_and_ends_in_strings_and_comments_are_no_signs(tmp_path: Path) -> None:
    text = policy('"' + "([{;" * 100 + '\\"" == "x"') + "// " + "([{;" * 100 + "\r\n" + "\t\n"
    assert len(CedarPolicies.load(policies_in(tmp_path, p=text)).ids) == 1


def test_a_file_that_is_no_utf8(tmp_path: Path) -> None:
    directory = policies_in(tmp_path)
    (directory / "b.cedar").write_bytes(b"// caf\xe9\n")
    assert "b.cedar is not UTF-8 (byte 6)" in refusal(directory)


def test_files_that_are_too_large_together(tmp_path: Path) -> None:
    directory = policies_in(tmp_path)
    (directory / "b.cedar").write_text("//" + "x" * (MAX_BYTES // 2))
    (directory / "c.cedar").write_text("//" + "x" * (MAX_BYTES // 2))
    assert "c.cedar: the files are too large together" in refusal(directory)


def test_more_policies_than_are_taken(tmp_path: Path) -> None:
    assert "more than 2000 policies" in refusal(policies_in(tmp_path, p=BOMBS["policies"](2001)))


def test_no_directory_no_schema_no_policy(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "none")
    (tmp_path / "schema.cedarschema").write_text(SCHEMA)
    assert "there is no .cedar file" in refusal(tmp_path)
    (tmp_path / SCHEMA_FILE).unlink()
    (tmp_path / "a.cedar").write_text(PERMIT_ALL)
    assert "No such file" in refusal(tmp_path)


def test_links_are_followed_to_files_alone(tmp_path: Path) -> None:
    directory = policies_in(tmp_path / "p", a=PERMIT_ALL)
    (tmp_path / "real").write_text(policy("true", "b"))
    (directory / "b.cedar").symlink_to(tmp_path / "real")
    assert CedarPolicies.load(directory).ids == ("all", "b")
    (directory / "c.cedar").symlink_to(tmp_path / "gone")
    assert "No such file" in refusal(directory)
    (directory / "c.cedar").unlink()
    (directory / "c.cedar").symlink_to("c.cedar")
    assert "symbolic links" in refusal(directory)


@pytest.mark.parametrize("kind", ["pipe", "directory", "device"])
def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path: Path, kind: str) -> None:
    directory = policies_in(tmp_path)
    path = directory / "b.cedar"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero")
    assert "b.cedar" in refusal(directory) or "Is a directory" in refusal(directory)


def test_what_editors_leave_is_no_policy(tmp_path: Path) -> None:
    directory = policies_in(tmp_path, a=PERMIT_ALL)
    (directory / ".#a.cedar").symlink_to("someone@host.1234")
    (directory / ".a.cedar.swp").write_bytes(b"\xff")
    (directory / "a.cedar~").write_text("old")
    assert [source.name for source in read_sources(directory)] == [SCHEMA_FILE, "a.cedar"]


WORDS = re.findall(
    r"\S+",
    """permit forbid when unless principal action resource context if then else in has is like true
    ( ) [ ] { } , ; . : :: == != < <= && || ! - + * @ ? // \\ " "a" @id ("x") Role::"admin" Action é
    9223372036854775807""",
)


@given(st.lists(st.sampled_from(WORDS), max_size=60), st.integers(0, 40), st.booleans())
@settings(max_examples=200, deadline=None)
def test_whatever_is_written_is_taken_or_refused(words: list[str], at: int, inside: bool) -> None:  # noqa: FBT001
    """Also by the native parser behind the bounds: nothing else comes out of it."""
    noise = " ".join(words)
    tokens = policy('resource has name && ["a"].contains("b")').split(" ")
    text = " ".join([*tokens[:at], noise, *tokens[at:]]) if inside else noise
    sources = [Source(SCHEMA_FILE, SCHEMA.encode()), Source("p.cedar", text.encode())]
    with suppress(ValueError):
        assert CedarPolicies(sources).ids
