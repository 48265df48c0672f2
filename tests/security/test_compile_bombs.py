"""Modules that are small to send and costly to compile: refused with a code, within bounds."""

import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from registry.admission import admit
from registry.module_reader import StaticCaps, read_module
from registry.signature_format import encode_u32
from sandbox_worker.guest.jail import JailBounds
from stockade.core.errors import StockadeError
from stockade.infra.jailed_compiler import JailedCompiler
from stockade.infra.zygote_jail import ZygoteJail
from tests.guest import guests
from tests.security.bounded_jail import BoundedJail

pytestmark = pytest.mark.undisturbed

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
async def jail() -> AsyncIterator[ZygoteJail]:
    made = ZygoteJail(POLICY)
    yield made
    await made.aclose()


@pytest.fixture
def compiler(jail: ZygoteJail) -> JailedCompiler:
    return JailedCompiler(jail, timeout_seconds=3)


def nested_ifs_with_locals(depth: int, count: int) -> bytes:
    body = b"\1" + encode_u32(count) + b"\x7f"
    return with_bodies([body + b"\x41\0\x04\x40" * depth + b"\x0b" * depth + b"\x0b"])


def branch_tables(targets: int, tables: int) -> bytes:
    table = b"\x41\0\x0e" + encode_u32(targets) + bytes(targets + 1)
    return with_bodies([b"\0\x02\x40" + table * tables + b"\x0b\x0b"])


def loops_with_locals(count: int, loops: int) -> bytes:
    uses = b"".join(b"\x20" + encode_u32(at) + b"\x21" + encode_u32(at) for at in range(count))
    body = b"\1" + encode_u32(count) + b"\x7f" + (b"\x03\x40" + uses + b"\x0b") * loops
    return with_bodies([body + b"\x0b"])


ADDS = b"\x41\1\x6a"


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (locals_bomb(2_000, 50_000), "locals"),
        (locals_bomb(20_000, 50_000), "locals"),
        (nested_ifs(30_000), "nesting"),
        (nested_ifs_with_locals(10_000, 1_000), "nesting"),
        (with_bodies([b"\0\x0b"] * 100_000), "functions"),
        (with_bodies([b"\0\x0b"] * 1_000_000), "functions"),
        (branch_tables(5_000, 100), "all_branch_targets"),
        (with_bodies([b"\0\x41\0" + ADDS * 2_400_000 + b"\x1a\x0b"]), "body_bytes"),
        (nested_blocks(2_000_000), "body_bytes"),
        (loops_with_locals(200, 2_000), "body_bytes"),
        (nested_blocks(100_000), "nesting"),
        (branch_tables(10_000, 1), "branch_targets"),
        (with_bodies([b"\0" + b"\x02\x40\x0b" * 100_000 + b"\x0b"] * 11), "blocks"),
    ],
    ids=[
        "locals", "many locals", "nested ifs", "nested ifs with locals", "many functions",
        "very many functions", "branch tables", "straight line", "very deep blocks",
        "loops with locals", "deep blocks", "one large branch table", "many blocks",
    ],
)  # fmt: skip
def test_a_bomb_over_a_cap_is_refused_before_it_is_compiled(body: bytes, what: str) -> None:
    with pytest.raises(StockadeError) as refused:
        admit(body)
    assert refused.value.code == "module.too_complex"
    assert refused.value.detail["what"] == what


def under_every_cap(bombs: int) -> bytes:
    """As deep as modules may be, many times over: a twentieth of a second each to compile."""
    return with_bodies([b"\0" + b"\x41\0\x04\x40" * 1_999 + b"\x0b" * 2_000] * bombs)


async def test_a_bomb_under_every_cap_ends_at_the_deadline(compiler: JailedCompiler) -> None:
    assert read_module(under_every_cap(400), StaticCaps())
    with pytest.raises(StockadeError) as refused:
        await compiler.compile(under_every_cap(400))
    assert refused.value.code == "module.too_costly"
    assert await compiler.compile(guests.ECHO)


async def test_a_bomb_under_every_cap_ends_with_its_processor_time() -> None:
    jail = BoundedJail(JailBounds(data_bytes=1 << 30, cpu_seconds=1))
    compiler = JailedCompiler(jail, timeout_seconds=60)
    with pytest.raises(StockadeError) as refused:
        await compiler.compile(under_every_cap(400))
    assert refused.value.code == "module.too_costly"
    assert await jail.ends() == [-signal.SIGKILL]


async def test_a_bomb_ends_with_its_memory() -> None:
    jail = BoundedJail(JailBounds(data_bytes=200 << 20, cpu_seconds=60))
    compiler = JailedCompiler(jail, timeout_seconds=60)
    assert await compiler.compile(guests.ECHO)
    with pytest.raises(StockadeError) as refused:
        await compiler.compile(with_bodies([b"\0\x41\0" + ADDS * 1_000_000 + b"\x1a\x0b"]))
    assert refused.value.code == "module.too_costly"
    assert await jail.ends() == [0, -signal.SIGABRT]


async def test_an_artifact_beyond_its_bound_is_not_taken(jail: ZygoteJail) -> None:
    bounded = JailedCompiler(jail, max_artifact_bytes=100_000)
    assert await bounded.compile(guests.ECHO)
    with pytest.raises(StockadeError) as refused:
        await bounded.compile(with_bodies([b"\0\x0b"] * 5_000))
    assert refused.value.code == "module.too_costly"


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
