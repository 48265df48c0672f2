"""Judges uploads, one at a time: reading hostile megabytes must not take the gateway's time."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from registry.admission import admit
from registry.verification import VerifiedModule, verify_module
from stockade.core.module_turns import ModuleTurns
from stockade.core.modules import ModuleFacts, Signer

_MOST_WAITING = 64


class ModuleJudge:
    """Verifies and admits modules in a thread; tenants take turns."""

    def __init__(self) -> None:
        self._turns = ModuleTurns(_MOST_WAITING)
        # Several would share the interpreter with whoever serves requests.
        self._thread = ThreadPoolExecutor(1, "module-judge")

    async def judge(
        self,
        tenant: str,
        content: bytes,
        detached: bytes | None,
        signers: Sequence[Signer],
        now_ms: int,
    ) -> tuple[VerifiedModule, ModuleFacts]:
        """The module that the tenant's signers vouch for, and what the reader saw in it.

        Raises:
            StockadeError: why the module is not taken (`module.…`).
        """
        loop = asyncio.get_running_loop()
        async with self._turns.turn(tenant):
            return await loop.run_in_executor(
                self._thread, _judge, content, detached, signers, now_ms
            )


def _judge(
    content: bytes, detached: bytes | None, signers: Sequence[Signer], now_ms: int
) -> tuple[VerifiedModule, ModuleFacts]:
    verified = verify_module(content, detached, signers, now_ms)
    return verified, admit(verified.body)
