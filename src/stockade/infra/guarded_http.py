"""`HttpEgress` by httpcore: every name is resolved once, every address judged, then connected to.

The connection goes to the very address that was judged, so that a name which changes between look
and use leads nowhere; TLS still proves the name. Each fetch has a connection of its own: nothing is
kept that another tenant could use. No proxy, cookie or credential of the host's is ever used.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from ipaddress import ip_address
from urllib.parse import urljoin

import certifi
import httpcore

from stockade.core.egress import Address, EgressPolicy, HttpGrant, Url, is_reachable, parse_url
from stockade.core.errors import StockadeError
from stockade.core.http_messages import HttpRequest, HttpResponse, readable_headers

Resolve = Callable[[str, int], Awaitable[Sequence[Address]]]
_MAX_REDIRECTS = 5
_MAX_ADDRESSES = 3
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_TURNS_TO_GET = frozenset({301, 302})
_OF_THE_BODY = frozenset({"content-type", "content-encoding", "content-language"})
_OF_THE_ORIGIN = frozenset({"authorization", "cookie"})
_SEE_OTHER = 303
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})


async def resolve_by_system(host: str, port: int) -> Sequence[Address]:
    """The addresses of a name, as the host's resolver tells them."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=1)
    return [ip_address(place[4][0]) for place in found]


class GuardedHttp:
    """See `HttpEgress`.

    Args:
        policy: The operator's.
        resolve: Tells a name's addresses.
        tls: Which certificates are trusted; the host's and those that come with the dependencies.
        network: Connects to addresses.
    """

    def __init__(
        self,
        policy: EgressPolicy,
        resolve: Resolve = resolve_by_system,
        tls: ssl.SSLContext | None = None,
        network: httpcore.AsyncNetworkBackend | None = None,
    ) -> None:
        self.policy = policy
        self._network = network or httpcore.AnyIOBackend()
        self._resolve = resolve
        self._tls = tls or _default_tls()

    async def fetch(self, request: HttpRequest, grants: Sequence[HttpGrant]) -> HttpResponse:
        """The response; redirects are followed, each judged like the request itself."""
        if len(request.body) > self.policy.max_request_bytes:
            raise _refusal(
                "request_too_large",
                f"A request's body has at most {self.policy.max_request_bytes} bytes. Send less.",
            )
        try:
            async with asyncio.timeout(self.policy.timeout_seconds):
                return await self._follow(request, grants)
        except TimeoutError:
            raise _refusal(
                "timeout",
                f"No whole response came within {self.policy.timeout_seconds:g} seconds. Try again"
                " later, or ask for less.",
                retryable=True,
            ) from None

    async def _follow(self, request: HttpRequest, grants: Sequence[HttpGrant]) -> HttpResponse:
        for _ in range(_MAX_REDIRECTS + 1):
            response = await self._one(request, grants)
            location = dict(response.headers).get("location")
            if response.status not in _REDIRECTS or location is None:
                return response
            request = _redirected(request, response.status, location)
        raise _refusal(
            "too_many_redirects", f"There were more than {_MAX_REDIRECTS} redirects. Ask directly."
        )

    async def _one(self, request: HttpRequest, grants: Sequence[HttpGrant]) -> HttpResponse:
        url = request.url
        if not any(grant.covers(request.method, url) for grant in grants):
            raise _refusal(
                "not_granted",
                f"No grant covers {request.method} {url.scheme}://{url.authority} with this path."
                " Deploy with a grant 'http_fetch:METHODS ORIGIN[/PREFIX]'.",
            )
        if reason := self.policy.refusal(url):
            raise _refusal("address_refused", f"This request may not be made: {reason}.")
        addresses = await self._addresses(url)
        try:
            return await self._exchange(request, addresses)
        except (httpcore.TimeoutException, httpcore.NetworkError, OSError) as error:
            raise _unreachable(error) from error
        except (httpcore.ProtocolError, httpcore.UnsupportedProtocol) as error:
            raise _refusal("protocol", "The server does not answer in HTTP/1.1.") from error

    async def _addresses(self, url: Url) -> Sequence[Address]:
        if url.address is not None:
            return [url.address]
        try:
            found = await self._resolve(url.host, url.port)
        except (OSError, UnicodeError) as error:
            raise _refusal(
                "unresolvable", f"The name {url.host!r} has no address.", retryable=True
            ) from error
        if not found or not all(
            is_reachable(address, url, self.policy.networks) for address in found
        ):
            # One private address among public ones is refused too: which one would be used is not
            # the guest's to try.
            raise _refusal(
                "address_refused",
                f"The name {url.host!r} does not lead to the public internet alone.",
            )
        return list(dict.fromkeys(found))[:_MAX_ADDRESSES]

    async def _exchange(self, request: HttpRequest, addresses: Sequence[Address]) -> HttpResponse:
        url = request.url
        origin = httpcore.Origin(url.scheme.encode(), url.host.encode(), url.port)
        pinned = _Pinned(addresses, self._network)
        connection = httpcore.AsyncHTTPConnection(
            origin, ssl_context=self._tls, network_backend=pinned
        )
        try:
            answer = await connection.handle_async_request(_asked(request))
            return await self._read(answer)
        finally:
            await connection.aclose()
            await pinned.aclose()

    async def _read(self, answer: httpcore.Response) -> HttpResponse:
        body = bytearray()
        async for chunk in answer.aiter_stream():
            body += chunk
            if len(body) > self.policy.max_response_bytes:
                raise _refusal(
                    "response_too_large",
                    f"The response has more than {self.policy.max_response_bytes} bytes. Ask for"
                    " less of it.",
                )
        return HttpResponse(answer.status, readable_headers(answer.headers), bytes(body))


