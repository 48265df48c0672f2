"""Opens a bucket through obstore, with bounds on how long it is waited for; names its failures."""

import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import obstore
import structlog
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import ObjectStore, S3Store

from stockade.core.blob_place import BlobPlace
from stockade.core.errors import StockadeError
from stockade.core.ports import Clock

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig, S3Config, S3Credential

_log = structlog.get_logger()
_NO_BUCKET = "NoSuchBucket"
_NEVER_THERE = "looking-whether-the-bucket-lets-us-in"
_CREDENTIALS_SECONDS = 300
"""The file of the credentials is read again so often: they can be changed under way."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a store is waited for, at most."""

    connect_seconds: float = 5.0
    silence_seconds: float = 10.0
    request_seconds: float = 120.0
    retries: int = 3
    retry_seconds: float = 20.0


class _Credentials(msgspec.Struct, forbid_unknown_fields=True):
    access_key_id: str
    secret_access_key: str
    session_token: str | None = None


def open_object_store(
    place: BlobPlace, clock: Clock, patience: Patience | None = None
) -> ObjectStore:
    """The store of a place's bucket; connects to nothing yet.

    Raises:
        StockadeError: `config.blobs_invalid` when the credentials cannot be read.
    """
    if place.bucket is None:
        raise RuntimeError("this place is no bucket")
    patience = patience or Patience()
    options: dict[str, object] = {}
    if place.credentials_file:
        provider = _FileCredentials(place.credentials_file, clock)
        provider()
        options["credential_provider"] = provider
    return S3Store(
        place.bucket.name,
        prefix=place.bucket.prefix or None,
        config=_config(place),
        client_options=_client_options(place, patience),
        retry_config=_retry_config(patience),
        **options,  # type: ignore[arg-type] # the overloads of the stubs know no optional provider
    )


async def check_object_store(store: ObjectStore) -> None:
    """Looks whether the bucket is there and lets us in; one that is merely away is logged.

    Raises:
        StockadeError: `config.blobs_refused`.
    """
    try:
        await obstore.get_async(store, _NEVER_THERE)
    except FileNotFoundError as error:
        if _NO_BUCKET in str(error):
            raise _refused(_NO_BUCKET) from error
    except (PermissionDeniedError, UnauthenticatedError) as error:
        raise _refused(type(error).__name__) from error
    except BaseError:
        _log.warning("blob_store_away")


@contextmanager
def object_failures() -> Iterator[None]:
    """Turns what obstore raises into `blobs.unavailable`; a missing object passes unchanged."""
    try:
        yield
    except FileNotFoundError as error:
        if _NO_BUCKET in str(error):
            raise _unavailable(_NO_BUCKET) from error
        raise
    except BaseError as error:
        raise _unavailable(type(error).__name__) from error


def _refused(reason: str) -> StockadeError:
    return StockadeError(
        "config.blobs_refused",
        "The bucket of the setting blobs_url is not there, or refuses these credentials (they need"
        f" to list, get, put and delete objects): {reason}.",
    )


def _unavailable(reason: str) -> StockadeError:
    # The store's own words stay out: they name keys and hosts.
    _log.warning("blob_store_failed", reason=reason)
    return StockadeError(
        "blobs.unavailable", "The blob store cannot be reached; try again.", retryable=True
    )


class _FileCredentials:
    """Credentials in a TOML file, read again from time to time."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock

    def __call__(self) -> "S3Credential":
        try:
            text = self._path.read_text(encoding="utf-8")
            read = msgspec.convert(tomllib.loads(text), _Credentials)
        except (OSError, ValueError) as error:
            raise StockadeError(
                "config.blobs_invalid",
                f"{self._path} must hold access_key_id and secret_access_key as TOML"
                f" (session_token if there is one): {type(error).__name__}.",
            ) from None
        now = datetime.fromtimestamp(self._clock.now_ms() / 1000, UTC)
        return {
            "access_key_id": read.access_key_id,
            "secret_access_key": read.secret_access_key,
            "token": read.session_token,
            "expires_at": now + timedelta(seconds=_CREDENTIALS_SECONDS),
        }


def _config(place: BlobPlace) -> "S3Config":
    config: S3Config = {
        # The server checks what arrived before it stores anything.
        "checksum_algorithm": "sha256",
        # Single deletes are spoken by every server that calls itself compatible.
        "disable_bulk_delete": True,
    }
    if place.endpoint:
        config["endpoint"] = place.endpoint
    if place.region:
        config["region"] = place.region
    return config


def _client_options(place: BlobPlace, patience: Patience) -> "ClientConfig":
    return {
        "allow_http": place.endpoint.startswith("http://"),
        "connect_timeout": timedelta(seconds=patience.connect_seconds),
        "read_timeout": timedelta(seconds=patience.silence_seconds),
        "timeout": timedelta(seconds=patience.request_seconds),
    }


def _retry_config(patience: Patience) -> "RetryConfig":
    return {
        "max_retries": patience.retries,
        "retry_timeout": timedelta(seconds=patience.retry_seconds),
        "backoff": {
            "init_backoff": timedelta(milliseconds=100),
            "max_backoff": timedelta(seconds=2),
            "base": 2,
        },
    }
