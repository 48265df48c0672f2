"""Each rule of trust, broken alone: denials, policies that vouch, thresholds over parties."""

from dataclasses import replace

import pytest

from registry.trust import (
    Counting,
    RememberedVoucher,
    check_denied,
    check_threshold,
    count_signers,
    ends_runs,
    named_parties,
    parties,
)
from stockade.core.authorization import Decision, Vouching
from stockade.core.digests import digest_of
from stockade.core.errors import StockadeError
from stockade.core.modules import Abi, ModuleFacts, Signer, StoredModule
from stockade.core.trust import FunctionTrust, OnDistrust, TrustPolicy

DIGEST = digest_of(b"module")
FACTS = ModuleFacts(Abi.STOCKADE_V1, ("stockade:v1.log",), (), deterministic=True, size_bytes=9)
MODULE = StoredModule("acme", DIGEST, FACTS, (), 0)
A = Signer("a", b"\x0a" * 32)
A2 = Signer("a-2", b"\x1a" * 32, replaces="a")
A3 = Signer("a-3", b"\x2a" * 32, replaces="a-2")
B = Signer("b", b"\x0b" * 32)
C = Signer("c", b"\x0c" * 32)
EVERY = (A, A2, A3, B, C)


class Engine:
    """The vouching part of a `PolicyEngine`: lets those count whom it is told of."""

    def __init__(self, *names: str, failing: str = "") -> None:
        self.version = "1"
        self.names = names
        self.failing = failing
        self.asked: list[Vouching] = []

    def vouches(self, vouching: Vouching) -> Decision:
        self.asked.append(vouching)
        if vouching.signer == self.failing:
            return Decision(allowed=False, failed=True)
        allowed = vouching.signer in self.names
        return Decision(allowed, ("let",) if allowed else ("ci-only",))


def counting(*names: str) -> Counting:
    return Counting(names, parties(EVERY))


def test_a_denied_digest_is_refused_with_its_reason() -> None:
    policy = TrustPolicy(denied={DIGEST: "It mines coins."})
    with pytest.raises(StockadeError, match=r"It mines coins\.") as refused:
        check_denied(policy, DIGEST)
    assert refused.value.code == "module.denied"
    assert refused.value.detail == {"digest": DIGEST, "reason": "It mines coins."}
    check_denied(policy, digest_of(b"another"))


def test_those_count_for_whom_the_policies_vouch() -> None:
    engine = Engine("b")
    found = count_signers(engine, MODULE, EVERY, ("a", "b"))
    assert found.names == ("b",)
    asked = engine.asked[1]
    assert (asked.tenant, asked.signer, asked.public_key_hex) == ("acme", "b", "0b" * 32)
    assert asked.module.attributes["signers"] == ("a", "b")


@pytest.mark.parametrize(
    ("engine", "words"),
    [
        (Engine(), "'ci-only' forbids"),
        (Engine(failing="a"), "could not be evaluated"),
    ],
)
def test_a_module_for_which_nobody_vouches_is_refused(engine: Engine, words: str) -> None:
    with pytest.raises(StockadeError, match=words) as refused:
        count_signers(engine, MODULE, EVERY, ("a",))
    assert refused.value.code == "module.signer_denied"


def test_silence_of_the_policies_is_no_vouching() -> None:
    class Silent(Engine):
        def vouches(self, vouching: Vouching) -> Decision:
            del vouching
            return Decision(allowed=False)

    with pytest.raises(StockadeError, match="No policy lets"):
        count_signers(Silent(), MODULE, EVERY, ("a",))


def test_a_policy_that_fails_for_one_signer_leaves_the_others() -> None:
    assert count_signers(Engine("b", failing="a"), MODULE, EVERY, ("a", "b")).names == ("b",)


def test_an_answer_is_remembered_until_the_policies_change() -> None:
    engine = Engine("a")
    voucher = RememberedVoucher(engine)
    for _ in range(3):
        assert count_signers(voucher, MODULE, EVERY, ("a",)).names == ("a",)
    assert len(engine.asked) == 1
    count_signers(voucher, replace(MODULE, digest=digest_of(b"other")), EVERY, ("a",))
    assert len(engine.asked) == 2
    engine.version, engine.names = "2", ()
    with pytest.raises(StockadeError, match="signer_denied"):
        count_signers(voucher, MODULE, EVERY, ("a",))
    assert voucher.version == "2"


