"""Where a guest's HTTP requests may go: URLs, grants and addresses, judged without any I/O.

A URL is taken apart strictly, so that no two readers of it can differ about its host. Sources: RFC
3986, RFC 6890 and the registries of special-purpose addresses, through `ipaddress`.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import unquote

from stockade.core.errors import StockadeError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
MAX_URL_BYTES = 8192
DEFAULT_PORTS = {"http": 80, "https": 443}
_METHOD = re.compile(r"[A-Z]{1,16}")
_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9a-f:.]{2,45}\]|[a-z0-9.-]{1,253})"
    r"(?::(?P<port>[0-9]{1,5}))?(?P<path>/[\x21-\x7e]*)?",
    re.ASCII,
)
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_NUMBERLIKE = re.compile(r"(0x[0-9a-f]*|[0-9]+)", re.ASCII)
# Beyond what `ipaddress` calls private: metadata, translated and tunnelled IPv4, which would reach
# what is inside them.
_NEVER = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "192.0.0.0/24", "192.88.99.0/24",
        "::ffff:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "2001::/32", "2002::/16", "fec0::/10",
    )
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Url:
    """A URL taken apart. `host` is lower case and ASCII, an IPv6 address without its brackets."""

    scheme: str
    host: str
    port: int
    target: str

    @property
    def authority(self) -> str:
        """What the `Host` header says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def text(self) -> str:
        """The URL as one text."""
        return f"{self.scheme}://{self.authority}{self.target}"

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host and port."""
        return self.scheme, self.host, self.port

    @property
    def address(self) -> Address | None:
        """The address, where the host is one."""
        return _literal(self.host)


@dataclass(frozen=True, slots=True)
class HttpGrant:
    """Methods (none: all) of one origin, or of all subdomains of a host, below a path.

    `host` without its `*.` where `subdomains` is set. `prefix` is empty or begins with `/` and does
    not end with one.
    """

    methods: frozenset[str]
    scheme: str
    host: str
    port: int
    prefix: str
    subdomains: bool = False

    def covers(self, method: str, url: Url) -> bool:
        """Whether a request may be made under this grant; addresses are another matter."""
        if (self.scheme, self.port) != (url.scheme, url.port):
            return False
        if self.methods and method not in self.methods:
            return False
        if self.subdomains:
            if not url.host.endswith("." + self.host):
                return False
        elif url.host != self.host:
            return False
        if not self.prefix:
            return True
        path = plain_path(url.target)
        return path is not None and (path + "/").startswith(self.prefix + "/")


@dataclass(frozen=True, slots=True)
class EgressPolicy:
    """What the operator lets guests' requests be.

    `networks` are the private ones that a grant by address may name; `denied_hosts` are refused
    whatever a grant says, their subdomains too.
    """

    timeout_seconds: float = 10.0
    max_request_bytes: int = 1024 * 1024
    max_response_bytes: int = 1024 * 1024
    max_fetches: int = 50
    plain_http: bool = True
    networks: tuple[Network, ...] = ()
    denied_hosts: tuple[str, ...] = ()

    def refusal(self, url: Url) -> str | None:
        """Why no request may go to this URL, grants aside; None when one may."""
        if url.scheme == "http" and not self.plain_http:
            return "only https is allowed here"
        if any(url.host == host or url.host.endswith("." + host) for host in self.denied_hosts):
            return "the operator denies this host"
        address = url.address
        if address is not None and not is_reachable(address, url, self.networks):
            return "the address is not of the public internet"
        return None


def parse_url(text: str) -> Url:
    """Takes a URL apart.

    Raises:
        StockadeError: `http_fetch.malformed`.
    """
    text, _, _fragment = text.partition("#")
    scheme, slashes, rest = text.partition("://")
    cut = min((rest.find(mark) for mark in "/?" if mark in rest), default=len(rest))
    lowered = scheme.lower() + slashes + rest[:cut].lower()
    path = rest[cut:]
    if path.startswith("?"):
        path = "/" + path
    found = _URL.fullmatch(lowered + path)
    if found is None or len(text) > MAX_URL_BYTES or "\\" in text:
        raise _malformed("a URL is http(s)://host[:port]/path of visible ASCII, without user names")
    scheme = found["scheme"]
    port = int(found["port"] or DEFAULT_PORTS[scheme])
    if not 0 < port < 1 << 16:
        raise _malformed("a port is 1 to 65535")
    return Url(scheme, _host(found["host"]), port, found["path"] or "/")


def parse_http_grant(text: str) -> HttpGrant:
    """The grant that `METHODS ORIGIN[/PREFIX]` stands for.

    Raises:
        StockadeError: `function.grant_invalid`.
    """
    methods, _, origin = text.partition(" ")
    names = () if methods == "*" else methods.split(",")
    subdomains = "://*." in origin
    try:
        url = parse_url(origin.replace("://*.", "://", 1))
    except StockadeError as error:
        raise _bad_grant(text, error.message) from error
    prefix = plain_path(url.target)
    if not all(_METHOD.fullmatch(name) for name in names) or len(set(names)) != len(names):
        raise _bad_grant(text, "methods are '*' or distinct names such as GET,POST")
    if prefix is None or "?" in url.target:
        raise _bad_grant(
            text, "the path is plain: without '..', '//', '%' escapes of these, or '?'"
        )
    if subdomains and (url.address or "." not in url.host):
        raise _bad_grant(text, "'*.' stands before a domain of at least two labels")
    return HttpGrant(
        frozenset(names), url.scheme, url.host, url.port, prefix.rstrip("/"), subdomains
    )


def plain_path(target: str) -> str | None:
    """The decoded path of a request target; None where servers could read it in two ways."""
    path = target.partition("?")[0]
    decoded = unquote(path)
    odd = "//" in decoded or "\\" in decoded or "%" in decoded or not decoded.isprintable()
    segments = {segment.partition(";")[0] for segment in decoded.split("/")}
    return None if odd or segments & {".", ".."} else decoded


def is_reachable(address: Address, url: Url, allowed: Sequence[Network]) -> bool:
    """Whether a connection may be made to an address that the URL's host stands for.

    Public addresses may be reached. Any other only where the URL names the address itself (which a
    grant must do too) and the operator's policy lists a network around it.
    """
    if is_public(address):
        return True
    return url.address == address and any(
        address.version == network.version and address in network for network in allowed
    )


def is_public(address: Address) -> bool:
    """Whether an address is of the public internet, whatever it is written like."""
    if isinstance(address, IPv6Address) and address.scope_id:
        return False
    refused = any(address.version == one.version and address in one for one in _NEVER)
    return address.is_global and not refused and not address.is_multicast


def parse_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """The networks of a policy.

    Raises:
        ValueError: one is none.
    """
    return tuple(ip_network(text) for text in texts)


def _host(text: str) -> str:
    if text.startswith("["):
        address = _literal(text[1:-1])
        if not isinstance(address, IPv6Address):
            raise _malformed("what stands in brackets is an IPv6 address")
        return str(address)
    labels = text.split(".")
    # Some resolvers read 2130706433, 0x7f.1 and 127.1 as addresses.
    named = not _NUMBERLIKE.fullmatch(labels[-1]) and all(map(_LABEL.fullmatch, labels))
    if not named and _literal(text) is None:
        raise _malformed("a host is a domain name, or an address in its usual form")
    return text


def _literal(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _malformed(what: str) -> StockadeError:
    return StockadeError("http_fetch.malformed", f"The request cannot be read: {what}.")


def _bad_grant(text: str, why: str) -> StockadeError:
    return StockadeError(
        "function.grant_invalid",
        f"The grant 'http_fetch:{ascii(text[:128])[1:-1]}' cannot be: {why}.",
    )
