"""The gateway's settings, read once at its start from the environment (prefix `STOCKADE_`)."""

from pathlib import Path
from typing import Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from gateway.sources import parse_networks
from stockade.core.blob_place import BlobPlace, blob_place
from stockade.core.durability import Durability
from stockade.core.walls import DEFAULT_REQUIRED, parse_walls
from stockade.trace_settings import TraceSettings

MIB = 1024 * 1024
_LEAST_HISTORY_DAYS = 8


class StorageSettings(BaseSettings):
    """Where the catalog and the blobs are, for whoever keeps them in order."""

    model_config = SettingsConfigDict(env_prefix="STOCKADE_", frozen=True, extra="forbid")

    database_url: str
    blob_dir: Path | None = None
    blobs_url: str = "file"
    blobs_endpoint: str = ""
    blobs_region: str = ""
    blobs_credentials_file: Path | None = None
    blob_grace_seconds: float = Field(
        default=7200.0,
        ge=600,
        description="How long deleted modules, and content that no module needs, are kept.",
    )

    @model_validator(mode="after")
    def _blobs_have_a_place(self) -> Self:
        _ = self.blob_place
        return self

    @property
    def blob_place(self) -> BlobPlace:
        """Where blobs and payloads are kept."""
        return blob_place(
            self.blobs_url,
            self.blob_dir,
            self.blobs_endpoint,
            self.blobs_region,
            self.blobs_credentials_file,
        )


class HistorySettings(BaseSettings):
    """How long the history is kept."""

    model_config = SettingsConfigDict(env_prefix="STOCKADE_", frozen=True, extra="forbid")

    history_retention_days: int = Field(
        default=90,
        ge=0,
        description="How long runs and their attempts are kept in the history, 8 or more; 0 for"
        " ever.",
    )
    usage_retention_days: int = Field(
        default=800, ge=0, description="How long usage of each day is kept; 0 for ever."
    )

    @field_validator("history_retention_days")
    @classmethod
    def _history_outlives_records(cls, days: int) -> int:
        if 0 < days < _LEAST_HISTORY_DAYS:
            raise ValueError(f"must be 0 or {_LEAST_HISTORY_DAYS} or more: records live 7 days")
        return days


class RecorderSettings(HistorySettings):
    """Where a recorder finds its stores."""

    redis_url: str
    database_url: str
    partitions: int = Field(default=1, ge=1, le=64)
    log_level: str = "info"


class GatewaySettings(TraceSettings, StorageSettings, HistorySettings):
    """Where the gateway listens and finds its stores, and what it takes at most."""

    redis_url: str
    durability: Durability = Durability.FSYNC
    replicas: int = Field(default=1, ge=1, le=16)
    partitions: int = Field(default=1, ge=1, le=64)
    policy_dir: Path
    secrets_key_file: Path = Field(
        description="Keys that seal tenants' secrets; made when absent. Workers share the file."
    )
    audit_key_file: Path | None = Field(
        default=None,
        description="Key that signs the audit log, the same on all hosts; made when absent. Else"
        " audit.key beside the secrets' keys.",
    )
    audit_retention_days: int = Field(
        default=400, ge=0, description="How long the audit log keeps entries; 0 for ever."
    )
    record_history: bool = Field(
        default=True,
        description="Takes the history down beside serving; false where 'serve recorder' does.",
    )
    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    environment: str = Field(default="dev", pattern="^[a-z0-9]{1,16}$")
    log_level: str = "info"
    require_walls: str = Field(
        default=DEFAULT_REQUIRED,
        description="Does not start on a host without these walls; 'stockade doctor' names them.",
    )
    max_module_bytes: int = Field(default=16 * MIB, ge=1)
    oci_blob_bytes: int = Field(
        default=512 * MIB, ge=1, description="What one blob pushed under /v2/ may have."
    )
    oci_grace_seconds: int = Field(
        default=24 * 3600,
        ge=60,
        description="How long uploads rest, and blobs without a manifest stay, before they go.",
    )
    inline_input_bytes: int = Field(default=32 * 1024, ge=0)
    body_memory_bytes: int = Field(
        default=512 * MIB, ge=1, description="What bodies under way may take of the memory."
    )
    listeners: int = Field(
        default=256, ge=1, description="How many may listen to events at once; a tenant a quarter."
    )
    default_wait_seconds: float = Field(default=30.0, ge=0)
    max_wait_seconds: float = Field(default=120.0, ge=0)
    drain_seconds: float = Field(default=10.0, ge=0)
    function_grace_seconds: float = Field(
        default=7 * 24 * 3600,
        ge=0,
        le=366 * 24 * 3600,
        description="How long a deleted function can be restored.",
    )
    operator_tenant: str = Field(
        default="",
        description="Its admins see the whole installation at /v1/status; none when empty.",
    )
    trusted_proxies: str = Field(
        default="", description="Networks whose X-Forwarded-For is believed: 10.0.0.0/8, fd00::/8."
    )
    catalog_cache_seconds: float = Field(default=1.0, ge=0, le=5)

    @field_validator("trusted_proxies")
    @classmethod
    def _networks_are_such(cls, text: str) -> str:
        parse_networks(text)
        return text

    @field_validator("require_walls")
    @classmethod
    def _walls_exist(cls, text: str) -> str:
        parse_walls(text)
        return text
