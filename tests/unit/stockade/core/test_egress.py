"""Where requests may go: URLs with one reading, grants that cover no more than they say."""

from ipaddress import ip_address, ip_network

import pytest

from stockade.core.egress import (
    EgressPolicy,
    is_public,
    is_reachable,
    parse_http_grant,
    parse_networks,
    parse_url,
)
from stockade.core.errors import StockadeError


@pytest.mark.parametrize(
    ("text", "origin", "target"),
    [
        ("https://example.com", ("https", "example.com", 443), "/"),
        ("HTTP://EXAMPLE.com/Path?Query#part", ("http", "example.com", 80), "/Path?Query"),
        ("https://example.com:8443?a=b", ("https", "example.com", 8443), "/?a=b"),
        ("http://127.0.0.1:80/x", ("http", "127.0.0.1", 80), "/x"),
        ("http://[::1]:8080/", ("http", "::1", 8080), "/"),
        ("http://[2001:DB8:0:0::1]/", ("http", "2001:db8::1", 80), "/"),
        ("https://xn--bcher-kva.example/", ("https", "xn--bcher-kva.example", 443), "/"),
    ],
)
def test_a_url_is_taken_apart(text: str, origin: tuple[str, str, int], target: str) -> None:
    url = parse_url(text)
    assert (url.origin, url.target) == (origin, target)
    assert parse_url(url.text) == url


@pytest.mark.parametrize(
    "text",
    [
        "", "example.com", "//example.com", "ftp://example.com", "file:///etc/passwd", "https://",
        "https:///path", "https://user@example.com/", "https://user:pass@example.com/",
        "https://good.example@evil.example/", "https://example.com\\@evil.example/",
        "https://exa mple.com/", "https://example.com/a b", "https://example.com/a\r\nx: y",
        "https://example.com/\x00", "https://b\u00fccher.example/", "https://example.com/\u00e9",
        "https://example.com:0/", "https://example.com:65536/", "https://example.com:x/",
        "https://example.com:/", "http://2130706433/", "http://0x7f000001/", "http://0x7f.1/",
        "http://127.1/", "http://0177.0.0.1/", "http://1.2.3.4.5/", "http://[::1%25eth0]/",
        "http://[::1/", "http://::1/", "http://[127.0.0.1]/", "https://example.com./",
        "https://-a.example/", "https://a..example/", "https://" + "a" * 64 + ".example/",
        "https://example.com/" + "a" * 9000,
    ],
)  # fmt: skip
def test_what_could_be_read_in_two_ways_is_refused(text: str) -> None:
    with pytest.raises(StockadeError) as refused:
        parse_url(text)
    assert refused.value.code == "http_fetch.malformed"


@pytest.mark.parametrize(
    ("grant", "method", "url", "covered"),
    [
        ("GET https://a.example", "GET", "https://a.example/x?y", True),
        ("GET https://a.example", "GET", "https://a.example//odd/%2e%2e/path", True),
        ("GET https://a.example", "POST", "https://a.example/", False),
        ("GET,POST https://a.example", "POST", "https://a.example/", True),
        ("* https://a.example", "DELETE", "https://a.example/", True),
        ("* https://a.example", "GET", "http://a.example/", False),
        ("* https://a.example", "GET", "https://a.example:444/", False),
        ("* https://a.example:444", "GET", "https://a.example:444/", True),
        ("* https://a.example", "GET", "https://b.a.example/", False),
        ("* https://a.example", "GET", "https://evil-a.example/", False),
        ("* https://a.example", "GET", "https://a.example.evil.test/", False),
        ("* https://*.a.example", "GET", "https://b.a.example/", True),
        ("* https://*.a.example", "GET", "https://c.b.a.example/", True),
        ("* https://*.a.example", "GET", "https://a.example/", False),
        ("* https://*.a.example", "GET", "https://evila.example/", False),
        ("* https://a.example/v1", "GET", "https://a.example/v1", True),
        ("* https://a.example/v1/", "GET", "https://a.example/v1/x", True),
        ("* https://a.example/v1", "GET", "https://a.example/v10", False),
        ("* https://a.example/v1", "GET", "https://a.example/v1/../admin", False),
        ("* https://a.example/v1", "GET", "https://a.example/v1/%2e%2e/admin", False),
        ("* https://a.example/v1", "GET", "https://a.example/v1/..;x/admin", False),
        ("* https://a.example/v1", "GET", "https://a.example/v1/%252e%252e/admin", False),
        ("* https://a.example/v1", "GET", "https://a.example/v1//admin", False),
        ("* https://a.example/v1", "GET", "https://a.example/v1/%5c..%5cadmin", False),
        ("* https://a.example/v1", "GET", "https://a.example//v1/x", False),
        ("* https://a.example/v1", "GET", "https://a.example/%761/x", True),
        ("* http://127.0.0.1:80", "GET", "http://127.0.0.1/", True),
        ("* http://[::1]", "GET", "http://[0:0::1]/", True),
    ],
)
def test_a_grant_covers_what_it_says(grant: str, method: str, url: str, *, covered: bool) -> None:
    assert parse_http_grant(grant).covers(method, parse_url(url)) is covered


