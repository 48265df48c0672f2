"""The signature payload of the WebAssembly tool conventions, as the reference tool writes it.

An embedded signature is a custom section `signature` that stands first. Its payload, which may also
travel by itself, lists hashes of the module's parts and signatures over those lists. Custom
sections `signature_delimiter` end parts. What is hashed: every byte after the 8-byte header and
after the signature section.
"""

import hashlib
from dataclasses import dataclass

from registry.reader import Malformed, Reader
from registry.wasm_sections import HEADER, check_header, malformed, read_sections
from stockade.core.digests import digest_of
from stockade.core.errors import StockadeError

SIGNATURE_SECTION = "signature"
DELIMITER_SECTION = "signature_delimiter"
SPEC_VERSION, CONTENT_TYPE_MODULE, HASH_SHA256, ALGORITHM_ED25519 = 1, 1, 1, 1
MAX_HASHES, MAX_ENTRIES, MAX_SIGNATURES = 64, 64, 256
_MAX_KEY_ID_BYTES = 255
_SIGNATURE_BYTES = 64
_HASH_BYTES = 32
_DOMAIN = b"wasmsig"


@dataclass(frozen=True, slots=True)
class SignatureRecord:
    """One signature; the key id is a hint that nobody needs to believe."""

    key_id: bytes
    signature: bytes
    algorithm: int = ALGORITHM_ED25519


@dataclass(frozen=True, slots=True)
class SignedHashes:
    """A list of hashes and the signatures over it."""

    hashes: tuple[bytes, ...]
    signatures: tuple[SignatureRecord, ...]

    @property
    def message(self) -> bytes:
        """The bytes that were signed."""
        prefix = bytes([SPEC_VERSION, CONTENT_TYPE_MODULE, HASH_SHA256])
        return _DOMAIN + prefix + b"".join(self.hashes)


@dataclass(frozen=True, slots=True)
class Envelope:
    """A module file taken apart: `body` is the file without its signature section."""

    body: bytes
    signature: bytes | None

    @property
    def digest(self) -> str:
        """Names the module, whoever signed it."""
        return digest_of(self.body)


def split_envelope(content: bytes) -> Envelope:
    """Takes the signature section off a module file.

    Raises:
        StockadeError: the header's refusals, `module.malformed`, `module.signature_misplaced` or
            `module.signature_duplicate`.
    """
    check_header(content)
    try:
        found = [
            (index, section)
            for index, section in enumerate(read_sections(content))
            if section.id == 0 and section.name == SIGNATURE_SECTION
        ]
    except Malformed as error:
        raise malformed(error) from error
    if not found:
        return Envelope(content, None)
    if len(found) > 1:
        raise StockadeError(
            "module.signature_duplicate",
            "The module has more than one signature section. Sign it again.",
        )
    index, section = found[0]
    if index:
        raise StockadeError(
            "module.signature_misplaced",
            "The signature must be the module's first section. Sign it again.",
        )
    return Envelope(HEADER + content[section.end :], content[section.payload : section.end])


def attach(body: bytes, payload: bytes) -> bytes:
    """A module file with this signature as its first section."""
    name = SIGNATURE_SECTION.encode()
    section = encode_u32(len(name)) + name + payload
    return HEADER + b"\0" + encode_u32(len(section)) + section + body[len(HEADER) :]


def module_hashes(body: bytes) -> tuple[bytes, ...]:
    """The rolling hash at the end of each delimiter, and at the module's end if none stands there.

    Raises:
        Malformed: the sections cannot be read, or there are more parts than a signature may list.
    """
    rolling, done, hashes = hashlib.sha256(), len(HEADER), []
    view = memoryview(body)  # parts are hashed where they lie
    for section in read_sections(body):
        if section.id == 0 and section.name == DELIMITER_SECTION:
            rolling.update(view[done : section.end])
            done = section.end
            hashes.append(rolling.digest())
    if done < len(body) or not hashes:
        rolling.update(view[done:])
        hashes.append(rolling.digest())
    if len(hashes) > MAX_HASHES:
        raise Malformed("it has more signature delimiters than a signature can list")
    return tuple(hashes)


def parse_payload(payload: bytes) -> tuple[SignedHashes, ...]:
    """Reads a signature payload whole, records of an unknown algorithm too.

    Raises:
        Malformed: it is not of the format, or passes a bound.
    """
    reader = Reader(payload)
    known = (SPEC_VERSION, CONTENT_TYPE_MODULE, HASH_SHA256)
    if tuple(reader.byte() for _ in known) != known:
        raise Malformed("its version, content type or hash function is not supported")
    count = _bounded(reader, MAX_ENTRIES, "entries")
    entries = tuple(_parse_entry(reader.within(reader.u32())) for _ in range(count))
    if sum(len(entry.signatures) for entry in entries) > MAX_SIGNATURES:
        raise Malformed("it has too many signatures")
    _check_end(reader)
    return entries


def encode_payload(entries: tuple[SignedHashes, ...]) -> bytes:
    """Writes a signature payload as the reference tool does."""
    head = bytes([SPEC_VERSION, CONTENT_TYPE_MODULE, HASH_SHA256]) + encode_u32(len(entries))
    return head + b"".join(_prefixed(_encode_entry(entry)) for entry in entries)


def encode_u32(value: int) -> bytes:
    """The minimal LEB128 form of an unsigned integer."""
    encoded = bytearray()
    while value >= 0x80:  # noqa: PLR2004 (the continuation bit)
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _parse_entry(reader: Reader) -> SignedHashes:
    count = _bounded(reader, MAX_HASHES, "hashes")
    hashes = tuple(reader.take(_HASH_BYTES) for _ in range(count))
    count = _bounded(reader, MAX_SIGNATURES, "signatures")
    records = tuple(_parse_record(reader.within(reader.u32())) for _ in range(count))
    _check_end(reader)
    return SignedHashes(hashes, records)


def _parse_record(reader: Reader) -> SignatureRecord:
    size = reader.u32()
    if size > _MAX_KEY_ID_BYTES:
        raise Malformed("a key id is too long")
    key_id = reader.take(size)
    algorithm = reader.byte()
    signature = reader.take(reader.u32())
    _check_end(reader)
    if algorithm == ALGORITHM_ED25519 and len(signature) != _SIGNATURE_BYTES:
        raise Malformed("an Ed25519 signature is not 64 bytes long")
    return SignatureRecord(key_id, signature, algorithm)


def signature_malformed(error: Malformed) -> StockadeError:
    """The refusal of a signature payload that cannot be read."""
    return StockadeError(
        "module.signature_malformed",
        f"The signature cannot be read: {error}. Sign the module again.",
    )


def _bounded(reader: Reader, bound: int, what: str) -> int:
    count = reader.u32()
    if count > bound:
        raise Malformed(f"it has more than {bound} {what}")
    return count


def _check_end(reader: Reader) -> None:
    if not reader.at_end:
        raise Malformed("bytes follow its end")


def _encode_entry(entry: SignedHashes) -> bytes:
    hashes = encode_u32(len(entry.hashes)) + b"".join(entry.hashes)
    records = b"".join(_prefixed(_encode_record(record)) for record in entry.signatures)
    return hashes + encode_u32(len(entry.signatures)) + records


def _encode_record(record: SignatureRecord) -> bytes:
    return _prefixed(record.key_id) + bytes([record.algorithm]) + _prefixed(record.signature)


def _prefixed(data: bytes) -> bytes:
    return encode_u32(len(data)) + data
