"""Modules that are small to send and costly to compile: refused with a code, within bounds."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from registry.admission import admit
from registry.signature_format import encode_u32
from stockade.core.errors import StockadeError
from stockade.infra.jailed_compiler import JailedCompiler
from stockade.infra.zygote_jail import ZygoteJail
from tests.guest import guests

POLICY = Path(__file__).parents[2] / "policies" / "seccomp" / "guest.toml"
HEADER = b"\0asm\x01\0\0\0"


def section(number: int, payload: bytes) -> bytes:
    return bytes([number]) + encode_u32(len(payload)) + payload


def vector(items: list[bytes]) -> bytes:
    return encode_u32(len(items)) + b"".join(items)


def with_bodies(bodies: list[bytes]) -> bytes:
    """A module of functions without parameters that have these bodies."""
    functions = [b"\0"] * len(bodies)
    sized = [encode_u32(len(body)) + body for body in bodies]
    return (
        HEADER
        + section(1, vector([b"\x60\0\0"]))
        + section(3, vector(functions))
        + section(5, b"\1\0\1")
        + section(7, vector([b"\6memory\2\0"]))
        + section(10, vector(sized))
    )


def locals_bomb(functions: int, count: int) -> bytes:
    body = b"\1" + encode_u32(count) + b"\x7f\x0b"
    return with_bodies([body] * functions)


def nested_blocks(depth: int) -> bytes:
    return with_bodies([b"\0" + b"\x02\x40" * depth + b"\x0b" * depth + b"\x0b"])


def nested_ifs(depth: int) -> bytes:
    return with_bodies([b"\0" + b"\x41\0\x04\x40" * depth + b"\x0b" * depth + b"\x0b"])


@pytest.fixture
async def compiler() -> AsyncIterator[JailedCompiler]:
    jail = ZygoteJail(POLICY)
    yield JailedCompiler(jail, timeout_seconds=3)
    await jail.aclose()


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (locals_bomb(2_000, 50_000), "locals"),
        (locals_bomb(20_000, 50_000), "locals"),
        (with_bodies([b"\0\x0b"] * 20_001), "functions"),
        (nested_blocks(300_000), "body_bytes"),
    ],
    ids=["locals", "many locals", "many functions", "deep blocks"],
)
def test_a_bomb_over_a_cap_is_refused_before_it_is_compiled(body: bytes, what: str) -> None:
    with pytest.raises(StockadeError) as refused:
        admit(body)
    assert refused.value.code == "module.too_complex"
    assert refused.value.detail["what"] == what


async def test_a_bomb_under_every_cap_ends_at_the_jails_bounds(compiler: JailedCompiler) -> None:
    with pytest.raises(StockadeError) as refused:
        await compiler.compile(nested_ifs(100_000))
    assert refused.value.code == "module.too_costly"
    assert await compiler.compile(guests.ECHO)


async def test_what_the_engine_refuses_says_why(compiler: JailedCompiler) -> None:
    with pytest.raises(StockadeError) as refused:
        await compiler.compile(with_bodies([b"\0\x6a\x0b"]))
    assert refused.value.code == "module.invalid"
    assert refused.value.detail["reason"]


@pytest.mark.parametrize("text", [b"(module)", b"", b"\0asm", b"\0asm\x0d\0\1\0"])
async def test_only_binary_core_modules_are_compiled(compiler: JailedCompiler, text: bytes) -> None:
    with pytest.raises(StockadeError) as refused:
        await compiler.compile(text)
    assert refused.value.code == "module.invalid"
