"""The text of policies: read with care, bounded before a parser sees it, cut into single policies.

Cedar's parser is native code that recurses: a thousand nested brackets, or a condition of a hundred
thousand operands, end the process, and a path of ten thousand steps, or types that name each other,
keep it busy for minutes. So what it is given is bounded here, far below what does it harm.
"""

import os
import re
import stat
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SCHEMA_FILE = "schema.cedarschema"
MAX_BYTES = 1024 * 1024
MAX_POLICIES = 2_000
MAX_TOKENS = 2_000
"""Of one policy; of the schema as a whole ten times as many."""
MAX_DEPTH = 32
MAX_PATH_STEPS = 16
_TOKEN = re.compile(
    r"""(?P<skip>\s+|//[^\r\n]*)|(?P<text>"(?:\\.|[^"\\])*")|(?P<word>\w+)|(?P<mark>.)""", re.DOTALL
)
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_UNSEEN = {"Cc", "Cf", "Zl", "Zp"}


@dataclass(frozen=True, slots=True)
class Source:
    """One file, as it was read."""

    name: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Statement:
    """One policy, its @id, and the file and line at which it begins."""

    place: str
    text: str
    id: str


def read_sources(directory: Path) -> tuple[Source, ...]:
    """The schema, then all `*.cedar` by name. Names that begin with a dot are editors' own.

    Raises:
        OSError: A file cannot be read.
        ValueError: One is no regular file, all are too large, or there are none.
    """
    names = sorted(file.name for file in directory.iterdir() if _is_policy_file(file.name))
    if not names:
        raise ValueError("there is no .cedar file")
    sources, room = [], MAX_BYTES
    for name in (SCHEMA_FILE, *names):
        content = read_regular(directory / name, room)
        room -= len(content)
        sources.append(Source(name, content))
    return tuple(sources)


def cut(source: Source) -> list[Statement]:
    """The policies of a file, each with an @id and within the bounds; no templates.

    Raises:
        ValueError: One is not so, or the last one is not finished.
    """
    text = _decoded(source)
    found: list[Statement] = []
    tokens: list[re.Match[str]] = []
    for token in _tokens(text):
        tokens.append(token)
        if token.group() == ";":
            found.append(_statement(source.name, text, tokens))
            tokens = []
    if tokens:
        place = _place(source.name, text, tokens)
        raise ValueError(f"{place}: the policy does not end with ';'")
    if not found:
        raise ValueError(f"{source.name}: the file holds no policy")
    return found


def schema_text(source: Source) -> str:
    """A schema that cannot harm its parser.

    Raises:
        ValueError: It could, or it is no text.
    """
    text = _decoded(source)
    tokens = list(_tokens(text))
    if any(token.group() == "type" for token in tokens):
        raise ValueError(f"{source.name}: 'type' declarations are not supported")
    _check_shape(source.name, tokens, 10 * MAX_TOKENS, ("([{<", ")]}>"))
    return text


def _is_policy_file(name: str) -> bool:
    return name.endswith(".cedar") and not name.startswith(".")


def read_regular(path: Path, room: int) -> bytes:
    """Symbolic links are followed; nothing is waited for that is no file.

    Raises:
        OSError: It cannot be read.
        ValueError: It is no regular file, or larger than the room.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError(f"{path.name} is no regular file")
        content = file.read(room + 1)
    if len(content) > room:
        raise ValueError(f"{path.name}: the files are too large together")
    return content


def _decoded(source: Source) -> str:
    """Policies are what reviewers see of them: no character that hides or reorders others."""
    try:
        text = source.content.decode().replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{source.name} is not UTF-8 (byte {error.start})") from None
    for place, char in enumerate(text):
        if char not in "\n\t" and unicodedata.category(char) in _UNSEEN:
            line = text.count("\n", 0, place) + 1
            raise ValueError(
                f"{source.name}:{line}: the character U+{ord(char):04X} is not allowed"
            )
    return text


def _tokens(text: str) -> Iterator[re.Match[str]]:
    return (token for token in _TOKEN.finditer(text) if token.lastgroup != "skip")


def _place(file: str, text: str, tokens: list[re.Match[str]]) -> str:
    """As compilers write it."""
    line = text.count("\n", 0, tokens[0].start()) + 1
    return f"{file}:{line}"


def _statement(file: str, text: str, tokens: list[re.Match[str]]) -> Statement:
    place = _place(file, text, tokens)
    _check_shape(place, tokens, MAX_TOKENS, ("([{", ")]}"))
    signs = [token.group() for token in tokens]
    if "?" in signs:
        raise ValueError(f"{place}: templates are not supported; write a policy")
    return Statement(place, text[tokens[0].start() : tokens[-1].end()], _id(place, signs))


def _id(place: str, signs: list[str]) -> str:
    """What `@id("…")` before the policy says; later annotations follow it or stand before it."""
    effect = next((at for at, sign in enumerate(signs) if sign in {"permit", "forbid"}), 0)
    for at in range(effect - 4):
        if signs[at : at + 3] == ["@", "id", "("] and signs[at + 4] == ")":
            name = signs[at + 3][1:-1]
            if not _ID.fullmatch(name):
                raise ValueError(
                    f"{place}: the @id {name[:100]!a} is not 1 to 100 of A-Z a-z 0-9 . _ -"
                )
            return name
    raise ValueError(f"{place}: the policy has no @id")


def _check_shape(
    place: str, tokens: list[re.Match[str]], most: int, brackets: tuple[str, str]
) -> None:
    if len(tokens) > most:
        raise ValueError(f"{place}: more than {most} words and signs; divide it")
    opening, closing = brackets
    depth, steps, after_word = 0, 0, False
    for token in tokens:
        sign, is_word = token.group(), token.lastgroup == "word"
        depth += (sign in opening) - (sign in closing)
        goes_on = sign == "." or (is_word and not after_word)
        steps = steps + (sign == ".") if goes_on else 0
        after_word = is_word
        if depth > MAX_DEPTH:
            raise ValueError(f"{place}: brackets are nested deeper than {MAX_DEPTH}")
        if steps > MAX_PATH_STEPS:
            raise ValueError(f"{place}: a path has more than {MAX_PATH_STEPS} steps")
