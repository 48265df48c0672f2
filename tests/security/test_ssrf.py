"""Requests that guests would have the worker make for them: real servers, a resolver of the test's.

The guests' grants are generous here; what holds is the judgement of addresses, names and redirects.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import httpcore
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from stockade.core.egress import Address, EgressPolicy, HttpGrant, parse_http_grant, parse_networks
from stockade.core.errors import StockadeError
from stockade.core.http_messages import HttpResponse, parse_request
from stockade.infra.guarded_http import GuardedHttp, resolve_by_system

LOOPBACK = parse_networks(["127.0.0.0/8", "::1/128"])
Handler = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Seen: 1\r\n\r\nhi"


class Server:
    """A server on loopback that answers every request with `answer`, and keeps the heads."""

    def __init__(self, answer: bytes | Handler) -> None:
        self._answer = answer
        self.heads: list[bytes] = []
        self.connections = 0
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            self.heads.append(head)
            if isinstance(self._answer, bytes):
                writer.write(self._answer)
                await writer.drain()
            else:
                await self._answer(head, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def serving(answer: bytes | Handler = OK) -> AsyncIterator[Server]:
    server = Server(answer)
    async with await asyncio.start_server(server.serve, "127.0.0.1", 0) as listening:
        server.port = listening.sockets[0].getsockname()[1]
        yield server


class Names:
    """A resolver: each look-up of a name takes the next of its answers, the last one stays."""

    def __init__(self, **answers: Sequence[Sequence[str]]) -> None:
        self._answers = {
            name.replace("_", "."): [list(map(ip_address, one)) for one in many]
            for name, many in answers.items()
        }
        self.looked_up: list[str] = []

    async def __call__(self, host: str, _port: int) -> Sequence[Address]:
        self.looked_up.append(host)
        answers = self._answers.get(host)
        if not answers:
            raise OSError("no such name")
        return answers.pop(0) if len(answers) > 1 else answers[0]


def request(url: str, *headers: str, method: str = "GET", body: bytes = b"") -> bytes:
    return "\n".join([f"{method} {url}", *headers]).encode() + b"\n\n" + body


def grants_for(*texts: str) -> list[HttpGrant]:
    return [parse_http_grant(text) for text in texts]


async def fetch(
    content: bytes, *grants: str, policy: EgressPolicy | None = None, names: Names | None = None
) -> HttpResponse:
    egress = GuardedHttp(policy or EgressPolicy(networks=LOOPBACK), names or Names())
    return await egress.fetch(parse_request(content), grants_for(*grants))


async def refused(code: str, *arguments: object, **named: object) -> StockadeError:
    with pytest.raises(StockadeError) as caught:
        await fetch(*arguments, **named)  # type: ignore[arg-type]
    assert caught.value.code == f"http_fetch.{code}"
    return caught.value


async def test_a_granted_address_is_reached() -> None:
    async with serving() as server:
        base = f"http://127.0.0.1:{server.port}"
        response = await fetch(request(f"{base}/a?b", "X-One: 1"), f"GET {base}")
    assert (response.status, response.body) == (200, b"hi")
    assert ("x-seen", "1") in response.headers
    head = server.heads[0]
    assert head.startswith(b"GET /a?b HTTP/1.1\r\n")
    assert f"host: 127.0.0.1:{server.port}\r\n".encode() in head.lower()
    assert b"x-one: 1\r\n" in head.lower()


async def test_a_body_is_sent_with_its_length() -> None:
    async with serving() as server:
        base = f"http://127.0.0.1:{server.port}"
        sent = request(f"{base}/", method="POST", body=b"hello")
        assert (await fetch(sent, f"POST {base}")).status == 200
    assert b"content-length: 5\r\n" in server.heads[0].lower()


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data/", "http://127.0.0.1:6379/", "http://10.0.0.1/",
        "http://[::1]/", "http://[::ffff:127.0.0.1]/", "http://[::ffff:7f00:1]/",
        "http://[64:ff9b::7f00:1]/", "http://[2002:7f00:1::]/", "http://[fd00:ec2::254]/",
        "http://0.0.0.1/", "http://100.64.0.1/", "http://[fe80::1]/",
    ],
)  # fmt: skip
async def test_a_private_address_is_refused_though_granted(url: str) -> None:
    origin = url.split("/", 3)[2]
    error = await refused("address_refused", request(url), f"* http://{origin}",
                          policy=EgressPolicy())  # fmt: skip
    assert "127.0.0.1" not in error.message


@pytest.mark.parametrize(
    "url",
    ["http://2130706433/", "http://0x7f000001/", "http://0177.0.0.1/", "http://127.1/",
     "http://user@127.0.0.1/", "http://127.0.0.1\\@a.example/", "http://127.0.0.1%00.a.example/",
     "http://a.example\r\nhost: b/", "gopher://127.0.0.1/", "file:///etc/passwd"],
)  # fmt: skip
async def test_an_odd_way_to_write_an_address_is_no_url(url: str) -> None:
    await refused("malformed", request(url), "* http://a.example")


@pytest.mark.parametrize(
    "addresses",
    [["127.0.0.1"], ["::1"], ["169.254.169.254"], ["93.184.215.14", "127.0.0.1"], ["10.1.2.3"],
     ["::ffff:127.0.0.1"], ["64:ff9b::a00:1"]],
)  # fmt: skip
async def test_a_name_never_leads_inside(addresses: list[str]) -> None:
    async with serving() as server:
        names = Names(a_example=[addresses])
        url = f"http://a.example:{server.port}/"
        await refused("address_refused", request(url), f"* {url}", names=names)
    assert server.connections == 0


class Detour(httpcore.AsyncNetworkBackend):
    """Leads every connection to loopback, and remembers where it would have gone."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 (the library's own signature)
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        self.asked.append(host)
        network = httpcore.AnyIOBackend()
        return await network.connect_tcp("127.0.0.1", port, timeout, local_address, socket_options)


