"""Functions, versions and aliases in this process's memory; a part of `MemoryCatalog`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice

from stockade.core.aliases import (
    KEPT_CHANGES,
    KEPT_DELETED,
    AliasChange,
    AliasRule,
    AliasView,
    Stamp,
    decide,
)
from stockade.core.errors import not_found
from stockade.core.functions import (
    DEFAULT_FUNCTION_QUOTA,
    DeletedFunction,
    FunctionQuota,
    is_deleted,
    version_in_use,
)
from stockade.core.modules import Alias, FunctionContent, FunctionVersion, VersionNote
from stockade.infra.catalog_values import (
    check_note_storable,
    check_storable,
    no_version,
    to_json,
)

_NO_NOTE = VersionNote()


@dataclass
class _Function:
    latest: int = 0
    versions: dict[int, FunctionVersion] = field(default_factory=dict)
    aliases: dict[str, Alias] = field(default_factory=dict)
    changes: dict[str, list[AliasChange]] = field(default_factory=dict)
    deleted: DeletedFunction | None = None

    @property
    def live(self) -> bool:
        return self.deleted is None and bool(self.versions)

    def forget_deleted(self) -> None:
        """Drops the history of aliases that were deleted long ago."""
        gone = [name for name in self.changes if name not in self.aliases]
        gone.sort(key=lambda name: (-max(one.at_ms for one in self.changes[name]), name))
        for name in gone[KEPT_DELETED:]:
            del self.changes[name]

    def purge(self) -> None:
        self.versions, self.aliases, self.changes, self.deleted = {}, {}, {}, None


_NOTHING = _Function()


class MemoryFunctionStore:
    """The `FunctionStore` port in dictionaries.

    Args:
        check_tenant: Raises `tenant.not_found`.
        check_module: Raises `module.not_found` when the tenant's module is deleted.
    """

    def __init__(
        self, check_tenant: Callable[[str], None], check_module: Callable[[str, str], None]
    ) -> None:
        self._check_function_tenant = check_tenant
        self._check_module = check_module
        self._functions: dict[tuple[str, str], _Function] = {}

    async def put_function(
        self,
        tenant: str,
        name: str,
        content: FunctionContent,
        created_ms: int,
        note: VersionNote = _NO_NOTE,
        quota: FunctionQuota = DEFAULT_FUNCTION_QUOTA,
    ) -> tuple[FunctionVersion, bool]:
        """Makes the next version, or returns the latest when its content is equal (then False)."""
        check_storable(tenant, name, created_ms)
        check_note_storable(note)
        to_json(content)
        self._check_function_tenant(tenant)
        own = self._functions.get((tenant, name), _Function())
        if not (own.versions or own.deleted):
            quota.check_functions(self._count(tenant) + 1)
        if own.deleted is not None:
            if created_ms < own.deleted.restorable_until_ms:
                raise is_deleted(name, own.deleted.restorable_until_ms)
            own.purge()
        latest = own.versions.get(own.latest)
        if latest is not None and latest.content == content:
            return latest, False
        self._check_module(tenant, content.digest)
        quota.check_versions(name, len(own.versions) + 1)
        self._functions[tenant, name] = own
        own.latest += 1
        made = FunctionVersion(tenant, name, own.latest, content, created_ms, note)
        own.versions[own.latest] = made
        return made, True

    def _count(self, tenant: str) -> int:
        return sum(
            owner == tenant and bool(one.versions) for (owner, _), one in self._functions.items()
        )

    def versions_made_of(self, tenant: str, digest: str) -> Sequence[tuple[str, int]]:
        """The versions that are made of a module, those of deleted functions too."""
        return [
            (name, number)
            for (owner, name), one in self._functions.items()
            for number, version in one.versions.items()
            if owner == tenant and version.content.digest == digest
        ]

    async def function_version(
        self, tenant: str, name: str, version: int | None
    ) -> FunctionVersion | None:
        """That version, or the latest when `version` is None."""
        own = self._live(tenant, name)
        return own.versions.get(own.latest if version is None else version)

    async def function_versions(
        self, tenant: str, name: str, most: int, before: int | None = None
    ) -> Sequence[FunctionVersion]:
        """Up to `most` versions, newest first, of those below `before`."""
        newest = reversed(self._live(tenant, name).versions.values())
        return tuple(islice((v for v in newest if before is None or v.version < before), most))

    async def functions(
        self, tenant: str, most: int = 100, after: str = ""
    ) -> Sequence[FunctionVersion]:
        """The latest version of up to `most` functions, by name, of those behind `after`."""
        live = (one for one in self._of_tenant(tenant) if one.live)
        latest = (one.versions[one.latest] for one in live)
        return tuple(islice((one for one in latest if one.name > after), most))

    async def delete_version(self, tenant: str, name: str, version: int) -> None:
        """Deletes a version that no alias points to, and that is not the latest."""
        own = self._checked(tenant, name)
        users = sorted(one.name for one in own.aliases.values() if version in dict(one.weights))
        if users or version == own.latest:
            raise version_in_use(version, own.latest, users)
        if own.versions.pop(version, None) is None:
            raise no_version(name, version)

    async def delete_function(
        self, tenant: str, name: str, deleted: Stamp, restorable_until_ms: int
    ) -> DeletedFunction:
        """Deletes a function; one that is deleted already stays as it was deleted first."""
        check_storable(deleted.by, deleted.at_ms, restorable_until_ms)
        earlier = await self.deleted_function(tenant, name)
        if earlier is not None and deleted.at_ms < earlier.restorable_until_ms:
            return earlier
        own = self._checked(tenant, name)
        own.deleted = DeletedFunction(name, own.latest, deleted, restorable_until_ms)
        return own.deleted

    async def restore_function(self, tenant: str, name: str, now_ms: int) -> bool:
        """Takes a deletion back, aliases and all; False when the function was not deleted."""
        own = self._functions.get((tenant, name), _NOTHING)
        if own.deleted is None or now_ms >= own.deleted.restorable_until_ms:
            self._checked(tenant, name)
            return False
        own.deleted = None
        return True

    async def deleted_function(self, tenant: str, name: str) -> DeletedFunction | None:
        """How the function was deleted; None when it was not, or is purged."""
        return self._functions.get((tenant, name), _NOTHING).deleted

    async def deleted_functions(self, tenant: str, most: int) -> Sequence[DeletedFunction]:
        """Up to `most` deleted functions of the tenant, by name."""
        found = (one.deleted for one in self._of_tenant(tenant) if one.deleted is not None)
        return tuple(islice(found, most))

    async def purge_functions(self, now_ms: int, most: int) -> int:
        """Removes what up to `most` functions of any tenant leave behind their grace; how many."""
        over = [
            one
            for one in self._functions.values()
            if one.deleted is not None and one.deleted.restorable_until_ms <= now_ms
        ]
        for one in over[:most]:
            one.purge()
        return len(over[:most])

    async def alias(self, tenant: str, function: str, name: str) -> Alias | None:
        """The alias of this name."""
        return self._live(tenant, function).aliases.get(name)

    async def aliases(self, tenant: str, function: str) -> Sequence[Alias]:
        """The function's aliases by name."""
        own = self._live(tenant, function).aliases
        return tuple(own[name] for name in sorted(own))

    async def alias_changes(self, tenant: str, function: str, name: str) -> Sequence[AliasChange]:
        """The last changes of an alias, newest first, those of deleted ones too."""
        return tuple(self._live(tenant, function).changes.get(name, ()))

    async def change_alias(
        self, tenant: str, function: str, name: str, rule: AliasRule, stamp: Stamp
    ) -> AliasChange | None:
        """Changes an alias by the rule, in one step; None when there is nothing to change."""
        check_storable(tenant, function, name, stamp.by, stamp.at_ms)
        own = self._checked(tenant, function)
        others = {one.name: one.weights for one in own.aliases.values() if one.name != name}
        changes = own.changes.get(name, [])
        change = decide(AliasView(name, own.aliases.get(name), others, changes), rule, stamp)
        if change is None:
            return None
        for version in sorted(dict(change.after or ())):
            if version not in own.versions:
                raise no_version(function, version)
        own.changes[name] = [change, *changes][:KEPT_CHANGES]
        if change.after is None:
            del own.aliases[name]
            own.forget_deleted()
        else:
            weights, revision = change.after, change.revision
            own.aliases[name] = Alias(name, weights, revision, stamp.at_ms, stamp.by)
        return change

    def _live(self, tenant: str, name: str) -> _Function:
        own = self._functions.get((tenant, name), _NOTHING)
        return own if own.live else _NOTHING

    def _checked(self, tenant: str, name: str) -> _Function:
        own = self._live(tenant, name)
        if own is _NOTHING:
            raise not_found("function", name)
        return own

    def _of_tenant(self, tenant: str) -> list[_Function]:
        return [self._functions[key] for key in sorted(self._functions) if key[0] == tenant]
