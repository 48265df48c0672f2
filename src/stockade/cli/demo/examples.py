"""The example guests, as their manifests tell them."""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stockade.core.errors import StockadeError

MANIFEST = "stockade.toml"


@dataclass(frozen=True, slots=True)
class Example:
    """One example: a module, an input, and what must come of it.

    `expected` is None where the outcome is all that counts; `expected_limit` then names the limit,
    or several separated by `|`.
    """

    name: str
    description: str
    language: str
    module: bytes
    content: bytes
    expected: bytes | None
    expected_outcome: str
    expected_limit: str | None
    limits: dict[str, int]
    grants: tuple[str, ...]
    env: dict[str, str]


def load_examples(directory: Path) -> list[Example]:
    """All examples below the directory, by name.

    Raises:
        StockadeError: `demo.no_examples`, `demo.example_invalid` or `demo.example_not_built`.
    """
    manifests = sorted(directory.glob(f"*/{MANIFEST}"))
    if not manifests:
        raise StockadeError(
            "demo.no_examples", f"There are no examples (*/{MANIFEST}) in {str(directory)!r}."
        )
    return [_load(manifest) for manifest in manifests]


def _load(manifest: Path) -> Example:
    try:
        return _example(tomllib.loads(manifest.read_text()), manifest.parent)
    except FileNotFoundError as error:
        raise StockadeError(
            "demo.example_not_built",
            f"{str(error.filename)!r} is missing. Build the examples: make examples",
        ) from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise StockadeError(
            "demo.example_invalid", f"{str(manifest)!r} is no valid manifest: {error}."
        ) from error


def _example(facts: dict[str, Any], directory: Path) -> Example:
    expected = facts.get("expected")
    return Example(
        name=str(facts["name"]),
        description=str(facts["description"]),
        language=str(facts["language"]),
        module=(directory / facts["module"]).read_bytes(),
        content=(directory / facts["input"]).read_bytes(),
        expected=None if expected is None else (directory / expected).read_bytes(),
        expected_outcome=str(facts.get("expected_outcome", "completed")),
        expected_limit=facts.get("expected_limit"),
        limits=dict(facts.get("limits", {})),
        grants=_texts("grants", facts.get("grants", [])),
        env=_settings(facts.get("env", {})),
    )


def _settings(table: dict[str, Any]) -> dict[str, str]:
    return dict(zip(table, _texts("env", list(table.values())), strict=True))


def _texts(name: str, values: object) -> tuple[str, ...]:
    # A single text would pass for a list of its letters.
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise TypeError(f"{name!r} holds something other than texts")
    return tuple(values)
