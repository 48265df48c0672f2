"""What of `tests/assets/bad` is about signatures, and the keys and bodies it starts from."""

from registry.keys import default_key_id, public_bytes
from registry.signature_format import (
    SignatureRecord,
    SignedHashes,
    attach,
    encode_payload,
    module_hashes,
)
from registry.signing import sign
from stockade.core.modules import Signer
from tests.unit.registry import modules as m
from tests.unit.registry import points

Cases = dict[str, tuple[str, bytes]]
"""The code that each bad module is refused with, beside its bytes."""
TRUSTED, REVOKED, EXPIRED, EARLY, FOREIGN = (m.secret(number) for number in range(1, 6))
UNSOUND = {
    "small-order": points.IDENTITY,
    "non-canonical": points.NON_CANONICAL[0],
    "off-curve": points.OFF_CURVE,
}
SIGNERS = (
    Signer("trusted", public_bytes(TRUSTED)),
    *(Signer(name, point) for name, point in UNSOUND.items()),
    Signer("revoked", public_bytes(REVOKED), revoked_ms=m.NOW - 1),
    Signer("expired", public_bytes(EXPIRED), not_after_ms=m.NOW),
    Signer("early", public_bytes(EARLY), not_before_ms=m.NOW + 1),
)
DELIMITER = m.custom("signature_delimiter", b"d" * 16)
BODY = m.guest()
PARTS = m.HEADER + m.custom("first") + DELIMITER + BODY[8:]
HASHES = module_hashes(BODY)
GOOD = SignatureRecord(
    default_key_id(public_bytes(TRUSTED)), TRUSTED.sign(SignedHashes(HASHES, ()).message)
)


def payload_cases() -> Cases:
    """Signature payloads that are not of the format."""
    good = encode_payload((SignedHashes(HASHES, (GOOD,)),))
    short = SignatureRecord(GOOD.key_id, GOOD.signature[:63])
    long_hint = SignatureRecord(b"k" * 256, GOOD.signature)
    payloads = {
        "empty": b"",
        "cut": good[:-1],
        "followed-by-a-byte": good + b"\0",
        "version-2": b"\2" + good[1:],
        "for-components": good[:1] + b"\2" + good[2:],
        "other-hash-function": good[:2] + b"\2" + good[3:],
        "entries-too-many": encode_payload((SignedHashes(HASHES, (GOOD,)),) * 65),
        "hashes-too-many": encode_payload((SignedHashes(HASHES * 65, (GOOD,)),)),
        "signatures-too-many": encode_payload((SignedHashes(HASHES, (GOOD,) * 257),)),
        "entries-without-end": good[:3] + b"\xff\xff\xff\xff\x0f",
        "integer-too-large": good[:3] + b"\x81\x80\x80\x80\x10" + good[4:],
        "hashes-without-end": good[:3] + m.vector([m.text(b"\xff\xff\xff\xff\x0f")]),
        "record-without-end": good[:3] + m.vector([m.text(b"\0\1\xff\xff\xff\xff\x0f")]),
        "key-id-too-long": encode_payload((SignedHashes(HASHES, (long_hint,)),)),
        "spread-over-entries": encode_payload((SignedHashes(HASHES, (GOOD,) * 129),) * 2),
        "integer-overlong": good[:3] + b"\x81\x80\x80\x80\x80\0" + good[4:],
        "too-short": encode_payload((SignedHashes(HASHES, (short,)),)),
    }
    return {
        f"signature-{name}": ("module.signature_malformed", attach(BODY, payload))
        for name, payload in payloads.items()
    }


def signed(body: bytes, hashes: tuple[bytes, ...], *records: SignatureRecord) -> bytes:
    """The body with these records over these hashes, right or wrong."""
    return attach(body, encode_payload((SignedHashes(hashes, records),)))


def over(hashes: tuple[bytes, ...]) -> SignedHashes:
    """These hashes with a valid signature of the trusted key, whatever they are of."""
    message = SignedHashes(hashes, ()).message
    return SignedHashes(hashes, (SignatureRecord(GOOD.key_id, TRUSTED.sign(message)),))


