"""Reads OCI manifests: bytes in, what they need or one refusal out. There is no I/O here.

The rules, in order:

1. The media type is one that registries keep: an OCI image manifest or index, or Docker's.
2. The content is JSON in UTF-8, an object, with no name twice in one object: two readers could take
   different values for it.
3. `schemaVersion` is 2, and `mediaType`, if it is there, is the media type that was sent. An image
   has no `manifests`, an index no `config` and no `layers`: nobody may read it as the other.
4. What the specification says about fields holds for `config`, `layers`, `manifests`, `subject`,
   `artifactType` and `annotations`. Other fields are nobody's business.

Every refusal is `oci.manifest_invalid`.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from stockade.core.errors import StockadeError
from stockade.core.oci import is_digest

IMAGE_TYPE = "application/vnd.oci.image.manifest.v1+json"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
_IMAGE_TYPES = {IMAGE_TYPE, "application/vnd.docker.distribution.manifest.v2+json"}
_INDEX_TYPES = {INDEX_TYPE, "application/vnd.docker.distribution.manifest.list.v2+json"}

MAX_DESCRIPTORS = 2000
_SCHEMA_VERSION = 2
_MAX_SIZE_BYTES = 2**62
_MEDIA_TYPE = re.compile(
    r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}"
)
_ELSEWHERE = re.compile(
    r"application/vnd\.(oci\.image\.layer\.nondistributable\."
    r"|docker\.image\.rootfs\.foreign\.).*"
)
_Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What a manifest says of other content."""

    media_type: str
    digest: str
    size_bytes: int
    annotations: Mapping[str, str]

    @property
    def is_elsewhere(self) -> bool:
        """Whether its bytes may not be distributed, and so need not be here."""
        return _ELSEWHERE.fullmatch(self.media_type) is not None


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest that keeps the rules. An index has no config and no layers.

    `artifact_type` is what referrers are told apart by: for an image without one, its config's.
    """

    media_type: str
    artifact_type: str | None
    config: Descriptor | None
    layers: tuple[Descriptor, ...]
    manifests: tuple[Descriptor, ...]
    subject: Descriptor | None
    annotations: Mapping[str, str]

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """The blobs that must be in the repository."""
        config = () if self.config is None else (self.config,)
        return tuple(one for one in (*config, *self.layers) if not one.is_elsewhere)


def read_manifest(content: bytes, media_type: str) -> Manifest:
    """The manifest, sent as this media type.

    Raises:
        StockadeError: `oci.manifest_invalid`.
    """
    if media_type not in _IMAGE_TYPES | _INDEX_TYPES:
        _refuse("manifests of this Content-Type are not kept here")
    whole = _parse(content)
    if whole.get("schemaVersion") != _SCHEMA_VERSION:
        _refuse(f"schemaVersion must be {_SCHEMA_VERSION}")
    if whole.get("mediaType", media_type) != media_type:
        _refuse("mediaType and Content-Type differ")
    is_index = media_type in _INDEX_TYPES
    foreign = ("config", "layers") if is_index else ("manifests",)
    if any(whole.get(field) is not None for field in foreign):
        _refuse(f"its type has no {' and no '.join(foreign)}")
    config = None if is_index else _descriptor(whole.get("config"), "config")
    subject = whole.get("subject")
    return Manifest(
        media_type=media_type,
        artifact_type=_artifact_type(whole) or (config.media_type if config else None),
        config=config,
        layers=_descriptors(whole, "layers"),
        manifests=_descriptors(whole, "manifests"),
        subject=None if subject is None else _descriptor(subject, "subject"),
        annotations=_annotations(whole, "annotations"),
    )


def _parse(content: bytes) -> _Object:
    try:
        text = content.decode("utf-8")
        parsed = json.loads(text, object_pairs_hook=_once, parse_constant=_refuse_number)
    except (ValueError, RecursionError):
        _refuse("it is no JSON in UTF-8, or nested too deep")
    if not isinstance(parsed, dict):
        _refuse("it is no JSON object")
    return parsed


def _once(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        _refuse("a name stands twice in one object")
    return found


def _refuse_number(text: str) -> NoReturn:
    _refuse(f"{text} is no number in JSON")


def _artifact_type(whole: _Object) -> str | None:
    given = whole.get("artifactType")
    if given is None or given == "":
        return None
    return _media_type(given, "artifactType")


def _descriptors(whole: _Object, field: str) -> tuple[Descriptor, ...]:
    given = whole.get(field)
    if given is None:
        return ()  # what some tools write for none
    if not isinstance(given, list):
        _refuse(f"{field} must be a list of descriptors")
    if len(given) > MAX_DESCRIPTORS:
        _refuse(f"{field} has more than {MAX_DESCRIPTORS} descriptors")
    return tuple(_descriptor(one, f"{field}[{place}]") for place, one in enumerate(given))


def _descriptor(given: object, place: str) -> Descriptor:
    if not isinstance(given, dict):
        _refuse(f"{place} must be a descriptor")
    digest, size = given.get("digest"), given.get("size")
    if not isinstance(digest, str) or not is_digest(digest):
        _refuse(f"{place}.digest must be sha256 or sha512, in lower-case hex digits")
    if type(size) is not int or not 0 <= size <= _MAX_SIZE_BYTES:
        _refuse(f"{place}.size must be a number of bytes")
    media_type = _media_type(given.get("mediaType"), f"{place}.mediaType")
    return Descriptor(media_type, digest, size, _annotations(given, f"{place}.annotations"))


def _media_type(given: object, place: str) -> str:
    if not isinstance(given, str) or not _MEDIA_TYPE.fullmatch(given):
        _refuse(f"{place} must be a media type")
    return given


def _annotations(whole: _Object, place: str) -> Mapping[str, str]:
    given = whole.get("annotations")
    if given is None:
        return {}
    if not isinstance(given, dict) or not all(isinstance(one, str) for one in given.values()):
        _refuse(f"{place} must map text to text")
    return given


def _refuse(reason: str) -> NoReturn:
    raise StockadeError("oci.manifest_invalid", f"The manifest cannot be taken: {reason}.")
