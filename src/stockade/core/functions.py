"""Functions over their life: versions, aliases, deletion with a grace; and where they are kept."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from stockade.core.aliases import AliasChange, AliasRule, Stamp
from stockade.core.errors import StockadeError
from stockade.core.modules import Alias, FunctionContent, FunctionVersion, VersionNote

MAX_MESSAGE_CHARACTERS = 500
MAX_LABELS, MAX_LABEL_CHARACTERS = 16, 200
_LABEL = re.compile(r"[a-z0-9]([a-z0-9._/-]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class FunctionQuota:
    """How many functions a tenant may have, and how many versions each of them.

    Deleted functions count until their grace is over.
    """

    functions: int = 10_000
    versions: int = 20_000

    def check_functions(self, wanted: int) -> None:
        """Passes when there may be so many.

        Raises:
            StockadeError: `function.too_many`.
        """
        if wanted > self.functions:
            raise StockadeError(
                "function.too_many",
                f"This tenant has {self.functions} functions, as many as it may (deleted ones count"
                " until their grace is over). Delete some, or ask the operator for more.",
                detail={"most": self.functions},
            )

    def check_versions(self, name: str, wanted: int) -> None:
        """Passes when a function may have so many.

        Raises:
            StockadeError: `version.too_many`.
        """
        if wanted > self.versions:
            raise StockadeError(
                "version.too_many",
                f"The function {name!r} has {self.versions} versions, as many as it may. Delete old"
                " ones (`stockade functions delete NAME --version N`), or ask the operator for"
                " more.",
                detail={"most": self.versions},
            )


DEFAULT_FUNCTION_QUOTA = FunctionQuota()


@dataclass(frozen=True, slots=True)
class DeletedFunction:
    """A function that was deleted, and can be restored until its grace is over."""

    name: str
    latest_version: int
    deleted: Stamp
    restorable_until_ms: int


class FunctionStore(Protocol):
    """Functions of tenants, their versions and aliases.

    A deleted function is absent to everything but `deleted_function`, `deleted_functions`,
    `restore_function` and `purge_functions`, and its name cannot be deployed to within the grace.
    Behind it, versions and aliases go; the count of versions stays, so that no number ever names
    another version in a record.
    """

    async def put_function(
        self,
        tenant: str,
        name: str,
        content: FunctionContent,
        created_ms: int,
        note: VersionNote = VersionNote(),  # noqa: B008 - it is frozen
        quota: FunctionQuota = DEFAULT_FUNCTION_QUOTA,
    ) -> tuple[FunctionVersion, bool]:
        """Makes the next version, or returns the latest when its content is equal (then False).

        Raises:
            StockadeError: `function.deleted` within the grace of a deleted function;
                `function.too_many` or `version.too_many` beyond the quota.
        """

    async def function_version(
        self, tenant: str, name: str, version: int | None
    ) -> FunctionVersion | None:
        """That version, or the latest when `version` is None."""

    async def function_versions(
        self, tenant: str, name: str, most: int, before: int | None = None
    ) -> Sequence[FunctionVersion]:
        """Up to `most` versions, newest first, of those below `before`."""

    async def functions(
        self, tenant: str, most: int = 100, after: str = ""
    ) -> Sequence[FunctionVersion]:
        """The latest version of up to `most` functions, by name, of those behind `after`."""

    async def delete_version(self, tenant: str, name: str, version: int) -> None:
        """Deletes a version that no alias points to, and that is not the latest.

        Raises:
            StockadeError: `function.not_found`, `version.not_found`, `version.in_use`.
        """

    async def delete_function(
        self, tenant: str, name: str, deleted: Stamp, restorable_until_ms: int
    ) -> DeletedFunction:
        """Deletes a function; one that is deleted already stays as it was deleted first.

        Raises:
            StockadeError: `function.not_found`.
        """

    async def restore_function(self, tenant: str, name: str, now_ms: int) -> bool:
        """Takes a deletion back, aliases and all; False when the function was not deleted.

        Raises:
            StockadeError: `function.not_found`, also when the grace is over.
        """

    async def deleted_function(self, tenant: str, name: str) -> DeletedFunction | None:
        """How the function was deleted; None when it was not, or is purged."""

    async def deleted_functions(self, tenant: str, most: int) -> Sequence[DeletedFunction]:
        """Up to `most` deleted functions of the tenant, by name."""

    async def purge_functions(self, now_ms: int, most: int) -> int:
        """Removes what up to `most` functions of any tenant leave behind their grace; how many."""

    async def alias(self, tenant: str, function: str, name: str) -> Alias | None:
        """The alias of this name."""

    async def aliases(self, tenant: str, function: str) -> Sequence[Alias]:
        """The function's aliases by name."""

    async def alias_changes(self, tenant: str, function: str, name: str) -> Sequence[AliasChange]:
        """The last changes of an alias, newest first, those of deleted ones too."""

    async def change_alias(
        self, tenant: str, function: str, name: str, rule: AliasRule, stamp: Stamp
    ) -> AliasChange | None:
        """Changes an alias by the rule, in one step; None when there is nothing to change.

        Raises:
            StockadeError: `function.not_found`, `version.not_found` when it would point to what is
                not there, and what the rule refuses.
        """


def check_note(by: str, message: str, labels: Mapping[str, str]) -> VersionNote:
    """What a deployer says of a version.

    Raises:
        StockadeError: `function.message_invalid` or `function.labels_invalid`.
    """
    if len(message) > MAX_MESSAGE_CHARACTERS or not message.isprintable():
        raise StockadeError(
            "function.message_invalid",
            f"message is one line of at most {MAX_MESSAGE_CHARACTERS} printable characters.",
        )
    sound = len(labels) <= MAX_LABELS and all(
        _LABEL.fullmatch(name) and len(value) <= MAX_LABEL_CHARACTERS and value.isprintable()
        for name, value in labels.items()
    )
    if not sound:
        raise StockadeError(
            "function.labels_invalid",
            f"labels are at most {MAX_LABELS}: names of 1 to 63 of a-z, 0-9, '.', '_', '/' and '-',"
            f" values of at most {MAX_LABEL_CHARACTERS} printable characters.",
        )
    return VersionNote(by, message, tuple(sorted(labels.items())))


def is_deleted(name: str, restorable_until_ms: int) -> StockadeError:
    """The refusal of what a deleted function is asked for."""
    return StockadeError(
        "function.deleted",
        f"The function {name!r} was deleted. It can be restored until its grace is over; then its"
        " name is free.",
        detail={"restorable_until_ms": restorable_until_ms},
    )


def version_in_use(version: int, latest: int, aliases: Sequence[str]) -> StockadeError:
    """The refusal to delete a version that is needed."""
    if version == latest:
        why = f"Version {version} is the latest one. Delete the function, or deploy another first."
    else:
        why = f"Aliases point to version {version}: {', '.join(aliases)}. Point them elsewhere."
    return StockadeError("version.in_use", why, detail={"aliases": list(aliases)})
