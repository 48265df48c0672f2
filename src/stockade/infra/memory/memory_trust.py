"""Signers, and what functions ask of them, in this process's memory."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from stockade.core.modules import Signer
from stockade.core.trust import FunctionTrust
from stockade.infra.catalog_values import (
    check_signer_storable,
    check_storable,
    check_trust_storable,
    signer_taken,
)


class MemoryTrustStore:
    """The `TrustStore` port in dictionaries.

    Args:
        check_tenant: Raises `tenant.not_found`.
    """

    def __init__(self, check_tenant: Callable[[str], None]) -> None:
        self._check_trust_tenant = check_tenant
        self._signers: dict[str, dict[str, Signer]] = {}
        self._trust: dict[tuple[str, str], FunctionTrust] = {}

    async def add_signer(self, tenant: str, signer: Signer) -> bool:
        """Trusts a key; False when exactly this signer was trusted already."""
        check_signer_storable(tenant, signer)
        self._check_trust_tenant(tenant)
        own = self._signers.setdefault(tenant, {})
        if signer in own.values():
            return False
        if signer.name in own or signer.public_key in {one.public_key for one in own.values()}:
            raise signer_taken(signer.name)
        own[signer.name] = signer
        return True

    async def signers(self, tenant: str) -> Sequence[Signer]:
        """All signers of the tenant, revoked ones too, by name."""
        own = self._signers.get(tenant, {})
        return tuple(own[name] for name in sorted(own))

    async def revoke_signer(
        self, tenant: str, name: str, revoked_ms: int, reason: str | None = None
    ) -> bool:
        """Marks a signer revoked (the first time counts); False when there is none of that name."""
        check_storable(revoked_ms, reason)
        own = self._signers.get(tenant, {})
        if name not in own:
            return False
        if own[name].revoked_ms is None:
            own[name] = replace(own[name], revoked_ms=revoked_ms, revoked_reason=reason)
        return True

    async def rotate_signer(self, tenant: str, successor: Signer, until_ms: int) -> bool:
        """Trusts a successor, and ends the window of the signer it replaces no later than this."""
        check_storable(until_ms)
        check_signer_storable(tenant, successor)
        own = self._signers.get(tenant, {})
        old = own.get(successor.replaces or "")
        if old is None:
            return False
        await self.add_signer(tenant, successor)
        if old.not_after_ms is None or old.not_after_ms > until_ms:
            own[old.name] = replace(old, not_after_ms=until_ms)
        return True

    async def put_function_trust(self, tenant: str, function: str, trust: FunctionTrust) -> bool:
        """Says what a function asks of signers, deployed or not yet; True when it said nothing."""
        check_trust_storable(tenant, function, trust)
        self._check_trust_tenant(tenant)
        created = (tenant, function) not in self._trust
        self._trust[tenant, function] = trust
        return created

    async def function_trust(self, tenant: str, function: str) -> FunctionTrust | None:
        """What the function asks of signers; None leaves it at one of any."""
        return self._trust.get((tenant, function))
