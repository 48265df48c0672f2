"""Whether a module may run now, as the catalog, the policies and the operator say it.

What the catalog says is trusted for `trust_seconds`; the policies and the deny list are those of
this moment, which their adapters keep within a second or so of their files.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import structlog

from registry.trust import (
    Counting,
    RememberedVoucher,
    check_denied,
    check_threshold,
    count_signers,
)
from registry.verification import stored_hashes, verify_hashes
from stockade.core.blobs import BlobStore
from stockade.core.errors import StockadeError
from stockade.core.modules import Signer, StoredModule
from stockade.core.ports import Catalog, Clock, PolicyEngine
from stockade.core.single_flight import SingleFlight
from stockade.core.trust import FunctionTrust, OnDistrust, TrustRules

_log = structlog.get_logger()
_MOST_KEPT = 10_000
_Place = tuple[str, str, bool]
"""Tenant, digest, and whether it is asked about what runs."""
_K = TypeVar("_K")
_LONG_AGO = float("-inf")
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Checked:
    """What was found of a tenant's module; its hashes stay true for as long as its digest does."""

    hashes: tuple[bytes, ...]
    counting: Counting
    policies: str
    checked_at: float


class ModuleTrust:
    """Checks modules before each run, and while they run.

    Args:
        catalog: Says whose the module is and whom its tenant trusts.
        blobs: Has the modules.
        policies: Say whose signatures count.
        rules: The operator's word: which modules may not run.
        clock: For the validity of signers.
        trust_seconds: How long the catalog's answer is trusted: a revocation acts after that.
    """

    def __init__(
        self,
        catalog: Catalog,
        blobs: BlobStore,
        policies: PolicyEngine,
        rules: TrustRules,
        clock: Clock,
        trust_seconds: float,
    ) -> None:
        self._catalog = catalog
        self._blobs = blobs
        self._policies = policies
        self._voucher = RememberedVoucher(policies)
        self._rules = rules
        self._clock = clock
        self._trust_seconds = trust_seconds
        self._checked: dict[_Place, _Checked] = {}
        self._checking: SingleFlight[tuple[_Place, int], _Checked] = SingleFlight()
        self._asked: dict[tuple[str, str], tuple[FunctionTrust | None, float]] = {}
        self._changes = 0

    async def check(
        self, tenant: str, digest: str, function: str | None = None, *, runs: bool = False
    ) -> None:
        """Passes when the module may run for the tenant now, as this function if one is named.

        With `runs` it is asked about what has begun: signers whose time is over since still count.

        Raises:
            StockadeError: `module.not_found`, a refusal of `registry.verification` or
                `registry.trust`, or that a store cannot be reached.
        """
        check_denied(self._rules.current, digest)
        place = tenant, digest, runs
        checked = self._checked.get(place)
        if checked is None or not self._is_fresh(checked):
            changes = self._changes
            checked = await self._checking.run(
                (place, changes), lambda: self._check(place, changes)
            )
        if function is not None:
            check_threshold(await self._function_trust(tenant, function), checked.counting)

    def forget(self, tenant: str | None = None) -> None:
        """Asks the catalog anew about what the tenant, or any, has: it was changed."""
        self._changes += 1
        for place, checked in self._checked.items():
            if tenant in {None, place[0]}:
                self._checked[place] = replace(checked, checked_at=_LONG_AGO)
        for asked in [asked for asked in self._asked if tenant in {None, asked[0]}]:
            del self._asked[asked]

    def alarms(self) -> dict[str, str | None]:
        """By kind of files, why the newest ones are not in force; None when they are."""
        return {"authorization": self._policies.alarm, "trust": self._rules.alarm}

    def on_distrust(self, tenant: str) -> OnDistrust:
        """What becomes of the tenant's runs under way when their module loses trust."""
        return self._rules.current.on_distrust(tenant)

    def _is_fresh(self, checked: _Checked) -> bool:
        young = time.monotonic() - checked.checked_at < self._trust_seconds
        return young and checked.policies == self._voucher.version

    async def _check(self, place: _Place, changes: int) -> _Checked:
        tenant, digest, runs = place
        # Trust begins where it was looked at, not where a long reading ended; what was read before
        # a change is not trusted behind it.
        started, policies = time.monotonic(), self._voucher.version
        module = await self._catalog.module(tenant, digest)
        if module is None:
            raise module_not_found(digest)
        hashes = await self._hashes(place)
        signers = await self._catalog.signers(tenant)
        if runs:
            signers = [replace(signer, not_after_ms=None) for signer in signers]
        now_ms = self._clock.now_ms()
        # Curves and policies take milliseconds that every other run would wait for.
        counting = await asyncio.to_thread(self._count, module, signers, hashes, now_ms)
        checked = _Checked(hashes, counting, policies, started)
        kept = checked if changes == self._changes else replace(checked, checked_at=_LONG_AGO)
        _keep(self._checked, place, kept)
        return checked

    async def _hashes(self, place: _Place) -> tuple[bytes, ...]:
        tenant, digest, _runs = place
        for known in (self._checked.get((tenant, digest, runs)) for runs in (False, True)):
            if known is not None:
                return known.hashes
        body = await read_module(self._blobs, digest)
        # Hashing megabytes would hold up every other run.
        return await asyncio.to_thread(stored_hashes, body, digest)

    def _count(
        self,
        module: StoredModule,
        signers: Sequence[Signer],
        hashes: tuple[bytes, ...],
        now_ms: int,
    ) -> Counting:
        names = verify_hashes(hashes, module.signatures, signers, now_ms)
        return count_signers(self._voucher, module, signers, names)

    async def _function_trust(self, tenant: str, function: str) -> FunctionTrust | None:
        now, changes = time.monotonic(), self._changes
        asked = self._asked.get((tenant, function))
        if asked is not None and now - asked[1] < self._trust_seconds:
            return asked[0]
        trust = await self._catalog.function_trust(tenant, function)
        if changes == self._changes:
            _keep(self._asked, (tenant, function), (trust, now))
        return trust


def _keep(kept: dict[_K, _T], place: _K, value: _T) -> None:
    if len(kept) >= _MOST_KEPT:
        kept.clear()
    kept[place] = value


async def read_module(blobs: BlobStore, digest: str) -> bytes:
    """A module's bytes. Missing or damaged ones never run, and somebody should look at the store.

    Raises:
        StockadeError: `blobs.missing`, `blobs.corrupt`, or that the store cannot be reached.
    """
    try:
        body = await blobs.get(digest)
    except StockadeError as error:
        if error.code == "blobs.corrupt":
            _log.error("module_damaged", digest=digest)
        raise
    if body is None:
        _log.error("module_missing", digest=digest)
        raise StockadeError(
            "blobs.missing", f"The content of {digest} is not in the blob store; upload it again."
        )
    return body


def module_not_found(digest: str) -> StockadeError:
    """The refusal of a module that the tenant has not."""
    return StockadeError(
        "module.not_found", f"There is no module {digest!r} in this tenant; upload it again."
    )