class _Pinned(httpcore.AsyncNetworkBackend):
    """Connects to the judged addresses, whatever name it is asked for."""

    def __init__(self, addresses: Sequence[Address], network: httpcore.AsyncNetworkBackend) -> None:
        self._addresses = addresses
        self._network = network
        self._stream: httpcore.AsyncNetworkStream | None = None

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 (the library's own signature)
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """The first of the addresses that answers."""
        del host
        failure: Exception | None = None
        for address in self._addresses:
            try:
                self._stream = await self._network.connect_tcp(
                    str(address), port, timeout, local_address, socket_options
                )
            except httpcore.ConnectError as error:
                failure = error
            else:
                return self._stream
        raise failure or httpcore.ConnectError("no address")

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109 (the library's own signature)
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Never: guests' requests go over the network."""
        del path, timeout, socket_options
        raise httpcore.ConnectError("no socket of this host")

    async def aclose(self) -> None:
        """Closes what a failed handshake leaves open."""
        if self._stream is not None:
            await self._stream.aclose()

    async def sleep(self, seconds: float) -> None:
        """Waits."""
        await asyncio.sleep(seconds)


def _asked(request: HttpRequest) -> httpcore.Request:
    url = request.url
    given = dict(request.headers)
    headers = [("host", url.authority), *request.headers, ("connection", "close")]
    headers += [] if "user-agent" in given else [("user-agent", "stockade-guest")]
    headers += [] if "accept-encoding" in given else [("accept-encoding", "identity")]
    if request.body or request.method in _WITH_BODY:
        headers.append(("content-length", str(len(request.body))))
    return httpcore.Request(
        request.method,
        httpcore.URL(
            scheme=url.scheme.encode(),
            host=url.host.encode(),
            port=url.port,
            target=url.target.encode(),
        ),
        headers=headers,
        content=request.body or None,
    )


def _redirected(request: HttpRequest, status: int, location: str) -> HttpRequest:
    """What a redirect asks for instead. Source: RFC 9110, 15.4."""
    url = parse_url(urljoin(request.url.text, location))
    dropped: frozenset[str] = frozenset()
    method, body = request.method, request.body
    to_get = status == _SEE_OTHER and method != "HEAD"
    if to_get or (status in _TURNS_TO_GET and method == "POST"):
        method, body, dropped = "GET", b"", _OF_THE_BODY
    if url.origin != request.url.origin:
        dropped |= _OF_THE_ORIGIN
    headers = tuple(pair for pair in request.headers if pair[0] not in dropped)
    return replace(request, method=method, url=url, headers=headers, body=body)


def _default_tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context


def _unreachable(error: Exception) -> StockadeError:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return _refusal("tls_failed", "The server does not prove to be who it should be.")
        cause = cause.__cause__ or cause.__context__
    return _refusal(
        "unreachable", "The server cannot be reached, or broke off. Try later.", retryable=True
    )


def _refusal(what: str, message: str, *, retryable: bool = False) -> StockadeError:
    return StockadeError(f"http_fetch.{what}", message, retryable=retryable)
