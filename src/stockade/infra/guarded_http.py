"""`HttpEgress` by httpcore: every name is resolved once, every address judged, then connected to.

The connection goes to the very address that was judged, so that a name which changes between look
and use leads nowhere; TLS still proves the name. Each fetch has a connection of its own: nothing is
kept that another tenant could use. No proxy, cookie or credential of the host's is ever used. What
a server may make the worker read, and how small its pieces may be, is bounded: the worker's own
time belongs to all tenants.
"""

import asyncio
import ssl
from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import urljoin

import certifi
import httpcore

from stockade.core.addresses import Address
from stockade.core.egress import EgressPolicy, HttpGrant, Url, parse_url
from stockade.core.errors import StockadeError
from stockade.core.http_messages import HttpRequest, HttpResponse, readable_headers
from stockade.core.ports import NameResolver
from stockade.core.upstreams import OpenGate, UpstreamGate, retry_after_ms
from stockade.infra.pinned_network import PinnedNetwork, ReadAllowance
from stockade.infra.system_name_resolver import SystemNameResolver

_MAX_REDIRECTS = 5
_MAX_ADDRESSES = 3
_MAX_PIECES = 16_384
_PIECES_AT_ONCE = 64
_FRAMING_BYTES = 64 * 1024
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_TURNS_TO_GET = frozenset({301, 302})
_OF_THE_BODY = frozenset({"content-type", "content-encoding", "content-language"})
_OF_THE_ORIGIN = frozenset({"authorization", "cookie"})
_SEE_OTHER = 303
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})


