"""Which addresses are of the public internet, in every notation."""

from ipaddress import ip_address, ip_network

import pytest

from stockade.core.addresses import is_public, lies_in, parse_networks


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1", "127.255.0.9", "0.1.2.3", "10.0.0.1", "172.16.0.1", "192.168.1.1",
        "169.254.169.254", "100.64.0.1", "192.0.0.170", "192.0.2.1", "198.18.0.1", "224.0.0.1",
        "240.0.0.1", "255.255.255.255", "::", "::1", "fe80::1", "fc00::1", "fd00:ec2::254",
        "ff02::1", "2001:db8::1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "64:ff9b::7f00:1",
        "2002:7f00:1::", "2001:0:1::", "fec0::1", "fe80::1%eth0", "192.88.99.1",
        "168.63.129.16", "100.100.100.200", "192.0.0.192", "198.19.255.255", "203.0.113.1",
        "::127.0.0.1", "::8.8.8.8", "::ffff:0:7f00:1", "64:ff9b:1::1", "64:ff9b::808:808",
        "2001:10::1", "2001:20::1", "2001:2::1", "3fff::1", "5f00::1", "4000::1", "100::1",
        "fd20:ce::254", "2606:4700:4700::1111%eth0", "ff0e::1",
    ],
)  # fmt: skip
def test_what_is_not_public_is_known(text: str) -> None:
    assert not is_public(ip_address(text))


@pytest.mark.parametrize(
    "text", ["8.8.8.8", "1.1.1.1", "168.63.129.15", "2606:4700:4700::1111", "2a00:1450::1"]
)
def test_what_is_public_is_known(text: str) -> None:
    assert is_public(ip_address(text))


def test_networks_hold_addresses_of_their_own_version_alone() -> None:
    networks = parse_networks(["0.0.0.0/0", "fd00::/8"])
    assert networks == (ip_network("0.0.0.0/0"), ip_network("fd00::/8"))
    assert lies_in(ip_address("1.2.3.4"), networks)
    assert lies_in(ip_address("fd00::1"), networks)
    assert not lies_in(ip_address("fe00::1"), networks)
    assert not lies_in(ip_address("::ffff:1.2.3.4"), networks)
    with pytest.raises(ValueError, match="host bits"):
        parse_networks(["10.0.0.1/8"])
