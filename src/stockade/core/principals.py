"""Who calls: an API key or a CI workload, always of one tenant, with a role and perhaps scopes.

A role is what policies speak of (`policies/authorization`). Scopes narrow one credential below its
role; no policy can widen them again.

| scope | allows |
|---|---|
| `read`, `invoke`, `deploy`, `administer` | the actions of that group (`Action.group`) |
| `read:NAME`, `invoke:NAME`, `deploy:NAME` | those on the function NAME alone |

Whoever may deploy one function may upload modules too: an upload runs nothing.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from stockade.core.actions import Action, Group
from stockade.core.errors import StockadeError
from stockade.core.names import check_name

MAX_SCOPES = 32


class Role(StrEnum):
    """From the least to the most; each may what those before it may."""

    VIEWER = "viewer"
    INVOKER = "invoker"
    DEVELOPER = "developer"
    ADMIN = "admin"

    @property
    def rank(self) -> int:
        """Its place in the order."""
        return list(Role).index(self)


class Kind(StrEnum):
    """How the caller proved who it is."""

    KEY = "key"
    WORKLOAD = "workload"


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated caller.

    `id` is the key's id, or the workload's `issuer|subject`; `claims` are what its token said, as
    policies may ask for it. No scopes means all that the role may. `expires_ms` is when the
    credential ends; None for never.
    """

    tenant: str
    id: str
    role: Role = Role.ADMIN
    scopes: tuple[str, ...] = ()
    kind: Kind = Kind.KEY
    claims: tuple[tuple[str, str], ...] = ()
    expires_ms: int | None = field(default=None, compare=False)

    def check_scope(self, action: Action, function: str | None) -> None:
        """Refuses what the scopes leave out.

        Raises:
            StockadeError: `auth.scope_missing`.
        """
        if self.scopes and not _covers(self.scopes, action, function):
            group = action.group.value
            alone = function is not None and action.group is not Group.ADMINISTER
            wanted = f"{group}:{function}" if alone else group
            raise StockadeError(
                "auth.scope_missing",
                f"This credential lacks the scope {wanted!r}. Use one that has it, or that has no"
                " scopes.",
                detail={"scope": wanted},
            )

    def check_may_give(
        self, role: Role, scopes: tuple[str, ...], expires_ms: int | None = None
    ) -> None:
        """Refuses to make a credential that may more than this one, or outlives it or its job.

        Raises:
            StockadeError: `key.exceeds_caller`.
        """
        if self.kind is Kind.WORKLOAD:
            raise StockadeError(
                "key.exceeds_caller", "A CI job makes no keys: they would outlive it. Use a key."
            )
        wider = bool(self.scopes) and (not scopes or not set(scopes) <= set(self.scopes))
        longer = self.expires_ms is not None and (
            expires_ms is None or expires_ms > self.expires_ms
        )
        if role.rank > self.role.rank or wider or longer:
            raise StockadeError(
                "key.exceeds_caller",
                "A key cannot be given a higher role, other scopes or a later end than the"
                " credential that makes it.",
            )


def check_scopes(texts: Iterable[str]) -> tuple[str, ...]:
    """The scopes, sorted and each once.

    Raises:
        StockadeError: `key.scope_invalid`.
    """
    scopes = tuple(sorted(set(texts)))
    if len(scopes) > MAX_SCOPES:
        raise StockadeError("key.scope_invalid", f"A key has at most {MAX_SCOPES} scopes.")
    for scope in scopes:
        _check_scope(scope)
    return scopes


def _check_scope(scope: str) -> None:
    group, colon, function = scope.partition(":")
    try:
        sound = group in set(Group) and (not colon or group != Group.ADMINISTER)
        if colon:
            check_name("function", function)
    except StockadeError:
        sound = False
    if not sound:
        raise StockadeError(
            "key.scope_invalid",
            f"There is no scope {scope[:80]!a}. Scopes are read, invoke, deploy and administer, and"
            " read:FUNCTION, invoke:FUNCTION, deploy:FUNCTION.",
        )


def _covers(scopes: tuple[str, ...], action: Action, function: str | None) -> bool:
    group = action.group
    if group in scopes or (function is not None and f"{group}:{function}" in scopes):
        return True
    needs_no_function = action in {Action.UPLOAD, Action.PUSH_BLOB, Action.ADMIT}
    return needs_no_function and any(scope.startswith(f"{group}:") for scope in scopes)
