"""Where modules are known, what a tenant may keep of them, and which blobs are still needed."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from stockade.core.errors import StockadeError
from stockade.core.functions import FunctionQuota
from stockade.core.modules import StoredModule

BlobStep = Callable[[str], Awaitable[bool]]
"""Something done about the blob of a digest, and whether there was one."""


@dataclass(frozen=True, slots=True)
class StorageUsage:
    """What a tenant's modules take, deleted ones too until they are purged."""

    module_bytes: int = 0
    modules: int = 0


@dataclass(frozen=True, slots=True)
class StorageQuota:
    """What a tenant's modules may take at most; `oci_bytes` is what it pushed under `/v2/`.

    `functions` are how many it may have, `versions` how many each of them.
    """

    module_bytes: int
    modules: int
    oci_bytes: int = 10 * 1024**3
    functions: int = 10_000
    versions: int = 20_000

    @property
    def of_functions(self) -> FunctionQuota:
        """How many functions and versions there may be."""
        return FunctionQuota(self.functions, self.versions)

    def check(self, usage: StorageUsage) -> None:
        """Passes when this usage is within the quota.

        Raises:
            StockadeError: `storage.quota_exceeded`.
        """
        if usage.module_bytes <= self.module_bytes and usage.modules <= self.modules:
            return
        raise StockadeError(
            "storage.quota_exceeded",
            f"This tenant would keep {usage.modules} modules of {usage.module_bytes} bytes; it may"
            f" keep {self.modules} of {self.module_bytes} bytes. Delete modules that no function"
            " uses (deleted ones count until their grace is over), or ask the operator for more.",
            detail={
                "wanted_bytes": usage.module_bytes,
                "limit_bytes": self.module_bytes,
                "wanted_modules": usage.modules,
                "limit_modules": self.modules,
            },
        )


@dataclass(frozen=True, slots=True)
class StoragePolicy:
    """Every tenant's quota."""

    default: StorageQuota
    tenants: Mapping[str, StorageQuota] = field(default_factory=dict)

    def quota(self, tenant: str) -> StorageQuota:
        """The tenant's quota."""
        return self.tenants.get(tenant, self.default)


@dataclass(frozen=True, slots=True)
class ModuleEntry:
    """A module in a list: newest first, and by digest what came in the same millisecond."""

    digest: str
    abi: str
    size_bytes: int
    created_ms: int


class ModuleStore(Protocol):
    """Modules of tenants, and which blobs they need.

    A deleted module cannot be deployed or seen any more, but runs what was submitted before until
    it is purged; an upload takes the deletion back.
    """

    async def add_module(
        self,
        module: StoredModule,
        quota: StorageQuota | None = None,
        is_stored: BlobStep | None = None,
    ) -> bool:
        """Stores a module, or adds its signatures to the stored one; True when it was new.

        `is_stored` is asked while `release_blob` cannot take the blob away.

        Raises:
            StockadeError: `storage.quota_exceeded` when it is new and passes the quota;
                `blobs.missing` when `is_stored` says so.
        """

    async def module(self, tenant: str, digest: str) -> StoredModule | None:
        """The tenant's module of this digest, deleted or not."""

    async def modules(
        self, tenant: str, most: int, before: tuple[int, str] | None = None
    ) -> Sequence[ModuleEntry]:
        """Up to `most` modules that are not deleted, newest first.

        `before` is the `created_ms` and digest of the entry after which a list goes on.
        """

    async def module_versions(
        self, tenant: str, digest: str, most: int
    ) -> Sequence[tuple[str, int]]:
        """Up to `most` function versions that are made of the module, by name and number.

        Those of deleted functions are told too, for as long as these can be restored.
        """

    async def storage_usage(self, tenant: str) -> StorageUsage:
        """What the tenant's modules take."""

    async def delete_module(self, tenant: str, digest: str, deleted_ms: int) -> bool:
        """Deletes a module; False when there is none, or it is deleted already.

        Raises:
            StockadeError: `module.in_use` while a function version is made of it.
        """

    async def purge_modules(self, before_ms: int, most: int) -> int:
        """Forgets up to `most` modules of any tenant that were deleted before then; how many."""

    async def every_module(
        self, most: int, after: tuple[str, str] = ("", "")
    ) -> Sequence[tuple[str, str]]:
        """Tenants and digests of up to `most` modules of all tenants, in order."""

    async def needed_blobs(self, digests: Collection[str]) -> frozenset[str]:
        """Which of these blobs some tenant's module is made of."""

    async def release_blob(self, digest: str, delete: BlobStep) -> bool:
        """Has `delete` take a blob that no module needs, while none can come to need it.

        False when it is needed, or there was none.
        """

    async def take_turn(self, work: str, now_ms: int, pause_ms: int) -> bool:
        """Whether to do some work now: True for one of all that ask, once in that time."""


def in_use(digest: str, versions: Sequence[tuple[str, int]]) -> StockadeError:
    """The refusal to delete what functions are made of."""
    named = ", ".join(f"{name} version {version}" for name, version in versions)
    return StockadeError(
        "module.in_use",
        f"The module {digest} is used by {named}. Delete these first; a deleted function keeps its"
        " versions until its grace is over.",
        detail={"versions": [{"function": name, "version": number} for name, number in versions]},
    )


NAMED_USERS = 20
"""How many versions a refusal names."""
