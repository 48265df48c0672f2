"""Requests over TLS: who answers must prove its name, and the way back to plain HTTP is shut."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from stockade.core.egress import EgressPolicy
from stockade.core.errors import StockadeError
from stockade.core.http_messages import HttpResponse, parse_request
from stockade.infra.guarded_http import GuardedHttp
from tests.security.http_servers import (
    OK,
    PUBLIC,
    Detour,
    Names,
    Server,
    grants_for,
    redirect,
    request,
    serving,
)


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


@asynccontextmanager
async def serving_tls(certificate: Path, answer: bytes = OK) -> AsyncIterator[Server]:
    server, serves = Server(answer), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serves.load_cert_chain(certificate)
    async with await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=serves) as listening:
        server.port = listening.sockets[0].getsockname()[1]
        yield server


async def fetch(url: str, *grants: str, trust: Path | None, seconds: float = 10) -> HttpResponse:
    names = Names(a_example=[[PUBLIC]], b_example=[[PUBLIC]])
    tls = None if trust is None else ssl.create_default_context(cafile=str(trust))
    egress = GuardedHttp(EgressPolicy(timeout_seconds=seconds), names, tls, Detour())
    return await egress.fetch("acme", parse_request(request(url)), grants_for(*grants))


async def refused(
    code: str, url: str, *grants: str, trust: Path | None, seconds: float = 10
) -> None:
    with pytest.raises(StockadeError) as caught:
        await fetch(url, *grants, trust=trust, seconds=seconds)
    assert caught.value.code == f"http_fetch.{code}"


async def test_a_server_that_proves_its_name_is_read(certificate: Path) -> None:
    async with serving_tls(certificate) as server:
        url = f"https://a.example:{server.port}/"
        assert (await fetch(url, f"* {url}", trust=certificate)).body == b"hi"


@pytest.mark.parametrize(("host", "trusted"), [("a.example", False), ("b.example", True)])
async def test_a_server_must_prove_its_name(certificate: Path, host: str, *, trusted: bool) -> None:
    async with serving_tls(certificate) as server:
        url = f"https://{host}:{server.port}/"
        await refused("tls_failed", url, f"* {url}", trust=certificate if trusted else None)
    assert server.heads == []


async def test_a_redirect_never_leaves_https(certificate: Path) -> None:
    async with serving() as plain:
        there = f"http://a.example:{plain.port}"
        async with serving_tls(certificate, redirect(f"{there}/")) as server:
            url = f"https://a.example:{server.port}/"
            await refused("redirect_refused", url, f"* {url}", f"* {there}", trust=certificate)
    assert plain.connections == 0


async def test_a_server_that_speaks_no_tls_is_not_read(certificate: Path) -> None:
    async def answer_anything(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(OK)
        writer.close()

    async with await asyncio.start_server(answer_anything, "127.0.0.1", 0) as listening:
        url = f"https://a.example:{listening.sockets[0].getsockname()[1]}/"
        await refused("tls_failed", url, f"* {url}", trust=certificate)


async def test_a_handshake_that_stands_still_ends_in_time(certificate: Path) -> None:
    gone = asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        gone.set()
        writer.close()

    async with await asyncio.start_server(say_nothing, "127.0.0.1", 0) as listening:
        url = f"https://a.example:{listening.sockets[0].getsockname()[1]}/"
        await refused("timeout", url, f"* {url}", trust=certificate, seconds=0.2)
        # The connection was closed too.
        await asyncio.wait_for(gone.wait(), 10)
