"""Reads `policies/egress.toml`."""

from pathlib import Path

import msgspec

from stockade.core.addresses import parse_networks
from stockade.core.egress import EgressPolicy, parse_url
from stockade.core.errors import StockadeError
from stockade.core.http_messages import MAX_MESSAGE_BYTES
from stockade.infra.policies.toml_files import load_toml

_MAX_TIMEOUT_MS = 600_000


class _Addresses(msgspec.Struct, forbid_unknown_fields=True):
    allow: list[str]
    deny: list[str]


class _File(msgspec.Struct, forbid_unknown_fields=True):
    timeout_ms: int
    max_request_bytes: int
    max_response_bytes: int
    max_fetches_per_run: int
    plain_http: bool
    denied_hosts: list[str]
    addresses: _Addresses


def load_egress_policy(path: Path) -> EgressPolicy:
    """The policy in this file, which must say everything.

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
        networks=parse_networks(file.addresses.allow),
        denied_hosts=tuple(_denied_host(text) for text in file.denied_hosts),
        denied_networks=parse_networks(file.addresses.deny),
    )


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
