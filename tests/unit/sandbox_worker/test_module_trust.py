"""Trust before each run: what takes it back stops the next run, and time is that of the clock."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest

from registry.keys import public_bytes
from registry.verification import verify_module
from sandbox_worker.module_trust import ModuleTrust
from stockade.core.authorization import Decision, Question, Vouching
from stockade.core.errors import StockadeError
from stockade.core.modules import Abi, ModuleFacts, Signer, StoredModule
from stockade.core.trust import FunctionTrust, OnDistrust, TrustPolicy
from stockade.infra.memory.memory_blobs import MemoryBlobStore
from stockade.infra.memory.memory_catalog import MemoryCatalog
from tests.unit.gateway.installation import POLICIES, FixedTrustRules
from tests.unit.registry.signed_modules import BODY, NOW_MS, OTHER_KEY, SIGNER, payload, signed

FACTS = ModuleFacts(Abi.STOCKADE_V1, (), (), deterministic=True, size_bytes=len(BODY))
OTHER = Signer("other", public_bytes(OTHER_KEY))


@dataclass
class FakeClock:
    """The `Clock` port: stands where it is put."""

    now: int = NOW_MS

    def now_ms(self) -> int:
        return self.now

    def new_id(self) -> str:
        raise NotImplementedError


class Policies:
    """The `PolicyEngine` port: the shipped policies, until it vouches for nobody any more."""

    alarm: str | None = None

    def __init__(self) -> None:
        self.version = "1"
        self.answer: Decision | None = None
        self.asked = 0

    def decide(self, question: Question) -> Decision:
        return POLICIES.decide(question)

    def vouches(self, vouching: Vouching) -> Decision:
        self.asked += 1
        return self.answer or POLICIES.vouches(vouching)


class CountingCatalog(MemoryCatalog):
    """Counts how often it is asked."""

    asked = 0

    async def module(self, tenant: str, digest: str) -> StoredModule | None:
        self.asked += 1
        return await super().module(tenant, digest)

    async def function_trust(self, tenant: str, function: str) -> FunctionTrust | None:
        self.asked += 1
        return await super().function_trust(tenant, function)


@dataclass
class Place:
    """A worker's trust over a catalog with one module, signed by two."""

    catalog: CountingCatalog = field(default_factory=CountingCatalog)
    blobs: MemoryBlobStore = field(default_factory=MemoryBlobStore)
    policies: Policies = field(default_factory=Policies)
    rules: FixedTrustRules = field(default_factory=FixedTrustRules)
    clock: FakeClock = field(default_factory=FakeClock)
    digest: str = ""

    def trust(self, trust_seconds: float = 0) -> ModuleTrust:
        parts = (self.catalog, self.blobs, self.policies, self.rules, self.clock)
        return ModuleTrust(*parts, trust_seconds)

    async def code(self, trust: ModuleTrust, function: str | None = None) -> str | None:
        """The refusal's code; None when it passes."""
        try:
            await trust.check("alice", self.digest, function)
        except StockadeError as refusal:
            return refusal.code
        return None


@pytest.fixture
async def place() -> Place:
    made = Place()
    made.digest = await made.blobs.put(BODY)
    for tenant in ("alice", "bob"):
        await made.catalog.ensure_tenant(tenant)
    for signer in (SIGNER, OTHER):
        await made.catalog.add_signer("alice", signer)
    signatures = (payload(BODY), payload(BODY, OTHER_KEY))
    await made.catalog.add_module(StoredModule("alice", made.digest, FACTS, signatures, 0))
    return made


async def test_a_revocation_stops_the_next_run_of_what_only_that_key_signed(place: Place) -> None:
    trust = place.trust()
    assert await place.code(trust) is None
    await place.catalog.revoke_signer("alice", "ci", 1, "stolen")
    assert await place.code(trust) is None
    await place.catalog.revoke_signer("alice", "other", 1, "stolen")
    assert await place.code(trust) == "module.signer_revoked"


async def test_within_its_time_an_answer_is_kept_and_nothing_is_asked(place: Place) -> None:
    trust = place.trust(60)
    assert await place.code(trust, "pay") is None
    asked = place.catalog.asked
    await place.catalog.revoke_signer("alice", "ci", 1)
    await place.catalog.revoke_signer("alice", "other", 1)
    assert await place.code(trust, "pay") is None
    assert place.catalog.asked == asked
    assert await place.code(place.trust(60), "pay") == "module.signer_revoked"


async def test_a_module_is_read_once_and_its_signatures_each_time(place: Place) -> None:
    trust = place.trust()
    assert await place.code(trust) is None
    await place.blobs.delete(place.digest)
    assert await place.code(trust) is None
    assert await place.code(place.trust()) == "blobs.missing"