async def test_a_name_is_looked_up_once_and_then_its_address_is_used() -> None:
    detour = Detour()
    async with serving() as server:
        # Were it looked up again, it would lead inside.
        names = Names(a_example=[["93.184.215.14"], ["127.0.0.1"]])
        url = f"http://a.example:{server.port}/"
        egress = GuardedHttp(EgressPolicy(), names, network=detour)
        response = await egress.fetch(parse_request(request(url)), grants_for(f"* {url}"))
    assert response.body == b"hi"
    assert names.looked_up == ["a.example"]
    assert detour.asked == ["93.184.215.14"]
    assert f"host: a.example:{server.port}".encode() in server.heads[0].lower()


async def test_localhost_by_the_hosts_own_resolver_is_refused() -> None:
    egress = GuardedHttp(EgressPolicy(networks=LOOPBACK), resolve_by_system)
    with pytest.raises(StockadeError) as caught:
        await egress.fetch(
            parse_request(request("http://localhost/")), grants_for("* http://localhost")
        )
    assert caught.value.code == "http_fetch.address_refused"


async def test_an_unknown_name_is_told() -> None:
    await refused("unresolvable", request("http://a.example/"), "* http://a.example")


def redirect(to: str, status: int = 302) -> bytes:
    return f"HTTP/1.1 {status} Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n".encode()


@pytest.mark.parametrize(
    ("to", "code"),
    [
        ("http://169.254.169.254/", "not_granted"),
        ("http://127.0.0.2:1/", "not_granted"),
        ("http://10.9.8.7/", "address_refused"),
        ("file:///etc/passwd", "malformed"),
        ("//user@127.0.0.1/", "malformed"),
        ("https://127.0.0.1/", "not_granted"),
    ],
)
async def test_a_redirect_is_judged_like_a_request(to: str, code: str) -> None:
    async with serving(redirect(to)) as server:
        base = f"http://127.0.0.1:{server.port}"
        await refused(code, request(f"{base}/"), f"* {base}", "* http://10.9.8.7")
    assert server.connections == 1


async def test_a_granted_redirect_is_followed_without_credentials() -> None:
    async with serving() as last:
        target = f"http://127.0.0.1:{last.port}"
        async with serving(redirect(f"{target}/there", 303)) as first:
            base = f"http://127.0.0.1:{first.port}"
            sent = request(
                f"{base}/", "authorization: Bearer x", "content-type: a/b", "x-kept: 1",
                method="POST", body=b"form",
            )  # fmt: skip
            response = await fetch(sent, f"* {base}", f"* {target}/there")
    assert response.body == b"hi"
    head = last.heads[0].lower()
    assert head.startswith(b"get /there http/1.1\r\n")
    assert b"x-kept: 1" in head
    assert b"authorization" not in head
    assert b"content-type" not in head


