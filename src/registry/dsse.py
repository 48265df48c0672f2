"""DSSE envelopes: what was signed is the type and the payload together, each with its length.

Source: the DSSE specification, version 1.0.2 (protocol and envelope). A key id is a hint and no
more: one that is the SHA-256 of a trusted key's bytes, as we write it, spares trying all others.
"""

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from registry import strict_json
from registry.ed25519 import SIGNATURE_BYTES, verifies
from registry.keys import public_bytes
from stockade.core.modules import Signer

MAX_SIGNATURES = 16
_MAX_CHECKS = 4096
"""Signatures times signers that one envelope may cost."""
_URL_SAFE = str.maketrans("-_", "+/")
_BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}")


@dataclass(frozen=True, slots=True)
class Envelope:
    """A payload of a type, and the signatures over both, each behind its key id."""

    payload_type: str
    payload: bytes
    signatures: tuple[tuple[str, bytes], ...]


def parse_envelope(content: bytes) -> Envelope:
    """Reads an envelope; fields that it does not know are passed over.

    Raises:
        ValueError: It is none, or has more than `MAX_SIGNATURES` signatures.
    """
    fields = strict_json.as_object(strict_json.loads(content))
    records = strict_json.list_of(fields, "signatures")
    if len(records) > MAX_SIGNATURES:
        raise ValueError(f"it has more than {MAX_SIGNATURES} signatures")
    signatures = tuple(_signature(strict_json.as_object(record)) for record in records)
    payload_type = strict_json.text_of(fields, "payloadType")
    payload_type.encode()  # half a surrogate pair cannot be signed
    return Envelope(payload_type, _decoded(strict_json.text_of(fields, "payload")), signatures)


def pae(payload_type: str, payload: bytes) -> bytes:
    """What is signed: no two pairs of type and payload are the same bytes."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def signed_by(envelope: Envelope, signers: Sequence[Signer]) -> list[tuple[Signer, bytes]]:
    """The signers that signed, each with its signature, whether they stand or not.

    Raises:
        ValueError: There are more signatures than can be tried with so many signers.
    """
    message = pae(envelope.payload_type, envelope.payload)
    named = {_key_id(signer.public_key): signer for signer in signers}
    trials = [
        (signer, signature)
        for key_id, signature in envelope.signatures
        for signer in ([named[key_id]] if key_id in named else signers)
        if len(signature) == SIGNATURE_BYTES
    ]
    if len(trials) > _MAX_CHECKS:
        raise ValueError("it has more signatures than are tried with so many signers")
    found: dict[str, tuple[Signer, bytes]] = {}
    for signer, signature in trials:
        if signer.name not in found and verifies(signer.public_key, signature, message):
            found[signer.name] = signer, signature
    return [found[signer.name] for signer in signers if signer.name in found]


def write_envelope(
    payload_type: str, payload: bytes, signatures: Sequence[tuple[bytes, bytes]]
) -> bytes:
    """An envelope in one form alone: signatures beside their public keys, in order, each once."""
    records = [
        {"keyid": _key_id(key), "sig": base64.b64encode(signature).decode()}
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


def _signature(record: dict[str, Any]) -> tuple[str, bytes]:
    key_id = record.get("keyid", "")
    return key_id if isinstance(key_id, str) else "", _decoded(strict_json.text_of(record, "sig"))


def _key_id(public_key: bytes) -> str:
    return hashlib.sha256(public_key).hexdigest()


def _decoded(text: str) -> bytes:
    """Base64 of either alphabet, as the specification has it; nothing else in between."""
    standard = text.translate(_URL_SAFE)
    try:
        if not _BASE64.fullmatch(standard):
            raise ValueError("it is not base64")
        return base64.b64decode(standard, validate=True)
    except binascii.Error:
        raise ValueError("it is not base64") from None
