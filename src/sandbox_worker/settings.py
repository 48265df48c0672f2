"""The worker's settings, read once at its start from the environment (prefix `STOCKADE_`)."""

import os
from pathlib import Path
from typing import Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from sandbox_worker.operations_server import is_loopback
from stockade.core.blob_place import BlobPlace, blob_place
from stockade.core.durability import Durability
from stockade.core.walls import DEFAULT_REQUIRED, parse_walls
from stockade.trace_settings import TraceSettings


class WorkerSettings(TraceSettings):
    """Where the worker finds its stores, and how much it runs at once."""

    model_config = SettingsConfigDict(env_prefix="STOCKADE_", frozen=True, extra="forbid")

    redis_url: str
    durability: Durability = Durability.FSYNC
    replicas: int = Field(default=1, ge=1, le=16)
    partitions: int = Field(default=1, ge=1, le=64)
    database_url: str
    blob_dir: Path | None = None
    blobs_url: str = "file"
    blobs_endpoint: str = ""
    blobs_region: str = ""
    blobs_credentials_file: Path | None = None
    cache_dir: Path
    policy_dir: Path
    secrets_key_file: Path = Field(
        description="Keys that open tenants' secrets. Gateways share the file."
    )
    artifact_key_file: Path | None = Field(
        default=None, description="Key that authenticates compiled modules; default in cache_dir."
    )
    log_level: str = "info"
    require_walls: str = Field(
        default=DEFAULT_REQUIRED,
        description="Does not start on a host without these walls; 'stockade doctor' names them.",
    )
    capacity: int = Field(default=2 * (os.cpu_count() or 1), ge=1, le=1024)
    max_executors: int = Field(default=32, ge=1, le=4096)
    cache_bytes: int = Field(
        default=2 * 1024**3, ge=1, description="What compiled modules may take of the disk."
    )
    runs_per_executor: int = Field(default=10_000, ge=1)
    cgroup: Path | None = Field(
        default=None, description="Cgroup v2 subtree, delegated to this worker, for executors."
    )
    executor_memory_bytes: int = Field(
        default=2 * 1024**3, ge=1, description="What an executor's cgroup may hold."
    )
    idle_seconds: float = Field(default=300.0, gt=0)
    spare_executors: int = Field(default=2, ge=0, le=64)
    trust_seconds: float = Field(default=2.0, ge=0, le=3)
    lease_seconds: float = Field(default=15.0, gt=0)
    drain_seconds: float = Field(default=30.0, ge=0)
    inline_output_bytes: int = Field(default=32 * 1024, ge=0)
    metrics_port: int = Field(
        default=0,
        ge=0,
        le=65535,
        description="Where /metrics, /healthz and /readyz are; 0 for nowhere.",
    )
    metrics_host: str = Field(
        default="127.0.0.1",
        description="Address for them. Another than loopback needs --metrics-token-file.",
    )
    metrics_token_file: Path | None = Field(
        default=None,
        description="Token that /metrics asks for as bearer token, since it names tenants.",
    )
    metrics_tenants: int = Field(
        default=20, ge=0, le=1000, description="So many tenants, the busiest, are metrics' labels."
    )
    metrics_functions: int = Field(
        default=100, ge=0, le=10_000, description="So many functions likewise."
    )

    @model_validator(mode="after")
    def _blobs_have_a_place(self) -> Self:
        _ = self.blob_place
        return self

    @model_validator(mode="after")
    def _metrics_are_guarded(self) -> Self:
        if self.metrics_port and not self.metrics_token_file and not is_loopback(self.metrics_host):
            raise ValueError("metrics_host is reachable from elsewhere: set metrics_token_file")
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

    @field_validator("require_walls")
    @classmethod
    def _walls_exist(cls, text: str) -> str:
        parse_walls(text)
        return text
