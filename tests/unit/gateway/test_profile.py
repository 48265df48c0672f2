"""The limit profile: whole and sound, or the gateway does not start."""

from pathlib import Path

import pytest

from gateway.profile import load_profile
from stockade.core.errors import StockadeError
from stockade.core.limits import CEILINGS, DEFAULT_LIMITS

SHIPPED = Path(__file__).parents[3] / "policies" / "limits" / "default.toml"


def test_the_shipped_profile_is_what_core_says() -> None:
    profile = load_profile(SHIPPED)
    assert (profile.defaults, profile.ceilings) == (DEFAULT_LIMITS, CEILINGS)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("[defaults]", "[defaults"),
        ("[ceilings]", "[other]"),
        ("fuel = 1_000_000_000\n", ""),
        ("fuel = 1_000_000_000\n", "fuel = 0\n"),
        ("fuel = 1_000_000_000\n", "fuel = 1_000_000_000_000\n"),
        ("fuel = 1_000_000_000\n", 'fuel = "much"\n'),
        ("fuel = 1_000_000_000\n", "fuel = 1\nfule = 1\n"),
        ("fuel = 1_000_000_000\n", "fuel = true\n"),
    ],
)
def test_a_broken_profile(tmp_path: Path, old: str, new: str) -> None:
    text = SHIPPED.read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "broken.toml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(StockadeError) as caught:
        load_profile(path)
    assert caught.value.code == "config.limits_invalid"


def test_no_profile(tmp_path: Path) -> None:
    with pytest.raises(StockadeError) as caught:
        load_profile(tmp_path / "none.toml")
    assert caught.value.code == "config.limits_invalid"
