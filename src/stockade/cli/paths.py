"""Where this installation keeps what is no code: policies, and the examples of a checkout."""

import sys
from pathlib import Path

from stockade.core.errors import StockadeError

_CHECKOUT = Path(__file__).resolve().parents[3]
_INSTALLED = Path(sys.prefix) / "share" / "stockade"


def policy_dir() -> Path:
    """The policies of the checkout this code stands in, or those that were installed with it.

    Raises:
        StockadeError: `cli.policies_missing`.
    """
    return _first("policies", (_CHECKOUT, _INSTALLED), "cli.policies_missing", "--policy-dir")


def examples_dir() -> Path:
    """The example guests: of the current directory, or of the checkout this code stands in.

    Raises:
        StockadeError: `cli.examples_missing`.
    """
    places = (Path.cwd(), _CHECKOUT)
    return _first("examples/wasm", places, "cli.examples_missing", "--examples")


def _first(name: str, places: tuple[Path, ...], code: str, option: str) -> Path:
    for place in places:
        if (place / name).is_dir():
            return place / name
    looked = " and ".join(str(place / name) for place in places)
    raise StockadeError(code, f"There is no {looked}. Name the directory with {option}.")