async def test_a_denial_acts_at_once(place: Place) -> None:
    trust = place.trust(60)
    assert await place.code(trust) is None
    place.rules.current = TrustPolicy(denied={place.digest: "No."})
    assert await place.code(trust) == "module.denied"
    place.rules.current = TrustPolicy()
    assert await place.code(trust) is None


async def test_policies_that_vouch_no_more_act_at_once(place: Place) -> None:
    trust = place.trust(60)
    assert await place.code(trust) is None
    place.policies.answer = Decision(allowed=False, policies=("nobody",))
    place.policies.version = "2"
    assert await place.code(trust) == "module.signer_denied"


async def test_a_policy_that_fails_vouches_for_nobody(place: Place) -> None:
    place.policies.answer = Decision(allowed=False, failed=True)
    assert await place.code(place.trust()) == "module.signer_denied"


async def test_policies_are_asked_once_for_each_signer(place: Place) -> None:
    trust = place.trust()
    for _ in range(5):
        assert await place.code(trust) is None
    assert place.policies.asked == 2


async def test_a_function_that_asks_for_two_needs_two(place: Place) -> None:
    trust = place.trust()
    await place.catalog.put_function_trust("alice", "pay", FunctionTrust(2))
    assert await place.code(trust, "pay") is None
    await place.catalog.revoke_signer("alice", "other", 1)
    assert await place.code(trust, "pay") == "module.signers_missing"
    assert await place.code(trust, "greet") is None
    assert await place.code(trust) is None
    await place.catalog.put_function_trust("alice", "pay", FunctionTrust(1))
    assert await place.code(trust, "pay") is None


async def test_both_halves_of_a_rotation_are_one_party(place: Place) -> None:
    trust = place.trust()
    await place.catalog.put_function_trust("alice", "pay", FunctionTrust(2, ("ci", "other")))
    assert await place.code(trust, "pay") is None
    successor = Signer("ci-2", public_bytes(OTHER_KEY), replaces="ci")
    fresh = MemoryCatalog()
    await fresh.ensure_tenant("alice")
    await fresh.add_signer("alice", SIGNER)
    assert await fresh.rotate_signer("alice", successor, NOW_MS + 10)
    await fresh.put_function_trust("alice", "pay", FunctionTrust(2))
    module = await place.catalog.module("alice", place.digest)
    assert module is not None
    await fresh.add_module(module)
    parts = (fresh, place.blobs, place.policies, place.rules, place.clock)
    assert await place.code(ModuleTrust(*parts, 0), "pay") == "module.signers_missing"
    assert await place.code(ModuleTrust(*parts, 0), "greet") is None


async def test_a_key_counts_within_its_window_whatever_the_clock_does(place: Place) -> None:
    catalog = place.catalog
    for signer in (SIGNER, OTHER):
        windowed = replace(signer, not_before_ms=NOW_MS, not_after_ms=NOW_MS + 100)
        catalog._signers["alice"][signer.name] = windowed
    trust = place.trust()
    steps = [
        (NOW_MS - 1, "module.signer_not_yet_valid"),
        (NOW_MS, None),
        (NOW_MS + 99, None),
        (NOW_MS + 100, "module.signer_expired"),
        (NOW_MS - 3_600_000, "module.signer_not_yet_valid"),
        (NOW_MS + 50, None),
        (2**62, "module.signer_expired"),
        (0, "module.signer_not_yet_valid"),
    ]
    for now_ms, code in steps:
        place.clock.now = now_ms
        assert await place.code(trust) == code


async def test_a_clock_that_jumps_back_revives_no_revoked_key(place: Place) -> None:
    for name in ("ci", "other"):
        await place.catalog.revoke_signer("alice", name, NOW_MS)
    place.clock.now = NOW_MS - 3_600_000
    assert await place.code(place.trust()) == "module.signer_revoked"


async def test_a_key_that_expires_after_the_upload_stops_the_next_run(place: Place) -> None:
    for signer in (SIGNER, OTHER):
        place.catalog._signers["alice"][signer.name] = replace(signer, not_after_ms=NOW_MS + 1)
    verified = verify_module(signed(BODY), None, await place.catalog.signers("alice"), NOW_MS)
    assert (verified.digest, verified.signers) == (place.digest, ("ci",))
    trust = place.trust()
    assert await place.code(trust) is None
    place.clock.now = NOW_MS + 1
    assert await place.code(trust) == "module.signer_expired"


