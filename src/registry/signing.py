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
    split_envelope,
)
from registry.wasm_sections import malformed


def sign(content: bytes, key: Ed25519PrivateKey) -> bytes:
    """The module with this key's signature embedded; signatures that it has already are kept.

    Raises:
        StockadeError: the module cannot be read, or its present signature cannot.
    """
    envelope = split_envelope(content)
    return attach(envelope.body, _payload(envelope.body, envelope.signature, key))


def sign_detached(content: bytes, key: Ed25519PrivateKey) -> bytes:
    """The payload of a signature over the module, to be sent beside it.

    Raises:
        StockadeError: the module cannot be read.
    """
    return _payload(split_envelope(content).body, None, key)


def _payload(body: bytes, present: bytes | None, key: Ed25519PrivateKey) -> bytes:
    try:
        hashes = module_hashes(body)
        entries = parse_payload(present) if present is not None else ()
    except Malformed as error:
        raise malformed(error) from error
    raw = public_bytes(key)
    unsigned = SignedHashes(hashes, ())
    record = SignatureRecord(default_key_id(raw), key.sign(unsigned.message))
    same = next((entry for entry in entries if entry.hashes == hashes), unsigned)
    others = tuple(entry for entry in entries if entry.hashes != hashes)
    kept = tuple(one for one in same.signatures if one.key_id != record.key_id)
    return encode_payload((*others, SignedHashes(hashes, (*kept, record))))
