"""Valid modules, changed at random: refused or run, never a failure of ours, a hang, or a death.

Each is signed anew, so that it gets past the signatures; what is admitted is compiled in the jail
and run in a real executor. `--mutations N` tries more than the few thousand of an ordinary run.
"""

import random
from pathlib import Path

import pytest

from registry.admission import admit
from registry.signing import sign
from registry.verification import verify_module
from stockade.core.errors import StockadeError
from stockade.core.limits import Limits
from stockade.core.outcomes import Outcome
from tests.guest import guests
from tests.security.sandbox import Sandbox
from tests.unit.gateway.installation import installed
from tests.unit.registry.signed_modules import KEY, NOW_MS, SIGNER

pytestmark = pytest.mark.undisturbed

LIMITS = Limits(fuel=5_000_000, wall_ms=2_000, memory_bytes=32 << 20, log_bytes=4096)
ROOT = Path(__file__).parents[2] / "examples" / "wasm"
SMALL = [
    guests.ECHO, guests.LOG_FLOOD, guests.CAT, guests.TABLE_BOMB, guests.CALLS_EVERYTHING,
    guests.MEMORY_BOMB, guests.RECURSE,
]  # fmt: skip
EXAMPLES = [ROOT / f"{name}/{name}.wasm" for name in ("text-redaction", "order-pricing")]


def _flip(content: bytearray, at: int, chance: random.Random) -> None:
    content[at] ^= 1 << chance.randrange(8)


def _set(content: bytearray, at: int, chance: random.Random) -> None:
    content[at] = chance.choice([0, 0x7F, 0x80, 0xFF, 0x40, 0x0B])


def _drop(content: bytearray, at: int, chance: random.Random) -> None:
    del content[at : at + chance.randint(1, 8)]


def _insert(content: bytearray, at: int, chance: random.Random) -> None:
    content[at:at] = chance.randbytes(chance.randint(1, 8))


def _move(content: bytearray, at: int, chance: random.Random) -> None:
    other = chance.randrange(8, len(content))
    content[at : at + 16] = content[other : other + 16]


def _lengthen(content: bytearray, at: int, chance: random.Random) -> None:
    content[at:at] = b"\x80" * chance.randint(1, 4)


def _cut(content: bytearray, at: int, _chance: random.Random) -> None:
    del content[max(9, at) :]


CHANGES = [_flip, _set, _drop, _insert, _move, _lengthen, _cut]


def mutated(body: bytes, chance: random.Random) -> bytes:
    """The body with one to four changes."""
    content = bytearray(body)
    for _ in range(chance.randint(1, 4)):
        if len(content) > 10:
            chance.choice(CHANGES)(content, chance.randrange(8, len(content)), chance)
    return bytes(content)


def changed_in_place(body: bytes, chance: random.Random) -> bytes:
    """The body with one to three bytes of its instructions or data changed: often still valid."""
    content = bytearray(body)
    start = body.find(b"\x0a", len(body) // 3)
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(max(8, start), len(content))
        small = chance.randrange(-3, 4)
        content[at] = chance.choice([(content[at] + small) & 0x7F, chance.randrange(0x20, 0xC5)])
    return bytes(content)


def originals() -> list[bytes]:
    return SMALL + [path.read_bytes() for path in EXAMPLES]


@pytest.fixture
def mutations(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--mutations"))


def test_the_registry_refuses_or_admits(mutations: int) -> None:
    chance = random.Random(1)  # noqa: S311 (repeatable)
    bodies = originals()
    for _ in range(mutations):
        body = mutated(chance.choice(bodies), chance)
        try:
            admit(body)
        except StockadeError as error:
            assert error.code.startswith("module.")  # noqa: PT017 (either may happen)


async def test_an_upload_never_fails_on_our_side(mutations: int) -> None:
    chance = random.Random(2)  # noqa: S311 (repeatable)
    bodies = originals()
    async with installed() as gateway:
        for _ in range(mutations // 10):
            body = mutated(chance.choice(bodies), chance)
            if chance.random() < 0.8:
                try:
                    body = sign(body, KEY)
                except StockadeError:
                    continue
            answer = await gateway.upload(body)
            assert answer.status_code < 500, (answer.text, body.hex())


async def test_what_is_admitted_runs_or_is_refused_by_the_engine(
    sandbox: Sandbox, mutations: int
) -> None:
    chance = random.Random(3)  # noqa: S311 (repeatable)
    ran = 0
    for _ in range(mutations // 10):
        body = changed_in_place(chance.choice(SMALL), chance)
        try:
            verified = verify_module(sign(body, KEY), None, [SIGNER], NOW_MS)
            facts = admit(verified.body)
            result = await sandbox.run(verified.body, b"input", limits=LIMITS, abi=facts.abi)
        except StockadeError as error:
            assert error.code.startswith("module."), error  # noqa: PT017 (either may happen)
            continue
        ran += 1
        assert result.outcome is not Outcome.CRASHED, verified.body.hex()
        assert result.outcome in {
            Outcome.COMPLETED, Outcome.REJECTED, Outcome.TRAPPED, Outcome.LIMIT_EXCEEDED,
        }  # fmt: skip
    assert ran > mutations // 100, "mutants must get as far as running"
    await sandbox.is_unharmed()