@pytest.mark.parametrize(
    ("status", "method", "then"),
    [(301, "POST", "GET"), (302, "PUT", "PUT"), (303, "HEAD", "HEAD"), (307, "POST", "POST")],
)
async def test_a_redirect_keeps_or_changes_the_method(status: int, method: str, then: str) -> None:
    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(OK if b"/there" in head else redirect("/there", status))
        await writer.drain()

    async with serving(answer) as server:
        base = f"http://127.0.0.1:{server.port}"
        await fetch(request(f"{base}/", "authorization: x", method=method), f"* {base}")
    assert server.heads[1].startswith(f"{then} /there ".encode())
    assert b"authorization: x" in server.heads[1].lower()


async def test_redirects_end() -> None:
    async with serving(redirect("/again")) as server:
        base = f"http://127.0.0.1:{server.port}"
        await refused("too_many_redirects", request(f"{base}/"), f"* {base}")
    assert server.connections == 6


async def test_a_path_outside_the_prefix_is_not_granted() -> None:
    async with serving() as server:
        base = f"http://127.0.0.1:{server.port}"
        for path in ("/v1/../admin", "/v1/%2e%2e/admin", "/v10", "//v1", "/V1/x"):
            await refused("not_granted", request(base + path), f"* {base}/v1")
    assert server.connections == 0


async def test_headers_of_the_message_are_ours() -> None:
    for name in ("host", "content-length", "transfer-encoding", "connection", "proxy-connection"):
        await refused("malformed", request("http://a.example/", f"{name}: x"), "* http://a.example")


async def endless(_head: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"10000\r\n" + b"x" * 65536 + b"\r\n")
        await writer.drain()


async def slow(_head: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.05)


async def long_head(_head: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"x-long: " + b"a" * 4096 + b"\r\n")
        await writer.drain()


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (endless, "response_too_large"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n" + b"x" * 2_000_000,
         "response_too_large"),
        (slow, "timeout"),
        (long_head, "protocol"),
        (b"HTTP/0.9 what\r\n\r\n", "protocol"),
        (b"", "protocol"),
        (b"\x16\x03\x01", "protocol"),
    ],
    ids=["endless", "large", "slow", "long head", "old", "nothing", "no http"],
)  # fmt: skip
async def test_a_hostile_server_costs_what_is_allowed(answer: bytes | Handler, code: str) -> None:
    policy = EgressPolicy(networks=LOOPBACK, timeout_seconds=0.5, max_response_bytes=100_000)
    async with serving(answer) as server:
        base = f"http://127.0.0.1:{server.port}"
        await refused(code, request(f"{base}/"), f"* {base}", policy=policy)


async def test_a_large_request_is_refused_before_it_is_made() -> None:
    policy = EgressPolicy(networks=LOOPBACK, max_request_bytes=10)
    sent = request("http://127.0.0.1:1/", method="POST", body=b"x" * 11)
    await refused("request_too_large", sent, "* http://127.0.0.1:1", policy=policy)


async def test_a_closed_port_is_told() -> None:
    async with serving() as server:
        port = server.port
    url = f"http://127.0.0.1:{port}/"
    error = await refused("unreachable", request(url), f"* {url}")
    assert error.retryable


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate for a.example, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a.example")])
    now = datetime.now(UTC)  # noqa: TID251 (a certificate wants real time)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("a.example")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    secret = key.private_bytes(
        encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    path.write_bytes(secret + made.public_bytes(encoding))
    return path


@pytest.mark.parametrize(
    ("host", "trusts", "code"),
    [
        ("a.example", True, None),
        ("a.example", False, "tls_failed"),
        ("b.example", True, "tls_failed"),
    ],
)
async def test_a_server_must_prove_its_name(
    certificate: Path, host: str, code: str | None, *, trusts: bool
) -> None:
    server, serves = Server(OK), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serves.load_cert_chain(certificate)
    trust = ssl.create_default_context(cafile=str(certificate)) if trusts else None
    names = Names(a_example=[["93.184.215.14"]], b_example=[["93.184.215.14"]])
    egress = GuardedHttp(EgressPolicy(), names, trust, Detour())
    async with await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=serves) as listening:
        url = f"https://{host}:{listening.sockets[0].getsockname()[1]}/"
        asked = egress.fetch(parse_request(request(url)), grants_for(f"* {url}"))
        if code is None:
            assert (await asked).body == b"hi"
        else:
            with pytest.raises(StockadeError) as caught:
                await asked
            assert caught.value.code == f"http_fetch.{code}"
            assert server.heads == []


async def test_nothing_of_the_hosts_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving() as proxy, serving() as server:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{proxy.port}")
        base = f"http://127.0.0.1:{server.port}"
        assert (await fetch(request(f"{base}/"), f"* {base}")).status == 200
    assert (proxy.connections, server.connections) == (0, 1)
