"""What runs beside tenant code has nothing in memory that it does not need."""

import subprocess
import sys

import pytest

FORBIDDEN = {"redis", "hiredis", "sqlalchemy", "aiosqlite", "fastapi", "starlette", "uvicorn"}
FORBIDDEN |= {"cryptography", "httpx", "structlog", "pydantic", "typer", "rich", "gateway"}
FORBIDDEN |= {"registry", "stockade.infra", "stockade.cli", "stockade.retry"}


@pytest.mark.parametrize("module", ["zygote", "executor", "compiler", "frames"])
def test_a_clean_interpreter_loads_only_core_and_the_engine(module: str) -> None:
    program = f"import sandbox_worker.guest.{module}, sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert f"sandbox_worker.guest.{module}" in loaded
    assert not loaded & FORBIDDEN
    assert not [
        name for name in loaded if name.startswith("sandbox_worker.") and "guest" not in name
    ]