@pytest.mark.parametrize(
    "text",
    [
        "", "GET", "get https://a.example", "GET,GET https://a.example", "GET, https://a.example",
        "GET https://*.com", "GET https://*", "GET https://*.127.0.0.1", "GET *://a.example",
        "GET https://a.example/../x", "GET https://a.example//x", "GET https://a.example/%2e%2e",
        "GET https://a.example/x?y", "GET https://user@a.example", "GET https://a.*.example",
    ],
)  # fmt: skip
def test_a_grant_that_says_nothing_sound_is_refused(text: str) -> None:
    with pytest.raises(StockadeError) as refused:
        parse_http_grant(text)
    assert refused.value.code == "function.grant_invalid"


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1", "127.255.0.9", "0.1.2.3", "10.0.0.1", "172.16.0.1", "192.168.1.1",
        "169.254.169.254", "100.64.0.1", "192.0.0.170", "192.0.2.1", "198.18.0.1", "224.0.0.1",
        "240.0.0.1", "255.255.255.255", "::", "::1", "fe80::1", "fc00::1", "fd00:ec2::254",
        "ff02::1", "2001:db8::1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "64:ff9b::7f00:1",
        "2002:7f00:1::", "2001:0:1::", "fec0::1", "fe80::1%eth0", "192.88.99.1",
    ],
)  # fmt: skip
def test_what_is_not_public_is_known(text: str) -> None:
    assert not is_public(ip_address(text))


@pytest.mark.parametrize("text", ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111"])
def test_what_is_public_is_known(text: str) -> None:
    assert is_public(ip_address(text))


def test_a_private_address_wants_its_own_name_and_the_policys_leave() -> None:
    loopback, networks = ip_address("127.0.0.1"), parse_networks(["127.0.0.0/8", "fd00::/8"])
    by_address, by_name = parse_url("http://127.0.0.1/"), parse_url("http://localhost/")
    assert is_reachable(loopback, by_address, networks)
    assert not is_reachable(loopback, by_address, ())
    assert not is_reachable(loopback, by_address, (ip_network("10.0.0.0/8"),))
    assert not is_reachable(loopback, by_name, networks)
    assert not is_reachable(ip_address("127.0.0.2"), by_address, networks)


@pytest.mark.parametrize(
    ("url", "refused"),
    [
        ("https://a.example/", False),
        ("http://a.example/", True),
        ("https://denied.example/", True),
        ("https://x.denied.example/", True),
        ("https://undenied.example/", False),
        ("https://127.0.0.1/", True),
        ("https://10.1.2.3/", False),
        ("https://8.8.8.8/", False),
    ],
)
def test_the_operators_policy_comes_first(url: str, *, refused: bool) -> None:
    policy = EgressPolicy(
        plain_http=False,
        networks=parse_networks(["10.0.0.0/8"]),
        denied_hosts=("denied.example",),
    )
    assert (policy.refusal(parse_url(url)) is not None) is refused
