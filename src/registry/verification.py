"""Verifies modules: bytes in, a `VerifiedModule` or one named refusal out. There is no I/O here.

The rules, in order:

1. The file begins with a core module's header (`module.not_wasm`, `module.is_component`,
   `module.version_unsupported`) and its sections can be read to the last byte (`module.malformed`).
2. There is a signature: at most one section, which stands first (`module.signature_duplicate`,
   `module.signature_misplaced`), or a detached payload, but not both
   (`module.signature_ambiguous`); else `module.unsigned`.
3. The payload is of the format, within its bounds, with nothing behind it
   (`module.signature_malformed`), and holds a signature (else `module.unsigned`). Signatures of
   other algorithms than Ed25519 are passed over.
4. All of the module is signed: only an entry whose hashes are exactly the module's own counts. An
   entry that lists a beginning of them is `module.signature_partial`; any other is
   `module.signature_mismatch`.
5. A signature in such an entry verifies, strictly, under a key that the tenant trusts
   (`module.signature_invalid` when a record names a trusted key by its id but does not verify,
   otherwise `module.signer_unknown`). Key ids choose the words of a refusal and nothing else.
6. That signer is not revoked (`module.signer_revoked`), and within its validity window
   (`module.signer_not_yet_valid`, `module.signer_expired`). One good signer suffices.

A stored module is verified anew by the same rules; its bytes must be those of its digest
(`module.digest_mismatch`).

What is handed on to be stored is written anew and holds the signatures of trusted keys alone: an
uploader cannot fill the store, or make later checks costly, with signatures of nobody.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from registry.ed25519 import verifies
from registry.keys import default_key_id
from registry.reader import Malformed
from registry.signature_format import (
    ALGORITHM_ED25519,
    Envelope,
    SignatureRecord,
    SignedHashes,
    encode_payload,
    module_hashes,
    parse_payload,
    signature_malformed,
    split_envelope,
)
from registry.wasm_sections import malformed
from stockade.core.digests import digest_of
from stockade.core.errors import StockadeError
from stockade.core.modules import Signer

_MAX_CHECKS = 4096
"""Signatures times signers that one module may cost."""


@dataclass(frozen=True, slots=True)
class VerifiedModule:
    """A module that at least one of the tenant's signers vouches for, whole.

    `signers` are the names of those that count now; `signature` is a payload with every signature
    of a trusted key, under the reference tool's key id, and no other; `hashes` are what it lists.
    """

    digest: str
    body: bytes
    signers: tuple[str, ...]
    signature: bytes
    hashes: tuple[bytes, ...]


def verify_module(
    content: bytes, detached: bytes | None, signers: Sequence[Signer], now_ms: int
) -> VerifiedModule:
    """Verifies an uploaded file, with its detached signature if it has one.

    Raises:
        StockadeError: the first rule of this module's docstring that does not hold.
    """
    envelope = split_envelope(content)
    payload = _one_payload(envelope, detached)
    hashes = _hashes(envelope.body)
    found = _trusted_signatures(hashes, (payload,), signers)
    names = _names_that_count(found, now_ms)
    return VerifiedModule(envelope.digest, envelope.body, names, _kept(hashes, found), hashes)


def verify_stored(
    body: bytes, digest: str, payloads: Sequence[bytes], signers: Sequence[Signer], now_ms: int
) -> tuple[str, ...]:
    """Verifies a stored module again, as it stands now; the names of the signers that vouch for it.

    Raises:
        StockadeError: `module.digest_mismatch`, or a rule of this module's docstring.
    """
    return verify_hashes(stored_hashes(body, digest), payloads, signers, now_ms)


def stored_hashes(body: bytes, digest: str) -> tuple[bytes, ...]:
    """The hashes that the signatures of a stored module must list; the costly part of verifying.

    Raises:
        StockadeError: `module.digest_mismatch`, `module.malformed`.
    """
    if digest_of(body) != digest:
        raise StockadeError(
            "module.digest_mismatch",
            "The stored module is not the one of its name. Upload it again.",
        )
    return _hashes(body)


def verify_hashes(
    hashes: tuple[bytes, ...], payloads: Sequence[bytes], signers: Sequence[Signer], now_ms: int
) -> tuple[str, ...]:
    """The names of the signers that vouch now for the module of these hashes.

    Raises:
        StockadeError: a rule of this module's docstring.
    """
    if not payloads:
        raise _unsigned()
    return _names_that_count(_trusted_signatures(hashes, payloads, signers), now_ms)


def trusted_names(
    hashes: tuple[bytes, ...], payloads: Sequence[bytes], signers: Sequence[Signer]
) -> frozenset[str]:
    """The signers that have signed the module of these hashes, whether they stand or not."""
    try:
        found = _trusted_signatures(hashes, payloads, signers)
    except StockadeError:
        return frozenset()
    return frozenset(signer.name for signer, _ in found)


def _one_payload(envelope: Envelope, detached: bytes | None) -> bytes:
    if envelope.signature is not None and detached is not None:
        raise StockadeError(
            "module.signature_ambiguous",
            "The module has an embedded signature and came with a detached one. Send one of them.",
        )
    payload = envelope.signature if detached is None else detached
    if payload is None:
        raise _unsigned()
    return payload


def _hashes(body: bytes) -> tuple[bytes, ...]:
    try:
        return module_hashes(body)
    except Malformed as error:
        raise malformed(error) from error


def _trusted_signatures(
    hashes: tuple[bytes, ...], payloads: Sequence[bytes], signers: Sequence[Signer]
) -> list[tuple[Signer, bytes]]:
    """Rules 3 to 5: the signatures over exactly these hashes, each with the signer it is of."""
    parsed = [entry for payload in payloads for entry in _parsed(payload)]
    entries = [entry for entry in parsed if entry.signatures]
    if not entries:
        raise _unsigned()
    whole = [entry for entry in entries if entry.hashes == hashes]
    if not whole:
        raise _not_whole(entries, hashes)
    found = _verified(whole, signers)
    if not found:
        raise _nobody(whole, signers)
    return found


def _names_that_count(found: Sequence[tuple[Signer, bytes]], now_ms: int) -> tuple[str, ...]:
    """Rule 6."""
    signers = [signer for signer, _ in found]
    names = tuple(signer.name for signer in signers if standing(signer, now_ms) is None)
    if not names:
        raise _refusal_of_standing(signers, now_ms)
    return names


def _kept(hashes: tuple[bytes, ...], found: Sequence[tuple[Signer, bytes]]) -> bytes:
    records = [
        SignatureRecord(default_key_id(signer.public_key), signature) for signer, signature in found
    ]
    return encode_payload((SignedHashes(hashes, tuple(records)),))


def _parsed(payload: bytes) -> tuple[SignedHashes, ...]:
    try:
        return parse_payload(payload)
    except Malformed as error:
        raise signature_malformed(error) from error


def _records(entry: SignedHashes) -> list[SignatureRecord]:
    return [one for one in entry.signatures if one.algorithm == ALGORITHM_ED25519]


def _verified(
    entries: Sequence[SignedHashes], signers: Sequence[Signer]
) -> list[tuple[Signer, bytes]]:
    # Equal messages: every entry here lists the module's own hashes.
    message = entries[0].message
    records = [record for entry in entries for record in _records(entry)]
    left = dict.fromkeys(record.signature for record in records)
    if len(left) * len(signers) > _MAX_CHECKS:
        raise StockadeError(
            "module.signature_malformed",
            "The module carries more signatures than are checked. Keep those of your own signers.",
        )
    found = _as_hinted(records, signers, message)
    # A signature is of one key: what the hints were right about is not tried with all the others.
    for hinted in found.values():
        left.pop(hinted, None)
    for key in (signer.public_key for signer in signers):
        if key not in found and (signature := _first_of(key, left, message)) is not None:
            found[key] = signature
    return [(signer, found[signer.public_key]) for signer in signers if signer.public_key in found]


def _as_hinted(
    records: Sequence[SignatureRecord], signers: Sequence[Signer], message: bytes
) -> dict[bytes, bytes]:
    """Keys, and a signature that verifies under each, for the records whose key id is right."""
    keys = {default_key_id(signer.public_key): signer.public_key for signer in signers}
    found: dict[bytes, bytes] = {}
    for record in records:
        key = keys.get(record.key_id)
        if key is not None and key not in found and verifies(key, record.signature, message):
            found[key] = record.signature
    return found


def _first_of(public_key: bytes, signatures: Iterable[bytes], message: bytes) -> bytes | None:
    return next((one for one in signatures if verifies(public_key, one, message)), None)


def _not_whole(entries: Sequence[SignedHashes], hashes: tuple[bytes, ...]) -> StockadeError:
    if any(entry.hashes and entry.hashes == hashes[: len(entry.hashes)] for entry in entries):
        return StockadeError(
            "module.signature_partial",
            "The signature covers a part of the module only. Sign the whole module.",
        )
    return StockadeError(
        "module.signature_mismatch",
        "The module is not the one that was signed: its bytes were changed. Sign it again.",
    )


def _nobody(entries: Sequence[SignedHashes], signers: Sequence[Signer]) -> StockadeError:
    trusted = {default_key_id(signer.public_key) for signer in signers}
    if any(record.key_id in trusted for entry in entries for record in _records(entry)):
        return StockadeError(
            "module.signature_invalid",
            "A signature names a trusted key, but that key did not make it. Sign the module again.",
        )
    return StockadeError(
        "module.signer_unknown",
        "No signer that this tenant trusts signed the module. Sign it with a trusted key, or add"
        " the key with 'stockade signers add'.",
    )


def standing(signer: Signer, now_ms: int) -> str | None:
    """Why the signer does not count now, as the end of a code; None when it does."""
    if signer.revoked_ms is not None:
        return "revoked"
    if signer.not_before_ms is not None and now_ms < signer.not_before_ms:
        return "not_yet_valid"
    if signer.not_after_ms is not None and now_ms >= signer.not_after_ms:
        return "expired"
    return None


_STANDING_MESSAGES = {
    "revoked": "The key that signed the module was revoked. Sign it with another trusted key.",
    "not_yet_valid": "The key that signed the module is not valid yet. Wait, or use another key.",
    "expired": "The key that signed the module has expired. Sign it with a current key.",
}


def _refusal_of_standing(found: Sequence[Signer], now_ms: int) -> StockadeError:
    standings = {standing(signer, now_ms) for signer in found}
    worst = next(name for name in _STANDING_MESSAGES if name in standings)
    return StockadeError(f"module.signer_{worst}", _STANDING_MESSAGES[worst])


def _unsigned() -> StockadeError:
    return StockadeError(
        "module.unsigned",
        "The module is not signed. Sign it with 'stockade sign', or send a detached signature.",
    )
