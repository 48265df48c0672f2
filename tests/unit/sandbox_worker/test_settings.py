"""Which settings a worker refuses."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from sandbox_worker.settings import WorkerSettings

PLACE = Path("/nowhere")


def settings(**given: object) -> WorkerSettings:
    needed: dict[str, object] = {
        "redis_url": "redis://localhost",
        "database_url": "sqlite:///c",
        "blob_dir": PLACE,
        "cache_dir": PLACE,
        "policy_dir": PLACE,
        "secrets_key_file": PLACE,
    }
    return WorkerSettings(**needed | given)  # type: ignore[arg-type] # by name


def test_metrics_that_others_can_reach_need_a_token() -> None:
    with pytest.raises(ValidationError, match="set metrics_token_file"):
        settings(metrics_port=9464, metrics_host="10.0.0.1")
    assert settings(metrics_port=9464, metrics_host="10.0.0.1", metrics_token_file=PLACE)
    assert settings(metrics_port=9464, metrics_host="::1")
    assert settings(metrics_host="10.0.0.1").metrics_port == 0
