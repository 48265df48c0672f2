"""Grants: what a function version may do beyond computing, as texts and as facts.

| text | gives |
|---|---|
| `log`, `config_get`, `now_ms`, `random`, `emit`, `progress` | that host call |
| `secret:NAME` | `secret_get` of this secret |
| `kv:NAMESPACE`, `kv:NAMESPACE:read` | the key-value calls on this namespace; or reading only |
| `http_fetch:METHODS ORIGIN[/PREFIX]` | `http_fetch` of these methods (`GET,POST` or `*`) there |

Every version has `log` and the `span_…` calls.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from stockade.core.egress import HttpGrant, parse_http_grant
from stockade.core.errors import StockadeError
from stockade.core.names import check_name, check_secret_name

SIMPLE_GRANTS = frozenset({"log", "config_get", "now_ms", "random", "emit", "progress"})
MAX_GRANTS = 64
MAX_GRANT_CHARACTERS = 512
ALWAYS = frozenset({"log", "span_open", "span_close", "span_attribute"})
"""They only say something about the run, and nothing comes back that varies."""
_READS = frozenset({"kv_get"})
_WRITES = frozenset({"kv_set", "kv_delete", "kv_add"})
_NEEDED = {
    "secret_get": "secret:NAME",
    "kv_get": "kv:NAMESPACE:read",
    **dict.fromkeys(_WRITES, "kv:NAMESPACE"),
    "http_fetch": "http_fetch:METHODS ORIGIN",
}


@dataclass(frozen=True, slots=True)
class KvGrant:
    """A namespace of the tenant's key-value store, to read, or to write too."""

    namespace: str
    write: bool


@dataclass(frozen=True, slots=True)
class Grants:
    """What one function version was granted."""

    simple: frozenset[str] = ALWAYS
    secrets: frozenset[str] = frozenset()
    namespaces: tuple[KvGrant, ...] = ()
    http: tuple[HttpGrant, ...] = ()

    def allows_call(self, name: str) -> bool:
        """Whether the host call may be made at all, with whatever arguments."""
        if name in _READS:
            return bool(self.namespaces)
        if name in _WRITES:
            return any(grant.write for grant in self.namespaces)
        if name == "secret_get":
            return bool(self.secrets)
        if name == "http_fetch":
            return bool(self.http)
        return name in self.simple

    def secret(self, name: str) -> bool:
        """Whether this secret may be read."""
        return name in self.secrets

    def kv(self, namespace: str, *, write: bool) -> bool:
        """Whether this namespace may be read, or written."""
        return any(
            grant.namespace == namespace and (grant.write or not write) for grant in self.namespaces
        )


def parse_grants(texts: Iterable[str]) -> Grants:
    """The facts that the texts stand for.

    Raises:
        StockadeError: `function.grant_unknown`, `function.grant_invalid` or
            `function.grants_contradict`.
    """
    simple, secrets = set(ALWAYS), set()
    namespaces: dict[str, KvGrant] = {}
    http: list[HttpGrant] = []
    seen: set[str] = set()
    for text in texts:
        _check_new(text, seen)
        kind, colon, rest = text.partition(":")
        if text in SIMPLE_GRANTS:
            simple.add(text)
        elif kind == "secret" and colon:
            secrets.add(_checked(text, check_secret_name, rest))
        elif kind == "kv" and colon:
            _add_namespace(namespaces, text, rest)
        elif kind == "http_fetch" and colon:
            _add_origin(http, text, rest)
        else:
            raise _unknown(text)
    return Grants(frozenset(simple), frozenset(secrets), tuple(namespaces.values()), tuple(http))


def missing_grants(imports: Iterable[str], grants: Grants) -> tuple[str, ...]:
    """The grants that a module's imports (host-call names) need and that are not there."""
    lacking = {name for name in imports if not grants.allows_call(name)}
    return tuple(sorted({_NEEDED.get(name, name) for name in lacking}))


def _check_new(text: str, seen: set[str]) -> None:
    if len(seen) >= MAX_GRANTS:
        raise StockadeError(
            "function.grant_invalid", f"A function has at most {MAX_GRANTS} grants. Give fewer."
        )
    if len(text) > MAX_GRANT_CHARACTERS:
        raise StockadeError(
            "function.grant_invalid",
            f"The grant {text[:128]!a} is longer than {MAX_GRANT_CHARACTERS} characters.",
        )
    if text in seen:
        raise _twice(text)
    seen.add(text)


def _add_origin(http: list[HttpGrant], text: str, rest: str) -> None:
    grant = parse_http_grant(rest)
    if grant in http:
        raise _twice(text)
    http.append(grant)


def _add_namespace(namespaces: dict[str, KvGrant], text: str, rest: str) -> None:
    namespace, colon, access = rest.partition(":")
    if colon and access != "read":
        raise _unknown(text)
    _checked(text, lambda name: check_name("namespace", name), namespace)
    if namespace in namespaces:
        raise _contradiction(
            f"The namespace {namespace!a} is granted twice, once to write and once to read only."
            " Give one of them."
        )
    namespaces[namespace] = KvGrant(namespace, write=not colon)


def _checked(text: str, check: Callable[[str], str], name: str) -> str:
    try:
        return check(name)
    except StockadeError as error:
        raise StockadeError(
            "function.grant_invalid", f"The grant {text[:128]!a} cannot be: {error.message}"
        ) from error


def _unknown(text: str) -> StockadeError:
    return StockadeError(
        "function.grant_unknown",
        f"There is no grant {text[:128]!a}. Grants are: {', '.join(sorted(SIMPLE_GRANTS))},"
        " secret:NAME, kv:NAMESPACE, kv:NAMESPACE:read, http_fetch:METHODS ORIGIN[/PREFIX].",
    )


def _twice(text: str) -> StockadeError:
    return _contradiction(f"The grant {text[:128]!a} stands there twice. Give it once.")


def _contradiction(message: str) -> StockadeError:
    return StockadeError("function.grants_contradict", message)
