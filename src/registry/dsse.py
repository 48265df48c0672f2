"""DSSE envelopes: what was signed is the type and the payload together, each with its length.

Source: the DSSE specification, version 1.0.2 (protocol and envelope). Key ids are hints, and are
not looked at: every signature is tried with every trusted key.
"""

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from registry import strict_json
from registry.ed25519 import SIGNATURE_BYTES, verifies
from registry.keys import public_bytes
from stockade.core.modules import Signer

MAX_SIGNATURES = 16
_URL_SAFE = str.maketrans("-_", "+/")
_BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}")


@dataclass(frozen=True, slots=True)
class Envelope:
    """A payload of a type, and the signatures over both."""

    payload_type: str
    payload: bytes
    signatures: tuple[bytes, ...]


def parse_envelope(content: bytes) -> Envelope:
    """Reads an envelope; fields that it does not know are passed over.

    Raises:
        ValueError: It is none, or has more than `MAX_SIGNATURES` signatures.
    """
    fields = strict_json.as_object(strict_json.loads(content))
    records = strict_json.list_of(fields, "signatures")
    if len(records) > MAX_SIGNATURES:
        raise ValueError(f"it has more than {MAX_SIGNATURES} signatures")
    signatures = tuple(
        _decoded(strict_json.text_of(strict_json.as_object(record), "sig")) for record in records
    )
    payload_type = strict_json.text_of(fields, "payloadType")
    payload_type.encode()  # half a surrogate pair cannot be signed
    return Envelope(payload_type, _decoded(strict_json.text_of(fields, "payload")), signatures)


def pae(payload_type: str, payload: bytes) -> bytes:
    """What is signed: no two pairs of type and payload are the same bytes."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def signed_by(envelope: Envelope, signers: Sequence[Signer]) -> list[tuple[Signer, bytes]]:
    """The signers that signed, each with its signature, whether they stand or not."""
    message = pae(envelope.payload_type, envelope.payload)
    found = []
    for signer in signers:
        for signature in envelope.signatures:
            whole = len(signature) == SIGNATURE_BYTES
            if whole and verifies(signer.public_key, signature, message):
                found.append((signer, signature))
                break
    return found


def write_envelope(
    payload_type: str, payload: bytes, signatures: Sequence[tuple[bytes, bytes]]
) -> bytes:
    """An envelope in one form alone: signatures beside their public keys, in order, each once."""
    records = [
        {"keyid": hashlib.sha256(key).hexdigest(), "sig": base64.b64encode(signature).decode()}
        for key, signature in sorted(set(signatures))
    ]
    envelope = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": payload_type,
        "signatures": records,
    }
    return json.dumps(envelope, separators=(",", ":")).encode()


def sign_payload(payload_type: str, payload: bytes, key: Ed25519PrivateKey) -> bytes:
    """The envelope of a payload that this key signs."""
    signature = key.sign(pae(payload_type, payload))
    return write_envelope(payload_type, payload, [(public_bytes(key), signature)])


def _decoded(text: str) -> bytes:
    """Base64 of either alphabet, as the specification has it; nothing else in between."""
    standard = text.translate(_URL_SAFE)
    try:
        if not _BASE64.fullmatch(standard):
            raise ValueError("it is not base64")
        return base64.b64decode(standard, validate=True)
    except binascii.Error:
        raise ValueError("it is not base64") from None
