"""Where a guest's HTTP requests may go: URLs, grants and addresses, judged without any I/O.

A URL is taken apart strictly, so that no two readers of it can differ about its host. Sources: RFC
3986; WHATWG Fetch for the ports.
"""

import re
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_address
from urllib.parse import unquote

from stockade.core.addresses import Address, Network, is_public, lies_in
from stockade.core.errors import StockadeError
from stockade.core.upstreams import BreakerPolicy

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
# Ports of protocols that could be spoken to by a well-chosen request.
_OTHER_PROTOCOLS = frozenset({
    1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102,
    103, 104, 109, 110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465,
    512, 513, 514, 515, 526, 530, 531, 532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993,
    995, 1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668,
    6669, 6679, 6697, 10080,
})  # fmt: skip


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

    @property
    def upstream(self) -> str:
        """What it leads to, as breakers and retries know it: all paths of a host and port alike."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == DEFAULT_PORTS[self.scheme] else f":{self.port}"
        return f"http_fetch:{'*.' if self.subdomains else ''}{host}{port}"

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
        return not self.prefix or _begins_with(url.target, self.prefix)


@dataclass(frozen=True, slots=True)
class EgressPolicy:
    """What the operator lets guests' requests be.

    With `trace_context` servers are told the run's trace (`traceparent`, `tracestate`). `networks`
    are the private ones that a grant by address may name. `denied_hosts` with their
    subdomains, and `denied_networks`, are refused whatever a grant or `networks` say.
    """

    timeout_seconds: float = 10.0
    max_request_bytes: int = 1024 * 1024
    max_response_bytes: int = 1024 * 1024
    max_fetches: int = 50
    plain_http: bool = True
    trace_context: bool = True
    networks: tuple[Network, ...] = ()
    denied_hosts: tuple[str, ...] = ()
    denied_networks: tuple[Network, ...] = ()
    breaker: BreakerPolicy = field(default_factory=BreakerPolicy)

    @property
    def probe_lease_ms(self) -> int:
        """How long a probe can take; one that nobody heard of for longer died with its worker."""
        return round(self.timeout_seconds * 1000) + 1000

    def refusal(self, url: Url) -> str | None:
        """Why no request may go to this URL, grants aside; None when one may."""
        if url.scheme == "http" and not self.plain_http:
            return "only https is allowed here"
        if url.port in _OTHER_PROTOCOLS:
            return f"port {url.port} is of another protocol than HTTP"
        if any(url.host == host or url.host.endswith("." + host) for host in self.denied_hosts):
            return "the operator denies this host"
        address = url.address
        if address is not None and not self.reaches(address, url):
            return "the address is not of the public internet, or denied"
        return None

    def reaches(self, address: Address, url: Url) -> bool:
        """Whether a connection may be made to an address that the URL's host stands for.

        Public addresses may be reached. Any other only where the URL names the address itself
        (which a grant must do too) and `networks` has one around it.
        """
        if lies_in(address, self.denied_networks):
            return False
        return is_public(address) or (url.address == address and lies_in(address, self.networks))


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
    if found is None or len(text) > MAX_URL_BYTES or "\\" in text or not text.isascii():
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
    if prefix is None or "?" in url.target or "#" in origin or "%2f" in url.target.lower():
        raise _bad_grant(
            text, "the path is plain: without '..', '//', '%' escapes of these, '?' or '#'"
        )
    if subdomains and (url.address or "." not in url.host):
        raise _bad_grant(text, "'*.' stands before a domain of at least two labels")
    return HttpGrant(
        frozenset(names), url.scheme, url.host, url.port, prefix.rstrip("/"), subdomains
    )


def plain_path(target: str) -> str | None:
    """The decoded path of a request target; None where servers could read it in two ways."""
    try:
        decoded = unquote(target.partition("?")[0], errors="strict")
    except UnicodeDecodeError:
        return None
    odd = "//" in decoded or "\\" in decoded or "%" in decoded or not decoded.isprintable()
    segments = {segment.partition(";")[0] for segment in decoded.split("/")}
    return None if odd or segments & {".", ".."} else decoded


def _begins_with(target: str, prefix: str) -> bool:
    # An escaped slash is none to some servers, so the first segments must hold without it.
    raw, wanted = target.partition("?")[0].split("/"), prefix.split("/")
    same = [unquote(segment) for segment in raw[: len(wanted)]] == wanted
    return same and plain_path(target) is not None


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
