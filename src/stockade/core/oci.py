"""What tenants push as OCI artifacts: names, digests, and the rows that tell of them.

The store of pushed content is inert. Nothing in it runs: what verifies is promoted to a module
(`gateway.oci.promotion`), which the registry keeps for itself.
"""

import hashlib
import re
from dataclasses import dataclass
from typing import Protocol

from stockade.core.errors import StockadeError

MAX_MANIFEST_BYTES = 4 * 1024 * 1024
MAX_NAME_CHARACTERS = 255

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})+")
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")


class Hash(Protocol):
    """A running digest."""

    def update(self, data: bytes, /) -> None:
        """Takes more bytes."""

    def hexdigest(self) -> str:
        """The digest of all of them."""


@dataclass(frozen=True, slots=True)
class OciRepository:
    """A tenant's repository; clients call it `TENANT/PATH`."""

    tenant: str
    path: str

    @property
    def name(self) -> str:
        """Its whole name."""
        return f"{self.tenant}/{self.path}"


@dataclass(frozen=True, slots=True)
class OciBlob:
    """A blob of a repository. `stored` is the name of its bytes in the blob store."""

    digest: str
    stored: str
    size_bytes: int
    created_ms: int


@dataclass(frozen=True, slots=True)
class OciManifest:
    """A manifest of a repository: `blobs` and `manifests` are what it needs there.

    `elsewhere` are blobs that it names too, which need not be there, and are kept when they are.
    `subject` is what it says something about, which need not be there either.
    """

    digest: str
    stored: str
    media_type: str
    size_bytes: int
    created_ms: int
    artifact_type: str | None = None
    subject: str | None = None
    blobs: tuple[str, ...] = ()
    manifests: tuple[str, ...] = ()
    elsewhere: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class OciChunk:
    """A piece of an upload, `stored` in the staging store behind `STAGED_PREFIX_BYTES` bytes."""

    stored: str
    start: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class OciUpload:
    """An upload under way: its chunks follow each other without gaps."""

    id: str
    repository: OciRepository
    received_bytes: int
    chunks: tuple[OciChunk, ...]


@dataclass(frozen=True, slots=True)
class OciBounds:
    """How much one tenant may have: bytes of all repositories, chunks of one upload, and so on.

    `grace_ms` is how long blobs are kept that no manifest needs (yet).
    """

    blob_bytes: int
    grace_ms: int
    tenant_bytes: int = 0
    uploads: int = 64
    chunks: int = 4096
    blobs: int = 50_000
    manifests: int = 20_000
    tags: int = 20_000


def parse_repository(name: str) -> OciRepository:
    """The repository of this name.

    Raises:
        StockadeError: `oci.name_invalid`.
    """
    if len(name) > MAX_NAME_CHARACTERS or not _NAME.fullmatch(name):
        raise StockadeError(
            "oci.name_invalid",
            "A repository is named TENANT/NAME, as in acme/tools/hello: 255 characters at most, of"
            " a-z, 0-9 and '/', with single '.', '_' or '-' between them.",
        )
    tenant, _, path = name.partition("/")
    return OciRepository(tenant, path)


def is_tag(text: str) -> bool:
    """Whether this could be a tag."""
    return _TAG.fullmatch(text) is not None


def is_digest(text: str) -> bool:
    """Whether this is a digest that content can be named by here."""
    return _DIGEST.fullmatch(text) is not None


def check_oci_digest(text: str) -> str:
    """Returns `text` when content can be named by it.

    Raises:
        StockadeError: `oci.digest_invalid`.
    """
    if not is_digest(text):
        raise StockadeError(
            "oci.digest_invalid",
            "A digest is 'sha256:' and 64, or 'sha512:' and 128, lower-case hex digits.",
        )
    return text


def check_reference(text: str) -> str:
    """Returns `text` when it is a tag or a digest.

    Raises:
        StockadeError: `oci.digest_invalid`, or `oci.tag_invalid`.
    """
    if ":" in text:
        return check_oci_digest(text)
    if not is_tag(text):
        raise StockadeError(
            "oci.tag_invalid",
            "A tag is 1 to 128 of A-Z, a-z, 0-9, '.', '_' and '-', and begins with none of '.-'.",
        )
    return text


def hash_for(digest: str) -> Hash:
    """A fresh hash of the digest's algorithm."""
    return hashlib.sha512() if digest.startswith("sha512:") else hashlib.sha256()


def check_content(digest: str, running: Hash) -> None:
    """Checks that what was hashed is what the digest names.

    Raises:
        StockadeError: `oci.digest_mismatch`.
    """
    if running.hexdigest() != digest.partition(":")[2]:
        raise StockadeError(
            "oci.digest_mismatch",
            "The content has another digest than the one given. Send it anew.",
        )
