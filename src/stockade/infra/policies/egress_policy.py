"""Reads `policies/egress.toml`."""

from pathlib import Path

import msgspec

from stockade.core.addresses import parse_networks
from stockade.core.egress import EgressPolicy, parse_url
from stockade.core.errors import StockadeError
from stockade.core.http_messages import MAX_MESSAGE_BYTES
from stockade.core.upstreams import BreakerPolicy
from stockade.infra.policies.toml_files import load_toml

_MAX_TIMEOUT_MS = 600_000
_BREAKER_BOUNDS = {
    "failures": (0, 1000),
    "window_ms": (1, 86_400_000),
    "probe_ms": (1, 3_600_000),
    "max_probe_ms": (1, 3_600_000),
    "max_upstreams": (1, 1000),
}


class _Addresses(msgspec.Struct, forbid_unknown_fields=True):
    allow: list[str]
    deny: list[str]


class _Breaker(msgspec.Struct, forbid_unknown_fields=True):
    failures: int
    window_ms: int
    probe_ms: int
    max_probe_ms: int
    max_upstreams: int


class _File(msgspec.Struct, forbid_unknown_fields=True):
    timeout_ms: int
    max_request_bytes: int
    max_response_bytes: int
    max_fetches_per_run: int
    plain_http: bool
    denied_hosts: list[str]
    addresses: _Addresses
    breaker: _Breaker | None = None
    trace_context: bool = True


def load_egress_policy(path: Path) -> EgressPolicy:
    """The policy in this file, which must say everything, and may leave out `[breaker]` as a whole.

    Raises:
        StockadeError: `config.egress_invalid`: nothing starts with a policy it cannot read.
    """
    try:
        file = load_toml(path, _File)
        return _policy(file)
    except (OSError, ValueError) as error:
        raise StockadeError(
            "config.egress_invalid", f"The egress policy {path} cannot be used: {error}."
        ) from error


def _policy(file: _File) -> EgressPolicy:
    for name in ("max_request_bytes", "max_response_bytes"):
        if not 0 < getattr(file, name) <= MAX_MESSAGE_BYTES:
            raise ValueError(f"{name} is not between 1 and {MAX_MESSAGE_BYTES}")
    if not 0 < file.timeout_ms <= _MAX_TIMEOUT_MS or file.max_fetches_per_run < 0:
        raise ValueError(
            f"timeout_ms is not between 1 and {_MAX_TIMEOUT_MS}, or max_fetches_per_run less than 0"
        )
    return EgressPolicy(
        timeout_seconds=file.timeout_ms / 1000,
        max_request_bytes=file.max_request_bytes,
        max_response_bytes=file.max_response_bytes,
        max_fetches=file.max_fetches_per_run,
        plain_http=file.plain_http,
        trace_context=file.trace_context,
        networks=parse_networks(file.addresses.allow),
        denied_hosts=tuple(_denied_host(text) for text in file.denied_hosts),
        denied_networks=parse_networks(file.addresses.deny),
        breaker=BreakerPolicy() if file.breaker is None else _breaker(file.breaker),
    )


def _breaker(found: _Breaker) -> BreakerPolicy:
    numbers = msgspec.structs.asdict(found)
    for name, (least, most) in _BREAKER_BOUNDS.items():
        if not least <= numbers[name] <= most:
            raise ValueError(f"breaker.{name} is not between {least} and {most}")
    if found.max_probe_ms < found.probe_ms:
        raise ValueError("breaker.max_probe_ms is less than breaker.probe_ms")
    return BreakerPolicy(**numbers)


def _denied_host(text: str) -> str:
    # What no URL could match would deny nothing; an address would be denied by one name only.
    host = text.lower().removeprefix("*.")
    try:
        url = parse_url(f"https://{host}/")
    except StockadeError as error:
        raise ValueError(f"{text!a} in denied_hosts is no host name") from error
    if url.host != host or url.address is not None:
        raise ValueError(f"{text!a} in denied_hosts is no host name; addresses.deny takes networks")
    return host