def test_an_answer_of_policies_that_change_meanwhile_is_not_remembered() -> None:
    class Changing(Engine):
        def vouches(self, vouching: Vouching) -> Decision:
            answer = super().vouches(vouching)
            self.version, self.names = "2", ()
            return answer

    engine = Changing("a")
    voucher = RememberedVoucher(engine)
    count_signers(voucher, MODULE, EVERY, ("a",))
    engine.version = "1"
    with pytest.raises(StockadeError, match="signer_denied"):
        count_signers(voucher, MODULE, EVERY, ("a",))


def test_a_long_line_of_rotations_is_one_party() -> None:
    line = [Signer(f"s{n}", n.to_bytes(32, "big"), replaces=f"s{n - 1}") for n in range(1, 1_000)]
    signers = [Signer("s0", b"\0" * 32), *line]
    for order in (signers, signers[::-1]):
        assert set(parties(order).values()) == {"s0"}


def test_an_answer_for_one_key_is_none_for_another_of_the_same_name() -> None:
    engine = Engine("a")
    voucher = RememberedVoucher(engine)
    for key in (b"\1", b"\2"):
        count_signers(voucher, MODULE, [replace(A, public_key=key * 32)], ("a",))
    assert len(engine.asked) == 2


@pytest.mark.parametrize(
    ("trust", "names"),
    [
        (None, ("a",)),
        (FunctionTrust(), ("a",)),
        (FunctionTrust(2), ("a", "b")),
        (FunctionTrust(2, ("a", "b", "c")), ("a", "c")),
        (FunctionTrust(1, ("a",)), ("a-2",)),
        (FunctionTrust(1, ("a-3",)), ("a",)),
        (FunctionTrust(2, ("a-2", "b")), ("a-3", "b")),
    ],
)
def test_enough_signers(trust: FunctionTrust | None, names: tuple[str, ...]) -> None:
    check_threshold(trust, counting(*names))


@pytest.mark.parametrize(
    ("trust", "names", "found"),
    [
        (FunctionTrust(2), ("a",), ["a"]),
        (FunctionTrust(2), ("a", "a-2", "a-3"), ["a"]),
        (FunctionTrust(3), ("a", "b"), ["a", "b"]),
        (FunctionTrust(1, ("b",)), ("a", "c"), []),
        (FunctionTrust(2, ("a", "b")), ("a", "c"), ["a"]),
        (FunctionTrust(2, ("a", "a-2")), ("a", "a-2"), ["a"]),
        (FunctionTrust(1, ("gone",)), ("a",), []),
    ],
    ids=["one of two", "one party", "two of three", "others", "one other", "named", "unknown"],
)
def test_too_few_signers(trust: FunctionTrust, names: tuple[str, ...], found: list[str]) -> None:
    with pytest.raises(StockadeError) as refused:
        check_threshold(trust, counting(*names))
    assert refused.value.code == "module.signers_missing"
    assert refused.value.detail["counting"] == found


def test_parties_are_named_by_their_first() -> None:
    assert parties(EVERY) == {"a": "a", "a-2": "a", "a-3": "a", "b": "b", "c": "c"}
    assert parties([A2]) == {"a-2": "a"}
    assert named_parties(("a-2", "b", "gone"), parties(EVERY)) == {"a", "b", "gone"}


def test_signers_that_replace_one_another_in_a_ring_end_somewhere() -> None:
    ring = [replace(A, replaces="b"), replace(B, replaces="a"), replace(C, replaces="c")]
    assert set(parties(ring)) == {"a", "b", "c"}


def test_trust_taken_back_ends_runs_and_time_that_is_over_does_not() -> None:
    ending = {"module.denied", "module.signer_denied", "module.signer_revoked"}
    for code in (*ending, "module.signers_missing"):
        assert ends_runs(StockadeError(code, "no"))
    for code in ("module.signer_expired", "module.signer_not_yet_valid", "catalog.unavailable"):
        assert not ends_runs(StockadeError(code, "no"))


def test_a_tenants_word_goes_before_the_default() -> None:
    policy = TrustPolicy(tenants={"acme": OnDistrust.FINISH})
    assert policy.on_distrust("acme") is OnDistrust.FINISH
    assert policy.on_distrust("rival") is OnDistrust.KILL
