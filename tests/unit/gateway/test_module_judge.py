"""Uploads are judged by turns: whoever sends many waits for himself."""

import asyncio

from gateway.module_judge import ModuleJudge
from stockade.core.digests import digest_of
from stockade.core.errors import StockadeError
from tests.unit.registry.signed_modules import BODY, NOW_MS, SIGNER, signed


async def verdict(judge: ModuleJudge, tenant: str, content: bytes) -> str:
    """The module's digest, or the code of the refusal."""
    try:
        verified, facts = await judge.judge(tenant, content, None, [SIGNER], NOW_MS)
    except StockadeError as error:
        return error.code
    assert facts.size_bytes == len(verified.body)
    return verified.digest


async def test_modules_are_verified_and_admitted() -> None:
    judge = ModuleJudge()
    assert await verdict(judge, "a", signed(BODY)) == digest_of(BODY)
    assert await verdict(judge, "a", BODY) == "module.unsigned"
    bad = signed(BODY[:8] + b"\x05\x03\x01\x04\x01")
    assert await verdict(judge, "a", bad) == "module.unsupported_feature"


async def test_who_sends_many_is_sent_away_and_nobody_else() -> None:
    judge = ModuleJudge()
    verdicts = await asyncio.gather(
        *(verdict(judge, tenant, signed(BODY)) for tenant in ["greedy"] * 70 + ["other"] * 5)
    )
    assert verdicts[:65] == [digest_of(BODY)] * 65
    assert verdicts[65:70] == ["module.compiler_busy"] * 5
    assert verdicts[70:] == [digest_of(BODY)] * 5
    assert await verdict(judge, "greedy", signed(BODY)) == digest_of(BODY)
