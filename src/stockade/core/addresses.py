"""Addresses: which are of the public internet, whatever they are written like.

Sources: the IANA registries of special-purpose addresses, in part through `ipaddress`.
"""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# All other IPv6 is special: translated and mapped IPv4 too, which would reach what is inside it.
_GLOBAL_UNICAST = IPv6Network("2000::/3")
# Beyond what `ipaddress` calls private: shared and metadata addresses (Azure's is 168.63.129.16),
# tunnels, and what is set aside for protocols and documents.
_NEVER = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8", "100.64.0.0/10", "168.63.129.16/32", "169.254.0.0/16", "192.0.0.0/24",
        "192.88.99.0/24", "2001::/23", "2002::/16", "3fff::/20",
    )
)  # fmt: skip


def is_public(address: Address) -> bool:
    """Whether an address is of the public internet, and of no one host or cloud."""
    if isinstance(address, IPv6Address) and (address.scope_id or address not in _GLOBAL_UNICAST):
        return False
    return address.is_global and not address.is_multicast and not lies_in(address, _NEVER)


def lies_in(address: Address, networks: Iterable[Network]) -> bool:
    """Whether one of the networks holds the address."""
    return any(address.version == network.version and address in network for network in networks)


def parse_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """The networks of a policy.

    Raises:
        ValueError: one is none.
    """
    return tuple(ip_network(text) for text in texts)
