"""Policies in a directory, one file changed."""

import shutil
from pathlib import Path

from stockade.infra.policies.policy_text import SCHEMA_FILE

SHIPPED = Path(__file__).parents[5] / "policies" / "authorization"
SCHEMA = (SHIPPED / SCHEMA_FILE).read_text(encoding="utf-8")
PERMIT_ALL = '@id("all") permit (principal, action, resource);\n'


def policies_in(directory: Path, **files: str) -> Path:
    """The shipped schema, and these files (name without suffix, text); else the shipped ones."""
    directory.mkdir(exist_ok=True)
    (directory / SCHEMA_FILE).write_text(SCHEMA, encoding="utf-8")
    for name, text in files.items():
        (directory / f"{name}.cedar").write_text(text, encoding="utf-8")
    if not files:
        shutil.copy(SHIPPED / "base.cedar", directory)
    return directory


def policy(condition: str, name: str = "a", scope: str = "principal, action, resource") -> str:
    """One that permits under a condition."""
    return f'@id("{name}") permit ({scope}) when {{ {condition} }};\n'
