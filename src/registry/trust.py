"""Whether a module whose signatures were verified may run now: denials, policies, thresholds.

The rules, in order, on top of those of `registry.verification`:

1. The operator's deny list does not have the module's digest (`module.denied`).
2. Of the signers that stand, those count for which the policies vouch; a policy that cannot be
   evaluated vouches for nobody (`module.signer_denied` when none is left).
3. A function may ask for several signers, of some or of all: so many parties must count
   (`module.signers_missing`). Signers that replaced one another are one party.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from stockade.core.authorization import Decision, Vouching, module_resource
from stockade.core.errors import StockadeError
from stockade.core.modules import Signer, StoredModule
from stockade.core.trust import FunctionTrust, TrustPolicy

_LOST_TRUST = frozenset({
    "module.denied",
    "module.signer_denied",
    "module.signer_revoked",
    "module.signers_missing",
})  # fmt: skip
_MAX_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class Counting:
    """The signers of a module that count, and the party that each of the tenant's belongs to."""

    names: tuple[str, ...]
    parties: Mapping[str, str]


class Voucher(Protocol):
    """Says whose signatures count: a `PolicyEngine`, or one whose answers are remembered."""

    def vouches(self, vouching: Vouching) -> Decision:
        """Whether the signer's signature counts for the module."""


class VersionedVoucher(Voucher, Protocol):
    """One whose answers are the same for as long as its version is."""

    @property
    def version(self) -> str:
        """A digest of the policies in force."""


class RememberedVoucher:
    """Asks the policies once for each question, until they change; threads may share one."""

    def __init__(self, engine: VersionedVoucher) -> None:
        self._engine = engine
        self._version = engine.version
        self._answers: dict[tuple[object, ...], Decision] = {}

    @property
    def version(self) -> str:
        """A digest of the policies in force."""
        return self._engine.version

    def vouches(self, vouching: Vouching) -> Decision:
        """Whether the signer's signature counts for the module."""
        version, module = self._engine.version, vouching.module
        if version != self._version or len(self._answers) >= _MAX_REMEMBERED:
            self._answers.clear()
            self._version = version
        signer = (vouching.tenant, vouching.signer, vouching.public_key_hex)
        key = (version, *signer, module.name, tuple(sorted(module.attributes.items())))
        answer = self._answers.get(key)
        if answer is None:
            answer = self._engine.vouches(vouching)
            # An answer of policies that changed meanwhile may be of either.
            if self._engine.version == version:
                self._answers[key] = answer
        return answer


def check_denied(policy: TrustPolicy, digest: str) -> None:
    """Rule 1.

    Raises:
        StockadeError: `module.denied`.
    """
    reason = policy.denied.get(digest)
    if reason is not None:
        raise StockadeError(
            "module.denied",
            f"The operator denies this module to everybody: {reason} Deploy another one.",
            detail={"digest": digest, "reason": reason},
        )


def count_signers(
    voucher: Voucher, module: StoredModule, signers: Sequence[Signer], names: Sequence[str]
) -> Counting:
    """Rule 2, of the signers whose valid signatures the module carries.

    Raises:
        StockadeError: `module.signer_denied`.
    """
    resource = module_resource(module, tuple(names))
    keys = {one.name: one.public_key.hex() for one in signers}
    answers = {
        name: voucher.vouches(Vouching(module.tenant, name, keys[name], resource))
        for name in names
    }  # fmt: skip
    counting = tuple(name for name, answer in answers.items() if answer.allowed)
    if not counting:
        raise _nobody_vouches(answers)
    return Counting(counting, parties(signers))


def check_threshold(trust: FunctionTrust | None, counting: Counting) -> None:
    """Rule 3.

    Raises:
        StockadeError: `module.signers_missing`.
    """
    if trust is None:
        return
    found = {counting.parties[name] for name in counting.names}
    if trust.signers:
        found &= named_parties(trust.signers, counting.parties)
    if len(found) >= trust.threshold:
        return
    of = f" of {', '.join(trust.signers)}" if trust.signers else ""
    raise StockadeError(
        "module.signers_missing",
        f"The function asks for {trust.threshold} signers{of}, and {len(found)} count for this"
        " module. Let another one sign it, and upload it again.",
        detail={
            "threshold": trust.threshold,
            "signers": list(trust.signers),
            "counting": sorted(found),
        },
    )


def parties(signers: Sequence[Signer]) -> Mapping[str, str]:
    """Each signer's name with that of the first of those that replaced one another."""
    before = {one.name: one.replaces for one in signers}
    found: dict[str, str] = {}
    for name in before:
        first, passed = name, dict[str, None]()
        while first not in found and first not in passed:
            passed[first] = None
            first = before.get(first) or first
        found |= dict.fromkeys(passed, found.get(first, first))
    return {name: found[name] for name in before}


def named_parties(names: Sequence[str], known: Mapping[str, str]) -> set[str]:
    """The parties that go by these names; an unknown name is its own."""
    return {known.get(name, name) for name in names}


def ends_runs(refusal: StockadeError) -> bool:
    """Whether the refusal says that trust was taken back: then what runs is not to go on either."""
    return refusal.code in _LOST_TRUST


def _nobody_vouches(answers: Mapping[str, Decision]) -> StockadeError:
    policies = sorted({name for answer in answers.values() for name in answer.policies})
    if any(answer.failed for answer in answers.values()):
        why = "A policy about signers could not be evaluated, so nobody's signature counts."
    elif policies:
        why = f"The policy {', '.join(map(repr, policies))} forbids that these signatures count."
    else:
        why = "No policy lets these signatures count."
    return StockadeError(
        "module.signer_denied",
        f"{why} Let another signer sign it, or ask the operator.",
        detail={"signers": sorted(answers), "policies": policies},
    )
