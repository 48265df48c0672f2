"""What the tests that build guests need."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

_SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "build_examples.py"


def need_toolchain(language: str) -> None:
    """Skips the test where a language cannot be built; in CI that is a failure."""
    found = build_examples("--check", "--language", language)
    if found.returncode:
        skip_or_fail(found.stdout.strip())


def skip_or_fail(reason: str) -> None:
    if os.getenv("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def build_examples(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(_SCRIPT), *arguments]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