class GuardedHttp:
    """See `HttpEgress`.

    Args:
        policy: The operator's.
        names: Tells names' addresses.
        tls: Which certificates are trusted; the host's and those that come with the dependencies.
        network: Connects to addresses.
        gate: Stands before every request to an upstream.
    """

    def __init__(
        self,
        policy: EgressPolicy,
        names: NameResolver | None = None,
        tls: ssl.SSLContext | None = None,
        network: httpcore.AsyncNetworkBackend | None = None,
        gate: UpstreamGate | None = None,
    ) -> None:
        self.policy = policy
        self._gate = gate or OpenGate()
        self._names = names or SystemNameResolver()
        self._tls = tls or _default_tls()
        self._network = network or httpcore.AnyIOBackend()

    async def fetch(
        self, tenant: str, request: HttpRequest, grants: Sequence[HttpGrant]
    ) -> HttpResponse:
        """The response; redirects are followed, each judged like the request itself.

        The response and each refusal name the upstream that was asked last.
        """
        if len(request.body) > self.policy.max_request_bytes:
            raise StockadeError(
                "http_fetch.request_too_large",
                f"A request's body has at most {self.policy.max_request_bytes} bytes. Send less.",
            )
        asked: list[str] = []
        try:
            async with asyncio.timeout(self.policy.timeout_seconds):
                response = await self._follow(tenant, request, grants, asked)
        except TimeoutError:
            raise StockadeError(
                "http_fetch.timeout",
                f"No whole response came within {self.policy.timeout_seconds:g} seconds. Try again"
                " later, or ask for less.",
                retryable=True,
                detail={"upstream": asked[-1]},
            ) from None
        except StockadeError as error:
            error.detail.setdefault("upstream", asked[-1] if asked else "")
            raise
        return replace(response, upstream=asked[-1])

    async def _follow(
        self, tenant: str, request: HttpRequest, grants: Sequence[HttpGrant], asked: list[str]
    ) -> HttpResponse:
        for _ in range(_MAX_REDIRECTS + 1):
            grant = self._grant(request, grants)
            asked.append(grant.upstream)
            with await self._gate.enter(tenant, grant.upstream) as passage:
                response = await self._one(tenant, request)
                passage.answered(response.status, retry_after_ms(response.headers))
            location = dict(response.headers).get("location")
            if response.status not in _REDIRECTS or location is None:
                return response
            request = _redirected(request, response.status, location)
        raise StockadeError(
            "http_fetch.too_many_redirects",
            f"There were more than {_MAX_REDIRECTS} redirects. Ask where they lead directly.",
        )

    def _grant(self, request: HttpRequest, grants: Sequence[HttpGrant]) -> HttpGrant:
        """The grant under which a request may be made: one that names the host, if there is one."""
        url = request.url
        covering = [grant for grant in grants if grant.covers(request.method, url)]
        if not covering:
            raise StockadeError(
                "http_fetch.not_granted",
                f"No grant covers {request.method} {url.scheme}://{url.authority} with this path."
                " Deploy with a grant 'http_fetch:METHODS ORIGIN[/PREFIX]'.",
            )
        if reason := self.policy.refusal(url):
            raise StockadeError(
                "http_fetch.address_refused",
                f"This request may not be made: {reason}. Ask the operator, or another server.",
            )
        return min(covering, key=lambda grant: grant.subdomains)

    async def _one(self, tenant: str, request: HttpRequest) -> HttpResponse:
        addresses = await self._addresses(tenant, request.url)
        try:
            return await self._exchange(request, addresses)
        except (httpcore.TimeoutException, httpcore.NetworkError, OSError) as error:
            raise _unreachable(error) from error
        except (httpcore.ProtocolError, httpcore.UnsupportedProtocol) as error:
            raise StockadeError(
                "http_fetch.protocol",
                "The server does not answer in HTTP/1.1. Check the URL's scheme and port.",
            ) from error

    async def _addresses(self, tenant: str, url: Url) -> Sequence[Address]:
        if url.address is not None:
            return [url.address]
        try:
            found = await self._names.addresses(tenant, url.host)
        except (OSError, UnicodeError) as error:
            raise StockadeError(
                "http_fetch.unresolvable",
                f"The name {url.host!r} has no address. Check it, or try again later.",
                retryable=True,
            ) from error
        if not found or not all(self.policy.reaches(address, url) for address in found):
            # One private address among public ones is refused too: which one would be used is not
            # the guest's to try.
            raise StockadeError(
                "http_fetch.address_refused",
                f"The name {url.host!r} does not lead to the public internet alone. A private"
                " server is granted by its address, where the operator allows it.",
            )
        return list(dict.fromkeys(found))[:_MAX_ADDRESSES]

    async def _exchange(self, request: HttpRequest, addresses: Sequence[Address]) -> HttpResponse:
        url = request.url
        origin = httpcore.Origin(url.scheme.encode(), url.host.encode(), url.port)
        allowance = ReadAllowance(_FRAMING_BYTES)
        connect_seconds = self.policy.timeout_seconds / len(addresses)
        pinned = PinnedNetwork(addresses, self._network, connect_seconds, allowance)
        connection = httpcore.AsyncHTTPConnection(
            origin, ssl_context=self._tls, network_backend=pinned
        )
        try:
            answer = await connection.handle_async_request(_asked(request))
            # Small pieces may take as many bytes to frame as they hold.
            allowance.add(2 * self.policy.max_response_bytes + _FRAMING_BYTES)
            headers = readable_headers(answer.headers)
            return HttpResponse(answer.status, headers, await self._body(answer))
        finally:
            await connection.aclose()
            await pinned.aclose()

    async def _body(self, answer: httpcore.Response) -> bytes:
        body, pieces = bytearray(), 0
        async for piece in answer.aiter_stream():
            body += piece
            pieces += 1
            if len(body) > self.policy.max_response_bytes or pieces > _MAX_PIECES:
                raise StockadeError(
                    "http_fetch.response_too_large",
                    f"The response has more than {self.policy.max_response_bytes} bytes, or"
                    f" {_MAX_PIECES} pieces. Ask for less of it.",
                )
            if not pieces % _PIECES_AT_ONCE:
                await asyncio.sleep(0)
        return bytes(body)


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
    url = _target(request.url, location)
    dropped: frozenset[str] = frozenset()
    method, body = request.method, request.body
    to_get = status == _SEE_OTHER and method != "HEAD"
    if to_get or (status in _TURNS_TO_GET and method == "POST"):
        method, body, dropped = "GET", b"", _OF_THE_BODY
    if url.origin != request.url.origin:
        dropped |= _OF_THE_ORIGIN
    headers = tuple(pair for pair in request.headers if pair[0] not in dropped)
    return replace(request, method=method, url=url, headers=headers, body=body)


def _target(url: Url, location: str) -> Url:
    try:
        target = parse_url(urljoin(url.text, location))
    except (ValueError, StockadeError) as error:
        raise StockadeError(
            "http_fetch.redirect_refused",
            "The server redirects to what is no plain http(s) URL. Ask for another one.",
        ) from error
    if (url.scheme, target.scheme) == ("https", "http"):
        raise StockadeError(
            "http_fetch.redirect_refused",
            "The server redirects from https to http. Ask for the http URL itself if that will do.",
        )
    return target


def _default_tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context


def _unreachable(error: Exception) -> StockadeError:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return StockadeError(
                "http_fetch.tls_failed",
                "The server does not prove to be who it should be. Check the URL; its certificate"
                " must be for this name, valid, and of an authority that the worker trusts.",
            )
        cause = cause.__cause__ or cause.__context__
    return StockadeError(
        "http_fetch.unreachable",
        "The server cannot be reached, or broke off. Try again later.",
        retryable=True,
    )
