"""Whose signatures count for which function, and which modules may not run at all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from stockade.core.modules import Signer

MAX_SIGNERS = 1_000
"""Of one tenant, revoked ones too: each check looks at all of them."""
MAX_THRESHOLD = 16
MAX_NAMED_SIGNERS = 64
MAX_REASON_CHARACTERS = 500


@dataclass(frozen=True, slots=True)
class FunctionTrust:
    """How many signers a function's module needs, and of which; no names means any of the tenant's.

    Signers that replaced one another are one party: they count once, and each goes by the name of
    any of them.
    """

    threshold: int = 1
    signers: tuple[str, ...] = ()


class OnDistrust(StrEnum):
    """What becomes of a run under way whose module lost trust: stopped, or left to finish."""

    KILL = "kill"
    FINISH = "finish"


@dataclass(frozen=True, slots=True)
class TrustPolicy:
    """What the operator says: `denied` maps the digests that nobody may run to the reasons."""

    running: OnDistrust = OnDistrust.KILL
    tenants: Mapping[str, OnDistrust] = field(default_factory=dict)
    denied: Mapping[str, str] = field(default_factory=dict)

    def on_distrust(self, tenant: str) -> OnDistrust:
        """What becomes of the tenant's runs."""
        return self.tenants.get(tenant, self.running)


class TrustRules(Protocol):
    """The operator's trust policy as it is now."""

    @property
    def current(self) -> TrustPolicy:
        """The newest that could be read."""

    @property
    def alarm(self) -> str | None:
        """Why a newer one is not in force; None when this is the newest."""


class TrustStore(Protocol):
    """Whom tenants trust, and what their functions ask of signers."""

    async def add_signer(self, tenant: str, signer: Signer) -> bool:
        """Trusts a key; False when exactly this signer was trusted already.

        Raises:
            StockadeError: `signer.exists` when the name or the key is taken by another signer of
                the tenant.
        """

    async def signers(self, tenant: str) -> Sequence[Signer]:
        """All signers of the tenant, revoked ones too, by name."""

    async def revoke_signer(
        self, tenant: str, name: str, revoked_ms: int, reason: str | None = None
    ) -> bool:
        """Marks a signer revoked (the first time counts); False when there is none of that name."""

    async def rotate_signer(self, tenant: str, successor: Signer, until_ms: int) -> bool:
        """Trusts a successor, and ends the window of the signer it `replaces` no later than this.

        Both in one step; the same again is no change. False when there is no such signer.

        Raises:
            StockadeError: `signer.exists`, as for `add_signer`.
        """

    async def put_function_trust(self, tenant: str, function: str, trust: FunctionTrust) -> bool:
        """Says what a function asks of signers, deployed or not yet; True when it said nothing."""

    async def function_trust(self, tenant: str, function: str) -> FunctionTrust | None:
        """What the function asks of signers; None leaves it at one of any."""
