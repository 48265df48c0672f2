"""`ArtifactCache` in a directory. Compiled modules are native code: only used with a right MAC.

A file is the HMAC-SHA-256 tag, then the artifact. The tag covers module digest, engine fingerprint
and artifact, so that a flipped byte, a swapped file or an artifact of another engine is never
loaded.
"""

import asyncio
import hashlib
import hmac
import os
import tempfile
from pathlib import Path

import structlog

_TAG_BYTES = 32
_log = structlog.get_logger()


class DirectoryArtifactCache:
    """Keeps artifacts under `root`, for one engine fingerprint, authenticated with `key`."""

    def __init__(self, root: Path, key: bytes, fingerprint: str) -> None:
        self._root = root / fingerprint
        self._key = key
        self._fingerprint = fingerprint
        root.mkdir(parents=True, exist_ok=True, mode=0o700)

    async def get(self, digest: str) -> bytes | None:
        """The artifact for this module; None when absent or not authentic."""
        return await asyncio.to_thread(self._read, digest)

    async def put(self, digest: str, artifact: bytes) -> None:
        """Keeps an artifact; a failure to write is logged."""
        try:
            await asyncio.to_thread(self._write, digest, artifact)
        except OSError as error:
            _log.warning("artifact_cache_write_failed", errno=error.errno)

    def _read(self, digest: str) -> bytes | None:
        try:
            content = self._path(digest).read_bytes()
        except OSError:
            return None
        tag, artifact = content[:_TAG_BYTES], content[_TAG_BYTES:]
        if hmac.compare_digest(tag, self._tag(digest, artifact)):
            return artifact
        _log.error("artifact_cache_not_authentic", digest=digest)
        return None

    def _write(self, digest: str, artifact: bytes) -> None:
        self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor, aside = tempfile.mkstemp(dir=self._root)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(self._tag(digest, artifact))
                file.write(artifact)
            Path(aside).replace(self._path(digest))
        except OSError:
            Path(aside).unlink(missing_ok=True)
            raise

    def _path(self, digest: str) -> Path:
        return self._root / digest.removeprefix("sha256:")

    def _tag(self, digest: str, artifact: bytes) -> bytes:
        facts = f"{digest}\n{self._fingerprint}\n".encode()
        mac = hmac.new(self._key, facts, hashlib.sha256)
        mac.update(artifact)
        return mac.digest()