def partly_signed() -> Cases:
    """Valid signatures that do not cover all of the module, or another one."""
    whole = sign(PARTS, TRUSTED)
    first = module_hashes(PARTS)[:1]
    prefix = SignatureRecord(GOOD.key_id, TRUSTED.sign(SignedHashes(first, ()).message))
    moved = m.HEADER + DELIMITER + m.custom("first") + BODY[8:]
    cut = PARTS[: PARTS.index(DELIMITER) + len(DELIMITER)]
    payload = encode_payload((SignedHashes(HASHES, (GOOD,)),))
    parts_payload = whole[whole.index(b"\x09signature") + 10 : -len(PARTS) + 8]
    ended = BODY + DELIMITER
    ended_payload = encode_payload((over(module_hashes(ended)),))
    after = m.HEADER + m.custom("first") + BODY[8:] + DELIMITER
    beside = SignatureRecord(
        GOOD.key_id, FOREIGN.sign(SignedHashes(module_hashes(PARTS), ()).message)
    )
    mixed = (SignedHashes(first, (prefix,)), SignedHashes(module_hashes(PARTS), (beside,)))
    twisted = over(module_hashes(PARTS)[::-1])
    return {
        "section-appended-behind-a-delimiter": (
            "module.signature_partial",
            attach(ended + m.custom("x"), ended_payload),
        ),
        "section-appended-with-a-delimiter": (
            "module.signature_mismatch",
            attach(PARTS + m.custom("x") + DELIMITER, parts_payload),
        ),
        "delimiter-removed": (
            "module.signature_mismatch",
            attach(m.HEADER + m.custom("first") + BODY[8:], parts_payload),
        ),
        "delimiter-moved-to-the-end": ("module.signature_mismatch", attach(after, parts_payload)),
        "delimiter-changed": (
            "module.signature_mismatch",
            attach(PARTS.replace(b"d" * 16, b"e" * 16), parts_payload),
        ),
        "delimiter-added": ("module.signature_mismatch", attach(PARTS + DELIMITER, parts_payload)),
        "delimiters-too-many": ("module.malformed", attach(BODY + DELIMITER * 65, payload)),
        "tampered-with-a-signature-for-parts": (
            "module.signature_mismatch",
            attach(BODY[:-2] + b"\1\x0b", parts_payload),
        ),
        "hashes-in-another-order": (
            "module.signature_mismatch",
            attach(PARTS, encode_payload((twisted,))),
        ),
        "signature-of-no-hashes": (
            "module.signature_mismatch",
            attach(BODY, encode_payload((over(()),))),
        ),
        "signature-of-a-part-beside-a-forged-one": (
            "module.signature_invalid",
            attach(PARTS, encode_payload(mixed)),
        ),
        "signature-of-a-part": ("module.signature_partial", signed(PARTS, first, prefix)),
        "section-appended": ("module.signature_mismatch", attach(BODY + m.custom("x"), payload)),
        "byte-changed": ("module.signature_mismatch", attach(BODY[:-2] + b"\1\x0b", payload)),
        "delimiter-moved": ("module.signature_mismatch", attach(moved, parts_payload)),
        "cut-at-a-delimiter": ("module.signature_mismatch", attach(cut, parts_payload)),
    }


def signature_cases() -> Cases:
    """Whole modules whose signatures are misplaced, forged, or not of a signer that counts."""
    section = m.custom("signature", encode_payload((SignedHashes(HASHES, (GOOD,)),)))
    message = SignedHashes(HASHES, ()).message
    as_component = TRUSTED.sign(message.replace(b"wasmsig\1\1", b"wasmsig\1\2"))
    forgeries = {
        "signature-of-a-foreign-key-under-a-trusted-id": FOREIGN.sign(message),
        "signature-as-a-component": as_component,
        "signature-with-large-s": points.with_large_s(GOOD.signature),
        "signature-with-s-of-the-order": GOOD.signature[:32] + points.encoded(points.ORDER),
        "signature-with-small-r": points.with_small_commitment(TRUSTED, message),
        "signature-with-non-canonical-r": points.NON_CANONICAL[2] + GOOD.signature[32:],
        "signature-with-r-off-the-curve": points.OFF_CURVE + GOOD.signature[32:],
        "signature-of-zeros": bytes(64),
    }
    cases: Cases = {
        "unsigned": ("module.unsigned", BODY),
        "signature-of-nobody": ("module.unsigned", signed(BODY, HASHES)),
        "signature-not-first": ("module.signature_misplaced", BODY + section),
        "signature-twice": ("module.signature_duplicate", m.HEADER + section * 2 + BODY[8:]),
        "signature-twice-written-long": (
            "module.signature_duplicate",
            sign(BODY, TRUSTED) + m.section(0, b"\x89\x80\0signature"),
        ),
        "signature-of-another-algorithm": (
            "module.signer_unknown",
            signed(BODY, HASHES, SignatureRecord(GOOD.key_id, GOOD.signature, 2)),
        ),
        "signer-unknown": ("module.signer_unknown", sign(BODY, FOREIGN)),
        "signer-revoked": ("module.signer_revoked", sign(BODY, REVOKED)),
        "signer-expired": ("module.signer_expired", sign(BODY, EXPIRED)),
        "signer-not-yet-valid": ("module.signer_not_yet_valid", sign(BODY, EARLY)),
    }
    for name, forged in forgeries.items():
        record = SignatureRecord(GOOD.key_id, forged)
        cases[name] = "module.signature_invalid", signed(BODY, HASHES, record)
    forged = points.forged_for_the_identity(FOREIGN)
    for name, point in UNSOUND.items():
        record = SignatureRecord(default_key_id(point), forged)
        cases[f"signer-{name}"] = "module.signature_invalid", signed(BODY, HASHES, record)
    return cases
