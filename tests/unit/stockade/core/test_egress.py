"""Where requests may go: URLs with one reading, grants that cover no more than they say."""

from ipaddress import ip_address

import pytest

from stockade.core.addresses import parse_networks
from stockade.core.egress import EgressPolicy, parse_http_grant, parse_url
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
        "https://example.com/" + "a" * 9000, "https://o\u212a.example/", "\u017f://a.example/",
        "https://example.com/?\u00e9", " https://example.com/", "https://example.com/ ",
        "https:\\\\example.com/", "https:/example.com/", "https://[::ffff:1.2.3.4/",
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
        ("* https://a.example/v1", "GET", "https://a.example/v1%2fadmin", False),
        ("* https://a.example/v1", "GET", "https://a.example/v1%2Fadmin", False),
        ("* https://a.example/v1", "GET", "https://a.example/%2fv1/x", False),
        ("* https://a.example/v1", "GET", "https://a.example/v1/a%2fb", True),
        ("* https://a.example/v1", "GET", "https://a.example/v1/a%2f..%2fb", False),
        ("* https://a.example/v1", "GET", "https://a.example/v1/%c0%ae%c0%ae/b", False),
        ("* https://a.example/v1", "GET", "https://a.example/v1/%00", False),
        ("* https://a.example/v1", "GET", "https://a.example/v1?/../x", True),
        ("* https://a.example/v1", "GET", "https://a.example/?/v1", False),
        ("* https://a.example/v1/x", "GET", "https://a.example/v1", False),
        ("* https://a.example/a%20b", "GET", "https://a.example/a%20b/c", True),
        ("GET https://a.example", "HEAD", "https://a.example/", False),
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
        "GET https://a.example/x#y", "GET https://a.example/a%2fb", "GET https://a.example/%e9",
        "GET ftp://a.example", "GET https://a.example:0", "GET  https://a.example", "* *",
        "*,GET https://a.example", "GET https://a.example https://b.example",
    ],
)  # fmt: skip
def test_a_grant_that_says_nothing_sound_is_refused(text: str) -> None:
    with pytest.raises(StockadeError) as refused:
        parse_http_grant(text)
    assert refused.value.code == "function.grant_invalid"


def test_a_private_address_wants_its_own_name_and_the_policys_leave() -> None:
    loopback = ip_address("127.0.0.1")
    allowing = EgressPolicy(networks=parse_networks(["127.0.0.0/8", "fd00::/8"]))
    other = EgressPolicy(networks=parse_networks(["10.0.0.0/8"]))
    by_address, by_name = parse_url("http://127.0.0.1/"), parse_url("http://localhost/")
    assert allowing.reaches(loopback, by_address)
    assert not EgressPolicy().reaches(loopback, by_address)
    assert not other.reaches(loopback, by_address)
    assert not allowing.reaches(loopback, by_name)
    assert not allowing.reaches(ip_address("127.0.0.2"), by_address)


def test_what_is_denied_is_not_reached_though_it_is_allowed_or_public() -> None:
    policy = EgressPolicy(
        networks=parse_networks(["10.0.0.0/8"]),
        denied_networks=parse_networks(["10.1.0.0/16", "8.8.8.0/24", "2606:4700::/32"]),
    )
    for host, reached in {
        "10.0.0.1": True, "10.1.0.1": False, "8.8.8.8": False, "8.8.9.8": True,
        "2606:4700::1": False, "2607:4700::1": True,
    }.items():  # fmt: skip
        url = parse_url(f"http://[{host}]/" if ":" in host else f"http://{host}/")
        assert policy.reaches(ip_address(host), url) is reached
        assert (policy.refusal(url) is None) is reached
    by_name = parse_url("http://a.example/")
    assert not policy.reaches(ip_address("8.8.8.8"), by_name)


@pytest.mark.parametrize(
    ("url", "refused"),
    [
        ("https://a.example/", False),
        ("http://a.example/", True),
        ("https://denied.example/", True),
        ("https://x.denied.example/", True),
        ("https://undenied.example/", False),
        ("https://127.0.0.1/", True),
        ("https://a.example:25/", True),
        ("https://a.example:8443/", False),
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
