"""Requests that guests would have the worker make for them: real servers, a resolver of the test's.

The guests' grants are generous here; what holds is the judgement of addresses, names and redirects.
"""

import pytest

from stockade.core.addresses import parse_networks
from stockade.core.egress import EgressPolicy
from stockade.core.errors import StockadeError
from stockade.core.http_messages import parse_request
from stockade.infra.guarded_http import GuardedHttp
from tests.security.http_servers import (
    LOOPBACK,
    OK,
    PUBLIC,
    Detour,
    Names,
    fetch,
    grants_for,
    redirect,
    refused,
    request,
    serving,
)


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data/", "http://127.0.0.1:6379/", "http://10.0.0.1/",
        "http://[::1]/", "http://[::ffff:127.0.0.1]/", "http://[::ffff:7f00:1]/",
        "http://[::127.0.0.1]/", "http://[::ffff:0:7f00:1]/", "http://[64:ff9b::7f00:1]/",
        "http://[2002:7f00:1::]/", "http://[2001:0:1::]/", "http://[fd00:ec2::254]/",
        "http://0.0.0.1/", "http://0.0.0.0/", "http://100.64.0.1/", "http://[fe80::1]/",
        "http://168.63.129.16/", "http://100.100.100.200/", "http://192.0.0.192/", "http://[::]/",
        "http://255.255.255.255/", "http://224.0.0.1/", "http://[ff02::1]/",
    ],
)  # fmt: skip
async def test_a_private_address_is_refused_though_granted(url: str) -> None:
    origin = url.split("/", 3)[2]
    error = await refused("address_refused", request(url), f"* http://{origin}",
                          policy=EgressPolicy())  # fmt: skip
    assert "127.0.0.1" not in error.message


async def test_an_open_and_a_closed_private_port_look_alike() -> None:
    async with serving() as server:
        told = set()
        for port in (server.port, 1024):
            url = f"http://127.0.0.1:{port}/"
            error = await refused("address_refused", request(url), f"* {url}",
                                  policy=EgressPolicy())  # fmt: skip
            told.add((error.message, error.retryable))
        assert len(told) == 1
    assert server.connections == 0


@pytest.mark.parametrize(
    "url",
    ["http://2130706433/", "http://0x7f000001/", "http://0177.0.0.1/", "http://127.1/",
     "http://user@127.0.0.1/", "http://127.0.0.1\\@a.example/", "http://127.0.0.1%00.a.example/",
     "http://a.example\r\nhost: b/", "gopher://127.0.0.1/", "file:///etc/passwd",
     "http://a.example/ HTTP/1.1\r\nx: y", "http://a.example/\x00", "http://[::1%25lo]/",
     "http://\u2488.0.0.1/", "http://127.0.0.1./"],
)  # fmt: skip
async def test_an_odd_way_to_write_an_address_is_no_url(url: str) -> None:
    await refused("malformed", request(url), "* http://a.example")


@pytest.mark.parametrize(
    "addresses",
    [["127.0.0.1"], ["::1"], ["169.254.169.254"], [PUBLIC, "127.0.0.1"], ["10.1.2.3"],
     ["::ffff:127.0.0.1"], ["::127.0.0.1"], ["64:ff9b::a00:1"], ["fe80::1%lo"], []],
)  # fmt: skip
async def test_a_name_never_leads_inside(addresses: list[str]) -> None:
    async with serving() as server:
        names = Names(a_example=[addresses])
        url = f"http://a.example:{server.port}/"
        await refused("address_refused", request(url), f"* {url}", names=names)
    assert server.connections == 0


async def test_what_the_operator_denies_is_reached_neither_by_name_nor_by_address() -> None:
    detour = Detour()
    policy = EgressPolicy(
        networks=LOOPBACK, denied_networks=parse_networks([f"{PUBLIC}/32", "127.0.0.1/32"])
    )
    names = Names(a_example=[[PUBLIC]])
    for origin in ("http://a.example", f"http://{PUBLIC}", "http://127.0.0.1"):
        await refused(
            "address_refused", request(f"{origin}/"), f"* {origin}",
            policy=policy, names=names, network=detour,
        )  # fmt: skip
    assert detour.asked == []


@pytest.mark.parametrize("port", [22, 25, 465, 587, 6667])
async def test_other_protocols_are_not_spoken_to(port: int) -> None:
    url = f"http://a.example:{port}/"
    names = Names(a_example=[[PUBLIC]])
    sent = request(url, method="POST", body=b"HELO\r\nMAIL FROM:<a@a.example>\r\n")
    error = await refused("address_refused", sent, f"* {url}", names=names)
    assert str(port) in error.message
    assert names.looked_up == []


async def test_a_name_is_looked_up_once_and_then_its_address_is_used() -> None:
    detour = Detour()
    async with serving() as server:
        # Were it looked up again, it would lead inside.
        names = Names(a_example=[[PUBLIC], ["127.0.0.1"]])
        url = f"http://a.example:{server.port}/"
        response = await fetch(request(url), f"* {url}", names=names, network=detour)
    assert response.body == b"hi"
    assert names.looked_up == ["a.example"]
    assert detour.asked == [PUBLIC]
    assert f"host: a.example:{server.port}".encode() in server.heads[0].lower()


async def test_a_name_that_moves_inside_between_redirects_is_refused() -> None:
    detour = Detour()
    async with serving(redirect("/again")) as server:
        names = Names(a_example=[[PUBLIC], ["127.0.0.1"]])
        url = f"http://a.example:{server.port}/"
        await refused("address_refused", request(url), f"* {url}", names=names, network=detour)
    assert detour.asked == [PUBLIC]