async def test_what_was_read_before_a_revocation_is_not_trusted_longer_for_it(
    place: Place,
) -> None:
    """A check that hangs between its look and its end has been trusted since its look."""
    trust = place.trust(60)
    looked, go_on = asyncio.Event(), asyncio.Event()
    original = place.catalog.signers

    async def slow(tenant: str) -> Sequence[Signer]:
        found = await original(tenant)
        looked.set()
        await go_on.wait()
        return found

    place.catalog.signers = slow  # type: ignore[method-assign]
    checking = asyncio.ensure_future(place.code(trust))
    await looked.wait()
    before = time.monotonic()
    go_on.set()
    assert await checking is None
    assert all(checked.checked_at <= before for checked in trust._checked.values())


async def test_a_window_that_ends_ends_no_run(place: Place) -> None:
    await place.catalog.put_function_trust("alice", "pay", FunctionTrust(2))
    windowed = replace(OTHER, not_after_ms=NOW_MS + 100)
    place.catalog._signers["alice"]["other"] = windowed
    place.clock.now = NOW_MS + 100
    trust = place.trust()
    assert await place.code(trust, "pay") == "module.signers_missing"
    await trust.check("alice", place.digest, "pay", runs=True)
    await place.catalog.revoke_signer("alice", "other", 1)
    with pytest.raises(StockadeError, match=r"^module\.signers_missing"):
        await trust.check("alice", place.digest, "pay", runs=True)


async def test_a_rotation_overlaps_and_then_ends(place: Place) -> None:
    trust = place.trust()
    await place.catalog.revoke_signer("alice", "other", 1)
    successor = Signer("ci-2", b"\x05" * 32, replaces="ci")
    assert await place.catalog.rotate_signer("alice", successor, NOW_MS + 100)
    assert await place.code(trust) is None
    place.clock.now = NOW_MS + 100
    assert await place.code(trust) == "module.signer_revoked"


async def test_another_tenants_module_is_not_there(place: Place) -> None:
    with pytest.raises(StockadeError, match=r"^module\.not_found"):
        await place.trust().check("bob", place.digest)


async def test_another_tenants_upload_of_the_same_bytes_lends_no_trust(place: Place) -> None:
    signatures = (payload(BODY),)
    await place.catalog.add_module(StoredModule("bob", place.digest, FACTS, signatures, 0))
    trust = place.trust()
    assert await place.code(trust) is None
    with pytest.raises(StockadeError, match=r"^module\.signer_unknown"):
        await trust.check("bob", place.digest)


async def test_what_is_kept_is_bounded(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sandbox_worker.module_trust._MOST_KEPT", 2)
    trust = place.trust(60)
    for function in "abcde":
        assert await place.code(trust, function) is None
    assert len(trust._asked) <= 2


async def test_the_operators_word_about_runs_is_handed_on(place: Place) -> None:
    trust = place.trust()
    assert trust.on_distrust("alice") is OnDistrust.KILL
    place.rules.current = TrustPolicy(tenants={"alice": OnDistrust.FINISH})
    assert trust.on_distrust("alice") is OnDistrust.FINISH


async def test_what_a_tenant_changed_is_asked_anew_at_once(place: Place) -> None:
    trust = place.trust(5)
    assert await place.code(trust, "pay") is None
    for name in ("ci", "other"):
        await place.catalog.revoke_signer("alice", name, 1, "stolen")
    trust.forget("bob")
    assert await place.code(trust, "pay") is None
    trust.forget("alice")
    assert await place.code(trust, "pay") == "module.signer_revoked"


async def test_what_a_function_asks_of_signers_is_asked_anew_at_once(place: Place) -> None:
    trust = place.trust(5)
    assert await place.code(trust, "pay") is None
    await place.catalog.put_function_trust("alice", "pay", FunctionTrust(3))
    assert await place.code(trust, "pay") is None
    trust.forget()
    assert await place.code(trust, "pay") == "module.signers_missing"


async def test_what_was_read_before_a_change_is_not_trusted_behind_it(place: Place) -> None:
    trust = place.trust(5)

    class Slow(CountingCatalog):
        """Forgets, as when a change is heard, while it is asked."""

        async def signers(self, tenant: str) -> Sequence[Signer]:
            found = await super().signers(tenant)
            trust.forget(tenant)
            return found

        async def function_trust(self, tenant: str, function: str) -> FunctionTrust | None:
            found = await super().function_trust(tenant, function)
            trust.forget(tenant)
            return found

    place.catalog.__class__ = Slow
    assert await place.code(trust, "pay") is None
    asked = place.catalog.asked
    assert await place.code(trust, "pay") is None
    assert place.catalog.asked == asked + 2
