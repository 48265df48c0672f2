"""Signing modules, embedded or detached, in the reference tool's format."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from registry.keys import default_key_id, public_bytes
from registry.reader import Malformed
from registry.signature_format import (
    SignatureRecord,
    SignedHashes,
    attach,
    encode_payload,
    module_hashes,
    parse_payload,
    signature_malformed,
    split_envelope,
)
from registry.wasm_sections import malformed


def sign(content: bytes, key: Ed25519PrivateKey, *, key_id: bytes | None = None) -> bytes:
    """The module with this key's signature embedded; signatures that it has already are kept.

    Args:
        content: The module, signed or not.
        key: The secret key.
        key_id: A hint that says which key it was; the reference tool's when left out.

    Raises:
        StockadeError: the module cannot be read (`module.malformed` and the refusals of the
            header), or its present signature cannot, or would pass the format's bounds
            (`module.signature_malformed`).
    """
    envelope = split_envelope(content)
    payload = _payload(envelope.body, envelope.signature, key, key_id)
    return attach(envelope.body, payload)


def sign_detached(content: bytes, key: Ed25519PrivateKey, *, key_id: bytes | None = None) -> bytes:
    """The payload of a signature over the module, to be sent beside it.

    A signature section of the module itself is neither signed nor kept.

    Raises:
        StockadeError: as `sign` does.
    """
    return _payload(split_envelope(content).body, None, key, key_id)


def _payload(
    body: bytes, present: bytes | None, key: Ed25519PrivateKey, key_id: bytes | None
) -> bytes:
    try:
        hashes = module_hashes(body)
    except Malformed as error:
        raise malformed(error) from error
    unsigned = SignedHashes(hashes, ())
    hint = default_key_id(public_bytes(key)) if key_id is None else key_id
    record = SignatureRecord(hint, key.sign(unsigned.message))
    try:
        entries = () if present is None else parse_payload(present)
        payload = encode_payload(_with(record, unsigned, entries))
        parse_payload(payload)
    except Malformed as error:
        raise signature_malformed(error) from error
    return payload


def _with(
    record: SignatureRecord, unsigned: SignedHashes, entries: tuple[SignedHashes, ...]
) -> tuple[SignedHashes, ...]:
    """The entries with this record, once; Ed25519 makes the same signature every time."""
    same = [entry for entry in entries if entry.hashes == unsigned.hashes]
    others = tuple(entry for entry in entries if entry.hashes != unsigned.hashes)
    kept = tuple(
        one for entry in same for one in entry.signatures if one.signature != record.signature
    )
    return (*others, SignedHashes(unsigned.hashes, (*kept, record)))