async def test_localhost_by_the_hosts_own_resolver_is_refused() -> None:
    egress = GuardedHttp(EgressPolicy(networks=LOOPBACK))
    asked = parse_request(request("http://localhost/"))
    with pytest.raises(StockadeError) as caught:
        await egress.fetch("acme", asked, grants_for("* http://localhost"))
    assert caught.value.code == "http_fetch.address_refused"


@pytest.mark.parametrize(
    ("to", "code"),
    [
        ("http://169.254.169.254/", "not_granted"),
        ("http://127.0.0.2:1/", "not_granted"),
        ("http://10.9.8.7/", "address_refused"),
        ("https://127.0.0.1/", "not_granted"),
        ("http://evil-a.example/", "not_granted"),
        ("http://a.example.evil.test/", "not_granted"),
        ("file:///etc/passwd", "redirect_refused"),
        ("gopher://127.0.0.1/", "redirect_refused"),
        ("//user@127.0.0.1/", "redirect_refused"),
        ("http://2130706433/", "redirect_refused"),
        ("http://[", "redirect_refused"),
        ("http://[x]/", "redirect_refused"),
        ("http://a.example:99999/", "redirect_refused"),
        ("http://a.example/\xff", "redirect_refused"),
        ("/a b", "redirect_refused"),
        ("x" * 20_000, "redirect_refused"),
    ],
)
async def test_a_redirect_is_judged_like_a_request(to: str, code: str) -> None:
    async with serving(redirect(to)) as server:
        base = f"http://127.0.0.1:{server.port}"
        grants = ("* http://10.9.8.7", "* http://*.a.example")
        await refused(code, request(f"{base}/"), f"* {base}", *grants)
    assert server.connections == 1


async def test_a_granted_redirect_is_followed_without_credentials() -> None:
    async with serving() as last:
        target = f"http://127.0.0.1:{last.port}"
        async with serving(redirect(f"{target}/there", 303)) as first:
            base = f"http://127.0.0.1:{first.port}"
            sent = request(
                f"{base}/", "authorization: Bearer x", "cookie: a=b", "content-type: a/b",
                "x-kept: 1", method="POST", body=b"form",
            )  # fmt: skip
            response = await fetch(sent, f"* {base}", f"* {target}/there")
    assert response.body == b"hi"
    head = last.heads[0].lower()
    assert head.startswith(b"get /there http/1.1\r\n")
    assert b"x-kept: 1" in head
    assert b"authorization" not in head
    assert b"cookie" not in head
    assert b"content-type" not in head


async def test_redirects_end() -> None:
    async with serving(redirect("/again")) as server:
        base = f"http://127.0.0.1:{server.port}"
        await refused("too_many_redirects", request(f"{base}/"), f"* {base}")
    assert server.connections == 6


@pytest.mark.parametrize(
    "path",
    ["/v1/../admin", "/v1/%2e%2e/admin", "/v10", "//v1", "/V1/x", "/v1%2fadmin", "/v1/..%2fadmin",
     "/v1/%c0%ae%c0%ae/admin", "/v1/%5c..%5cadmin", "/v1/%252e%252e/x", "/%2fv1/x", "/v1;/x"],
)  # fmt: skip
async def test_a_path_outside_the_prefix_is_not_granted(path: str) -> None:
    async with serving() as server:
        base = f"http://127.0.0.1:{server.port}"
        await refused("not_granted", request(base + path), f"* {base}/v1")
    assert server.connections == 0


async def test_another_port_or_method_is_not_granted() -> None:
    async with serving() as server, serving() as other:
        base = f"http://127.0.0.1:{server.port}"
        await refused("not_granted", request(f"http://127.0.0.1:{other.port}/"), f"* {base}")
        await refused("not_granted", request(f"{base}/", method="POST"), f"GET,HEAD {base}")
    assert (server.connections, other.connections) == (0, 0)


@pytest.mark.parametrize(
    "name",
    ["host", "Host", "content-length", "transfer-encoding", "connection", "proxy-connection",
     "proxy-authorization", "te", "upgrade", "expect", "keep-alive", "trailer"],
)  # fmt: skip
async def test_headers_of_the_message_are_ours(name: str) -> None:
    await refused("malformed", request("http://a.example/", f"{name}: x"), "* http://a.example")


@pytest.mark.parametrize("line", ["x: a\rb", "x: a\x00b", "x\t: a", "x : a", " x: a", "x", ": a"])
async def test_a_header_cannot_become_two(line: str) -> None:
    await refused("malformed", request("http://a.example/", line), "* http://a.example")


async def test_nothing_of_the_hosts_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving() as proxy, serving() as server:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{proxy.port}")
        base = f"http://127.0.0.1:{server.port}"
        assert (await fetch(request(f"{base}/"), f"* {base}")).status == 200
    assert (proxy.connections, server.connections) == (0, 1)


async def test_nothing_is_kept_from_one_request_to_the_next() -> None:
    answer = OK.replace(b"X-Seen: 1", b"Set-Cookie: a=tenant\r\nConnection: keep-alive")
    async with serving(answer) as server:
        base = f"http://127.0.0.1:{server.port}"
        egress = GuardedHttp(EgressPolicy(networks=LOOPBACK), Names())
        for tenant in ("acme", "rival"):
            asked = parse_request(request(f"{base}/"))
            await egress.fetch(tenant, asked, grants_for(f"* {base}"))
    assert server.connections == 2
    assert b"cookie" not in server.heads[1].lower()
