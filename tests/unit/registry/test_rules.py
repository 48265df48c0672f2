"""The rules that the docstrings state: each is broken once, alone; all else is sound and signed."""

import hashlib
import re
from collections.abc import Callable

import pytest

from registry import trust, verification
from registry.keys import default_key_id
from registry.signature_format import (
    SignatureRecord,
    SignedHashes,
    attach,
    encode_payload,
    module_hashes,
)
from registry.trust import check_denied, check_threshold, count_signers
from registry.verification import verify_module, verify_stored
from stockade.core.authorization import Decision, Vouching
from stockade.core.digests import digest_of
from stockade.core.errors import StockadeError
from stockade.core.modules import Abi, ModuleFacts, Signer, StoredModule
from stockade.core.trust import FunctionTrust, TrustPolicy
from tests.unit.registry import signed_modules as m

BODY = m.with_parts()
HASHES = module_hashes(BODY)
GOOD = m.payload(BODY)
SIGNED = m.signed(BODY)
SECTION = m.custom("signature", GOOD)


def signed_over(body: bytes, *entries: SignedHashes) -> bytes:
    return attach(body, encode_payload(entries))


def unreadable() -> bytes:
    """A section of an id that there is none of, covered by a signature like all the rest."""
    body = BODY + b"\x7f\0"
    hashes = (HASHES[0], hashlib.sha256(body[8:]).digest())
    return signed_over(body, SignedHashes(hashes, (m.record(hashes),)))


def partial() -> bytes:
    first = HASHES[:1]
    return signed_over(BODY, SignedHashes(first, (m.record(first),)))


def forged() -> bytes:
    hint = default_key_id(m.SIGNER.public_key)
    record = SignatureRecord(hint, m.record(HASHES, m.OTHER_KEY).signature)
    return signed_over(BODY, SignedHashes(HASHES, (record,)))


FILES: dict[str, bytes] = {
    "module.not_wasm": b"\0asn" + SIGNED[4:],
    "module.is_component": b"\0asm\x0d\0\1\0" + SIGNED[8:],
    "module.version_unsupported": b"\0asm\2\0\0\0" + SIGNED[8:],
    "module.malformed": unreadable(),
    "module.signature_duplicate": m.HEADER + SECTION + SECTION + BODY[8:],
    "module.signature_misplaced": BODY + SECTION,
    "module.unsigned": BODY,
    "module.signature_malformed": attach(BODY, GOOD + b"\0"),
    "module.signature_partial": partial(),
    "module.signature_mismatch": attach(BODY.replace(b"first1", b"first2"), GOOD),
    "module.signature_invalid": forged(),
    "module.signer_unknown": m.signed(BODY, m.OTHER_KEY),
}
SIGNERS: dict[str, dict[str, int]] = {
    "module.signer_revoked": {"revoked_ms": m.NOW_MS},
    "module.signer_not_yet_valid": {"not_before_ms": m.NOW_MS + 1},
    "module.signer_expired": {"not_after_ms": m.NOW_MS},
}
FACTS = ModuleFacts(Abi.STOCKADE_V1, (), (), deterministic=True, size_bytes=len(BODY))
MODULE = StoredModule("acme", digest_of(BODY), FACTS, (GOOD,), 0)


class Voucher:
    """Lets all count, or nobody."""

    def __init__(self, *, allows: bool) -> None:
        self._allows = allows

    def vouches(self, vouching: Vouching) -> Decision:
        del vouching
        return Decision(self._allows)


def ambiguous() -> None:
    verify_module(SIGNED, GOOD, [m.SIGNER], m.NOW_MS)


def mismatched() -> None:
    verify_stored(BODY + m.custom("more"), digest_of(BODY), [GOOD], [m.SIGNER], m.NOW_MS)


def may_run(
    policy: TrustPolicy | None = None,
    *,
    allows: bool = True,
    threshold: int = 1,
) -> None:
    check_denied(policy or TrustPolicy(), MODULE.digest)
    names = verify_stored(BODY, MODULE.digest, MODULE.signatures, [m.SIGNER], m.NOW_MS)
    counting = count_signers(Voucher(allows=allows), MODULE, [m.SIGNER], names)
    check_threshold(FunctionTrust(threshold), counting)


ELSE: dict[str, Callable[[], None]] = {
    "module.signature_ambiguous": ambiguous,
    "module.digest_mismatch": mismatched,
    "module.denied": lambda: may_run(TrustPolicy(denied={MODULE.digest: "No."})),
    "module.signer_denied": lambda: may_run(allows=False),
    "module.signers_missing": lambda: may_run(threshold=2),
}


def test_every_rule_that_is_stated_is_tried_and_no_other() -> None:
    stated = f"{verification.__doc__}{verification.stored_hashes.__doc__}{trust.__doc__}"
    assert set(re.findall(r"`(module\.\w+)`", stated)) == {*FILES, *SIGNERS, *ELSE}


def test_what_the_rules_are_broken_in_is_sound() -> None:
    assert verify_module(SIGNED, None, [m.SIGNER], m.NOW_MS).signers == ("ci",)
    assert verify_module(BODY, GOOD, [m.SIGNER], m.NOW_MS).signers == ("ci",)
    may_run()


@pytest.mark.parametrize(("code", "content"), FILES.items(), ids=FILES)
def test_a_file_that_breaks_one_rule(code: str, content: bytes) -> None:
    with pytest.raises(StockadeError) as refused:
        verify_module(content, None, [m.SIGNER], m.NOW_MS)
    assert refused.value.code == code


@pytest.mark.parametrize(("code", "standing"), SIGNERS.items(), ids=SIGNERS)
def test_a_signer_that_breaks_one_rule(code: str, standing: dict[str, int]) -> None:
    signer = Signer("ci", m.SIGNER.public_key, **standing)
    with pytest.raises(StockadeError) as refused:
        verify_module(SIGNED, None, [signer], m.NOW_MS)
    assert refused.value.code == code


@pytest.mark.parametrize(("code", "tried"), ELSE.items(), ids=ELSE)
def test_a_stored_module_that_breaks_one_rule(code: str, tried: Callable[[], None]) -> None:
    with pytest.raises(StockadeError) as refused:
        tried()
    assert refused.value.code == code
