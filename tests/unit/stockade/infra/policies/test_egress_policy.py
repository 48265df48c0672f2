from ipaddress import ip_network
from pathlib import Path

import pytest

from stockade.core.egress import EgressPolicy
from stockade.core.errors import StockadeError
from stockade.core.upstreams import BreakerPolicy
from stockade.infra.policies.egress_policy import load_egress_policy

SHIPPED = Path(__file__).parents[5] / "policies" / "egress.toml"


def test_the_shipped_policy_reaches_nothing_private() -> None:
    assert load_egress_policy(SHIPPED) == EgressPolicy()


def test_every_line_of_the_file_counts(tmp_path: Path) -> None:
    text = SHIPPED.read_text(encoding="utf-8")
    for old, new in {
        "timeout_ms = 10_000": "timeout_ms = 500",
        "max_fetches_per_run = 50": "max_fetches_per_run = 0",
        "plain_http = true": "plain_http = false",
        "denied_hosts = []": 'denied_hosts = ["*.Bad.Example"]',
        "allow = []": 'allow = ["10.0.0.0/8", "::1/128"]',
        "deny = []": 'deny = ["198.51.100.0/24"]',
        "\nfailures = 5": "\nfailures = 0",
        "window_ms = 60_000": "window_ms = 1",
        "\nprobe_ms = 1_000": "\nprobe_ms = 2",
        "max_probe_ms = 30_000": "max_probe_ms = 3",
        "max_upstreams = 64": "max_upstreams = 4",
    }.items():
        assert old in text
        text = text.replace(old, new)
    (tmp_path / "egress.toml").write_text(text, encoding="utf-8")
    assert load_egress_policy(tmp_path / "egress.toml") == EgressPolicy(
        timeout_seconds=0.5,
        max_fetches=0,
        plain_http=False,
        networks=(ip_network("10.0.0.0/8"), ip_network("::1/128")),
        denied_hosts=("bad.example",),
        denied_networks=(ip_network("198.51.100.0/24"),),
        breaker=BreakerPolicy(0, 1, 2, 3, 4),
    )


def test_the_breakers_section_may_be_left_out_as_a_whole(tmp_path: Path) -> None:
    text, _, _ = SHIPPED.read_text(encoding="utf-8").partition("[breaker]")
    (tmp_path / "egress.toml").write_text(text, encoding="utf-8")
    assert load_egress_policy(tmp_path / "egress.toml") == EgressPolicy()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("plain_http = true", ""),
        ("plain_http = true", 'plain_http = "yes"'),
        ("plain_http = true", "plain_http = true\nplain_https = true"),
        ("max_response_bytes = 1_048_576", "max_response_bytes = 1_048_577"),
        ("max_request_bytes = 1_048_576", "max_request_bytes = 0"),
        ("\nfailures = 5", "\nfailures = -1"),
        ("\nfailures = 5", "\nfailures = 1001"),
        ("\nfailures = 5", "\nfailures = 2.5"),
        ("\nfailures = 5", ""),
        ("window_ms = 60_000", "window_ms = 0"),
        ("\nprobe_ms = 1_000", "\nprobe_ms = 0"),
        ("\nprobe_ms = 1_000", "\nprobe_ms = 30_001"),
        ("max_probe_ms = 30_000", "max_probe_ms = 3_600_001"),
        ("max_upstreams = 64", "max_upstreams = 1001"),
        ("max_upstreams = 64", "max_upstreams = 64\nmin_upstreams = 1"),
        ("timeout_ms = 10_000", "timeout_ms = 0"),
        ("timeout_ms = 10_000", "timeout_ms = 600_001"),
        ("timeout_ms = 10_000", "timeout_ms = true"),
        ("denied_hosts = []", 'denied_hosts = ["https://a.example"]'),
        ("denied_hosts = []", 'denied_hosts = ["a.example/x"]'),
        ("denied_hosts = []", 'denied_hosts = ["a.example:80"]'),
        ("denied_hosts = []", 'denied_hosts = ["a.example."]'),
        ("denied_hosts = []", 'denied_hosts = ["b\u00fccher.example"]'),
        ("denied_hosts = []", 'denied_hosts = ["203.0.113.1"]'),
        ("denied_hosts = []", 'denied_hosts = [""]'),
        ("denied_hosts = []", 'denied_hosts = ["*"]'),
        ("deny = []", 'deny = ["a.example"]'),
        ("deny = []", ""),
        ("max_fetches_per_run = 50", "max_fetches_per_run = -1"),
        ("allow = []", 'allow = ["10.0.0.1/8"]'),
        ("allow = []", 'allow = ["everything"]'),
        ("[addresses]", "[addresses"),
    ],
)
def test_a_policy_that_cannot_be_read_stops_the_start(tmp_path: Path, old: str, new: str) -> None:
    text = SHIPPED.read_text(encoding="utf-8")
    assert old in text
    (tmp_path / "egress.toml").write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(StockadeError) as refused:
        load_egress_policy(tmp_path / "egress.toml")
    assert refused.value.code == "config.egress_invalid"


def test_a_missing_policy_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(StockadeError, match="egress"):
        load_egress_policy(tmp_path / "none.toml")
